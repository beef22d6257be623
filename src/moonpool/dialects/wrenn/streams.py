"""Output as it comes, over WebSocket: of a command started here, or of a process that is already there."""

import codecs
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from moonpool.cancellation import first_of
from moonpool.dialects.common.bodies import validated
from moonpool.dialects.wrenn.commands import command, pid_or_tag
from moonpool.dialects.wrenn.messages import StreamControl, StreamStart
from moonpool.dialects.wrenn.sockets import converse, first_message, receive, send
from moonpool.errors import GuestError, InvalidInput
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessEvent, ProcessSpec
from moonpool.processes.service import check
from moonpool.sandboxes.model import AgentSession

router = APIRouter()


@router.websocket("/v1/capsules/{id}/exec/stream")
async def execute_stream(websocket: WebSocket, id: str) -> None:
    await converse(websocket, id, run_and_show)


@router.websocket("/v1/capsules/{id}/processes/{selector}/stream")
async def connect_process(websocket: WebSocket, id: str, selector: str) -> None:
    await converse(websocket, id, showing(selector))


def showing(selector: str) -> Callable[[WebSocket, AgentSession], Awaitable[None]]:
    """From the start of its output, as far as kept; a client that leaves changes nothing for the process."""

    async def show_process(socket: WebSocket, session: AgentSession) -> None:
        process = await session.agent.process(pid_or_tag(selector))
        await send(socket, type="start", pid=process.pid)
        async with session.agent.attach(process.pid) as events:
            await first_of(show(socket, events), listen(socket, session.agent, None))

    return show_process


async def run_and_show(websocket: WebSocket, session: AgentSession) -> None:
    """The process ends with the socket: nobody else knows of it."""
    start = await first_message(websocket, StreamStart)
    argv, shell = command(start.cmd, start.args or [])
    spec = ProcessSpec(argv=argv, shell=shell, cwd=start.cwd or None, env=start.envs or {}, user=session.sandbox.user)
    check(spec)
    async with session.agent.start_and_attach(spec) as (process, events):
        try:
            await send(websocket, type="start", pid=process.pid)
            await first_of(show(websocket, events), listen(websocket, session.agent, process.pid))
        except WebSocketDisconnect:
            await kill(session.agent, process.pid)
            raise


async def show(websocket: WebSocket, events: AsyncIterator[ProcessEvent]) -> None:
    """Everything a process prints, and its exit. Characters that arrive in two halves are sent whole."""
    decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
    async for event in events:
        if isinstance(event, Output):
            name = "stderr" if event.stream == "stderr" else "stdout"
            if text := decoders[name].decode(event.data):
                await send(websocket, type=name, data=text)
        elif isinstance(event, Exited):
            for name, decoder in decoders.items():
                if text := decoder.decode(b"", final=True):
                    await send(websocket, type=name, data=text)
            await send(websocket, type="exit", exit_code=event.exit_code)


async def listen(websocket: WebSocket, agent: AgentClient, pid: int | None) -> None:
    """Until the client leaves; ``stop`` kills the process ``pid``, and its exit is then told as any other."""
    while True:
        frame = await receive(websocket)
        with contextlib.suppress(InvalidInput):
            control = validated(frame.encode() if isinstance(frame, str) else frame, StreamControl)
            if control.type == "stop" and pid is not None:
                await kill(agent, pid)


async def kill(agent: AgentClient, pid: int) -> None:
    with contextlib.suppress(GuestError):
        await agent.signal(pid, signal.SIGKILL)
