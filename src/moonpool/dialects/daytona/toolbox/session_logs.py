"""Logs of session commands: at once, or followed over a websocket."""

from collections.abc import AsyncIterator, Iterable, Iterator

from starlette.responses import PlainTextResponse, Response

from moonpool.dialects.common.bulk import json_answer
from moonpool.dialects.daytona.clients import Version, sdk_version
from moonpool.dialects.daytona.toolbox.call import Call, text_of
from moonpool.dialects.daytona.toolbox.sockets import NORMAL_CLOSURE, until_closed
from moonpool.guest.model import Output, ProcessEvent
from moonpool.processes.model import CommandLogs, LogChunk

LINE_END = b"\n"
MESSAGE_SIZE = 32 * 1024  # bytes; the JavaScript SDK makes each an argument of a call, and 120,000 are too many
LONGEST_CHARACTER = 4  # bytes, in UTF-8
MARKERS = {"stdout": b"\x01\x01\x01", "stderr": b"\x02\x02\x02"}
SPLIT_HEADER = "x-daytona-split-output"
# SDK versions: those from the first on take an output apart by its markers, those from the second on get it taken apart
MARKED_SINCE, SPLIT_SINCE = (0, 27), (0, 167)


async def logs(call: Call) -> Response:
    return log_response(call, await call.tools.sessions.logs(call.principal, call.sandbox, *command_of(call)))


async def entrypoint_logs(call: Call) -> Response:
    output = await call.tools.entrypoints.output(call.principal, call.sandbox)
    chunks = (LogChunk("stdout", output),) if output else ()
    return log_response(call, CommandLogs(stdout=output, chunks=chunks))


async def follow(call: Call) -> None:
    async with call.tools.sessions.follow(call.principal, call.sandbox, *command_of(call)) as chunks:
        await call.socket.accept()
        await until_closed(call, send(call, chunks))


async def follow_entrypoint(call: Call) -> None:
    async with call.tools.entrypoints.follow(call.principal, call.sandbox) as events:
        await call.socket.accept()
        await until_closed(call, send(call, outputs(events)))


async def outputs(events: AsyncIterator[ProcessEvent] | None) -> AsyncIterator[LogChunk]:
    if events is not None:
        async for event in events:
            if isinstance(event, Output):
                yield LogChunk("stdout", event.data)


async def send(call: Call, chunks: AsyncIterator[LogChunk]) -> None:
    async for chunk in chunks:
        for piece in pieces(chunk.data):
            await call.socket.send_bytes(MARKERS[chunk.stream] + piece)
    await call.socket.close(NORMAL_CLOSURE)


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut between characters, since clients decode each message by itself."""
    start = 0
    while start < len(data):
        end = start + MESSAGE_SIZE
        if end < len(data):
            end -= next((back for back in range(LONGEST_CHARACTER) if not continues(data[end - back])), 0)
        yield data[start:end]
        start = end


def continues(byte: int) -> bool:
    """Whether it is a character's second byte or a later one, in UTF-8."""
    return byte & 0b1100_0000 == 0b1000_0000


def command_of(call: Call) -> tuple[str, str]:
    return call.parameters["session"], call.parameters["command"]


def log_response(call: Call, found: CommandLogs) -> Response:
    if wants(call, SPLIT_SINCE):
        return json_answer(log_document(call, found))
    return PlainTextResponse(text_of(output_of(call, found)))


def log_document(call: Call, found: CommandLogs) -> dict[str, bytes]:
    return {"output": output_of(call, found), "stdout": found.stdout, "stderr": found.stderr}


def output_of(call: Call, found: CommandLogs) -> bytes:
    """Both streams in one. SDKs get it as the vendor sends it: each line with the marker of its stream."""
    return marked(found.chunks) if wants(call, MARKED_SINCE) else found.output


def marked(chunks: Iterable[LogChunk]) -> bytes:
    """A marker at the start, after each line end, and where the stream changes within a line."""
    pieces: list[bytes] = []
    last, at_start = None, True
    for chunk in chunks:
        marker, body, end = MARKERS[chunk.stream], chunk.data[:-1], chunk.data[-1:]
        if at_start or chunk.stream != last:
            pieces.append(marker)
        pieces += (body.replace(LINE_END, LINE_END + marker), end)
        last, at_start = chunk.stream, end == LINE_END
    return b"".join(pieces)


def wants(call: Call, since: Version) -> bool:
    """Whether this is an SDK of that age or younger. What is no SDK wants plain text, unless it asks for more."""
    headers = call.connection.headers
    version = sdk_version(headers)
    if version is None:
        return headers.get(SPLIT_HEADER, "").lower() == "true"
    return version >= since
