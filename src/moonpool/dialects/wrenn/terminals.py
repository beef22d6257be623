"""Terminals over WebSocket. The process outlives the socket; ``connect`` with its tag brings its screen back.

Up to SDK 0.2 both directions are JSON with base64, from 0.3 on binary frames; nothing in the handshake tells which. The
server's setting decides what a socket begins with, input is taken in both forms, and binary input turns that socket's
output to binary.
"""

import asyncio
import base64
import binascii
import contextlib
import secrets
import signal

from fastapi import APIRouter, WebSocket

from moonpool.cancellation import first_of
from moonpool.dialects.common.bodies import validated
from moonpool.dialects.wrenn.messages import DEFAULT_COLUMNS, DEFAULT_ROWS, TerminalControl, TerminalOpening
from moonpool.dialects.wrenn.requests import services_of
from moonpool.dialects.wrenn.sockets import converse, first_message, receive, send
from moonpool.errors import GuestError, InvalidInput
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessInfo, ProcessSpec, TerminalSize
from moonpool.processes.service import check
from moonpool.sandboxes.model import AgentSession

DEFAULT_COMMAND = "/bin/bash"
DEFAULT_TERM = "xterm-256color"
SCROLLBACK = 256 * 1024  # bytes replayed to those who connect
MAX_TYPED = 1024 * 1024  # bytes of input not yet taken by the terminal; beyond, the socket is not read
PING_INTERVAL = 30.0  # seconds

router = APIRouter()


@router.websocket("/v1/capsules/{id}/pty")
async def open_terminal(websocket: WebSocket, id: str) -> None:
    await converse(websocket, id, use_terminal, fatal=True)


async def use_terminal(websocket: WebSocket, session: AgentSession) -> None:
    opening = await first_message(websocket, TerminalOpening)
    process = await (start if opening.type == "start" else connect)(session, opening)
    binary = services_of(websocket).server.terminal_frames == "binary"
    await Terminal(websocket, session.agent, process, binary).run()


async def start(session: AgentSession, opening: TerminalOpening) -> ProcessInfo:
    spec = ProcessSpec(
        argv=(opening.cmd or DEFAULT_COMMAND, *(opening.args or ())),
        cwd=opening.cwd or None,
        env={"TERM": DEFAULT_TERM, **(opening.envs or {})},
        user=opening.user or session.sandbox.user,
        tag=f"pty-{secrets.token_hex(4)}",
        terminal=TerminalSize(opening.rows or DEFAULT_ROWS, opening.cols or DEFAULT_COLUMNS),
        replay_bytes=SCROLLBACK,
    )
    check(spec)
    return await session.agent.start(spec)


async def connect(session: AgentSession, opening: TerminalOpening) -> ProcessInfo:
    if not opening.tag:
        raise InvalidInput("connect needs a tag", field="tag")
    return await session.agent.process(opening.tag)


class Terminal:
    """One socket on one terminal; others may be on it at the same time."""

    def __init__(self, websocket: WebSocket, agent: AgentClient, process: ProcessInfo, binary: bool) -> None:
        self._websocket = websocket
        self._agent = agent
        self._process = process
        self._binary = binary
        self._typed = bytearray()
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    async def run(self) -> None:
        """Until the process ends or the client leaves."""
        await send(self._websocket, type="started", tag=self._process.tag, pid=self._process.pid)
        await first_of(self._show(), self._listen(), self._type(), self._ping())

    async def _show(self) -> None:
        async with self._agent.attach(self._process.pid) as events:
            async for event in events:
                if isinstance(event, Output):
                    await self._output(event.data)
                elif isinstance(event, Exited):
                    await send(self._websocket, type="exit", exit_code=event.exit_code)

    async def _output(self, data: bytes) -> None:
        if self._binary:
            await self._websocket.send_bytes(data)
        else:
            await send(self._websocket, type="output", data=base64.b64encode(data).decode())

    async def _listen(self) -> None:
        while True:
            frame = await receive(self._websocket)
            if isinstance(frame, bytes):
                self._binary = True
                await self._take(frame)
                continue
            try:
                await self._obey(validated(frame.encode(), TerminalControl))
            except (InvalidInput, GuestError) as error:
                await send(self._websocket, type="error", data=error.message, fatal=False)

    async def _obey(self, control: TerminalControl) -> None:
        match control.type:
            case "input":
                await self._take(decoded(control.data))
            case "resize":
                if not control.cols or not control.rows:
                    raise InvalidInput("resize needs cols and rows above 0")
                await self._agent.resize(self._process.pid, control.rows, control.cols)
            case "kill":
                await self._agent.signal(self._process.pid, signal.SIGKILL)

    async def _take(self, data: bytes) -> None:
        """Typing never waits for the terminal, so that ``kill`` gets through to one that reads nothing."""
        self._typed += data
        self._filled.set()
        while len(self._typed) > MAX_TYPED:
            self._taken.clear()
            await self._taken.wait()

    async def _type(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            data, self._typed = bytes(self._typed), bytearray()
            self._taken.set()
            with contextlib.suppress(GuestError):
                await self._agent.write_stdin(self._process.pid, data)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_INTERVAL)
            await send(self._websocket, type="ping")


def decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise InvalidInput("data: not base64", field="data") from None
