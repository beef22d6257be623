"""Where programs inside leave what they measure: OTLP over HTTP, on the sandbox's own loopback alone.

Requests wait here as they came, within limits, until the host takes them: it is told that there is something, asks, and
says with its next question what it has kept. What does not fit is refused as OTLP wants it, so that programs try again.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ..protocol import Message, Stream
from .request import Request

PORT = 49984
SIGNALS = {"/v1/logs": "logs", "/v1/traces": "traces", "/v1/metrics": "metrics"}
PROTOBUF, JSON = "application/x-protobuf", "application/json"
NOTHING_REJECTED = {PROTOBUF: b"", JSON: b"{}"}
ENCODINGS = ("", "identity", "gzip")
GZIP = b"\x1f\x8b"  # how it begins
MAX_HEAD = 16 << 10  # bytes
MAX_BODY = 4 << 20  # bytes
MAX_WAITING = 16 << 20  # bytes of all requests that wait
MAX_ITEMS = 10_000
MAX_CALLERS = 64
MAX_TAKEN = 8 << 20  # bytes that one answer to the host carries, where it has more than one request
IDLE = 60.0  # seconds that a connection may say nothing
TELL_AFTER = 0.1  # seconds from the first request to the host's being told
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 413: "Content Too Large",
           415: "Unsupported Media Type", 503: "Service Unavailable"}  # fmt: skip


class Waiting(NamedTuple):
    number: int
    signal: str
    media_type: str
    encoding: str
    body: bytes


class Refusal(Exception):
    """The status; the connection is closed after it."""

    def __init__(self, status: int) -> None:
        super().__init__(REASONS[status])
        self.status = status


class Telemetry:
    """``port`` is where it listens (0: any that is free), once it does."""

    def __init__(self, tell: Callable[[], object], port: int = PORT) -> None:
        self._tell = tell
        self.port = port
        self._waiting: deque[Waiting] = deque()
        self._size = 0
        self._number = 0
        self._callers = 0
        self._telling: asyncio.TimerHandle | None = None

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=MAX_HEAD)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def forget(self) -> None:
        """This is another sandbox now: what waits is that one's."""
        self._waiting.clear()
        self._size = 0

    async def take_telemetry(self, stream: Stream, request: Request) -> Message:
        """What waits after number ``kept``, the oldest first; what came up to it is not needed any more."""
        kept = request.integer("kept", 0, 1 << 62)
        while self._waiting and self._waiting[0].number <= kept:
            self._size -= len(self._waiting.popleft().body)
        taken: list[Waiting] = []
        size = 0
        for item in self._waiting:
            if taken and size + len(item.body) > MAX_TAKEN:
                break
            taken.append(item)
            size += len(item.body)
        described = [
            {"number": item.number, "signal": item.signal, "type": item.media_type, "encoding": item.encoding,
             "size": len(item.body)}
            for item in taken
        ]  # fmt: skip
        return Message({"items": described}, b"".join(item.body for item in taken))

    def _keep(self, signal: str, media_type: str, encoding: str, body: bytes) -> None:
        if self._size + len(body) > MAX_WAITING or len(self._waiting) >= MAX_ITEMS:
            raise Refusal(503)
        self._number += 1
        self._size += len(body)
        self._waiting.append(Waiting(self._number, signal, media_type, encoding, body))
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_AFTER, self._tell_now)

    def _tell_now(self) -> None:
        self._telling = None
        self._tell()

    # -- HTTP -------------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._callers += 1
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
                while self._callers <= MAX_CALLERS and await self._exchange(reader, writer):
                    pass
        finally:
            self._callers -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether another one may come."""
        media_type = PROTOBUF
        try:
            async with asyncio.timeout(IDLE):
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, headers = _parsed(head)
                signal = _signal(method, path)
                media_type, encoding = _form(headers)
                if headers.get("expect", "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await _body(reader, headers)
            _look(media_type, encoding, body)
            self._keep(signal, media_type, encoding, body)
        except Refusal as refusal:
            writer.write(_answer(refusal.status, media_type, str(refusal).encode(), close=True))
            await writer.drain()
            return False
        goes_on = headers.get("connection", "").lower() != "close"
        writer.write(_answer(200, media_type, NOTHING_REJECTED[media_type], close=not goes_on))
        await writer.drain()
        return goes_on


def _parsed(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1":
        raise Refusal(400)
    headers: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator or not name or name != name.strip() or name.lower() in headers:
            raise Refusal(400)
        headers[name.lower()] = value.strip()
    return words[0], words[1].partition("?")[0], headers


def _signal(method: str, path: str) -> str:
    if path not in SIGNALS:
        raise Refusal(404)
    if method != "POST":
        raise Refusal(405)
    return SIGNALS[path]


def _form(headers: dict[str, str]) -> tuple[str, str]:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = headers.get("content-encoding", "").lower()
    if media_type not in NOTHING_REJECTED or encoding not in ENCODINGS:
        raise Refusal(415)
    return media_type, "gzip" if encoding == "gzip" else ""


def _look(media_type: str, encoding: str, body: bytes) -> None:
    """What cannot be OTLP is said to whoever sends it, as far as that shows without unpacking it."""
    if encoding:
        if not body.startswith(GZIP):
            raise Refusal(400)
    elif media_type == JSON:
        try:
            if isinstance(json.loads(body), dict):
                return
        except (ValueError, RecursionError):
            pass
        raise Refusal(400)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise Refusal(400)
        return await _chunks(reader)
    return await reader.readexactly(_number(length or "0", 10))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := _number((await reader.readuntil(b"\r\n")).partition(b";")[0].strip().decode("latin-1"), 16):
        if len(body) + size > MAX_BODY:
            raise Refusal(413)
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readuntil(b"\r\n")) != b"\r\n":
        pass  # trailers
    return bytes(body)


def _number(text: str, base: int) -> int:
    if not text.isalnum() or not text.isascii():
        raise Refusal(400)
    try:
        number = int(text, base)
    except ValueError:
        raise Refusal(400) from None
    if number > MAX_BODY:
        raise Refusal(413)
    return number


def _answer(status: int, media_type: str, body: bytes, *, close: bool) -> bytes:
    kind = media_type if status == 200 else "text/plain"
    head = [f"HTTP/1.1 {status} {REASONS[status]}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    head += ["Retry-After: 5"] * (status == 503) + ["Connection: close"] * close
    return "\r\n".join([*head, "", ""]).encode() + body
