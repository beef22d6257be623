"""A terminal over a websocket.

First a text message says that the terminal is there, then output goes as binary messages; input comes as either kind.
At the end, clients that offered the exit-control token get a text message with the exit code, and all get it in the
close frame: 1000 for exit code 0, else 1011.
"""

import asyncio
import base64
import binascii
import contextlib
import json
from typing import Any

from moonpool.cancellation import first_of
from moonpool.dialects.daytona.toolbox.call import Call
from moonpool.dialects.daytona.toolbox.models import DEFAULT_COLUMNS, DEFAULT_ROWS, MAX_TERMINAL_SIZE
from moonpool.dialects.daytona.toolbox.sockets import (
    INTERNAL_ERROR,
    NORMAL_CLOSURE,
    POLICY_VIOLATION,
    reason,
)
from moonpool.errors import InvalidInput
from moonpool.guest.model import Exited
from moonpool.ids import new_uuid
from moonpool.processes.model import checked_environment
from moonpool.processes.terminals import AttachedTerminal, NewTerminal

EXIT_CONTROL = "X-Daytona-Pty-Exit-Control"  # sub-protocol: the client wants to be told of the end
ENVIRONMENT = "X-Daytona-Pty-Envs~"  # sub-protocol: unpadded url-safe base64 of a JSON object of variables
ENVIRONMENT_LIMIT = 512 * 1024  # characters
CLOSE_TIMEOUT = 10.0  # seconds for a client that does not read to take the close frame
QUEUE_LIMIT = 4 * 1024 * 1024  # bytes that wait for a slow client before it is given up
SIGNALS = {9: "SIGKILL", 15: "SIGTERM", 2: "Ctrl+C"}
SIGNAL_BASE = 128  # a shell's exit code for a death by signal N is this + N


async def create_and_connect(call: Call) -> None:
    new = NewTerminal(
        id=call.connection.query_params.get("id") or new_uuid(),
        rows=call.integer("rows", DEFAULT_ROWS, 0, MAX_TERMINAL_SIZE) or DEFAULT_ROWS,
        columns=call.integer("cols", DEFAULT_COLUMNS, 0, MAX_TERMINAL_SIZE) or DEFAULT_COLUMNS,
        cwd=call.connection.query_params.get("cwd") or None,
        environment=offered_environment(call),
    )
    await call.tools.terminals.create(call.principal, call.sandbox, new)
    await attach(call, new.id)


async def connect(call: Call) -> None:
    await attach(call, call.parameters["terminal"])


async def attach(call: Call, terminal_id: str) -> None:
    try:
        async with call.tools.terminals.attach(call.principal, call.sandbox, terminal_id) as terminal:
            wants_exit = EXIT_CONTROL in offered(call)
            await call.socket.accept(subprotocol=EXIT_CONTROL if wants_exit else None)
            await send_control(call, status="connected")
            outbox = Outbox(call, wants_exit=wants_exit)
            await first_of(outbox.fill(terminal), outbox.drain(), pass_input(call, terminal))
    except SlowConsumer:
        # Only here has the terminal been let go: the close frame has to wait for the client as well.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(call.socket.close(POLICY_VIOLATION, "slow consumer"), CLOSE_TIMEOUT)


class SlowConsumer(Exception):
    """The client does not read what the terminal shows."""


async def pass_input(call: Call, terminal: AttachedTerminal) -> None:
    while (message := await call.socket.receive())["type"] != "websocket.disconnect":
        data = message.get("bytes")
        if data is None:
            data = (message.get("text") or "").encode()
        if data:
            await terminal.write(data)


class Outbox:
    """Between a terminal and one of its clients, so that a client which does not read holds up neither the terminal
    nor the other clients."""

    def __init__(self, call: Call, *, wants_exit: bool) -> None:
        self._call = call
        self._wants_exit = wants_exit
        self._queue: asyncio.Queue[bytes | Exited] = asyncio.Queue()
        self._waiting = 0  # bytes

    async def fill(self, terminal: AttachedTerminal) -> None:
        """Ends only by being cancelled; raises SlowConsumer."""
        async for event in terminal.events:
            if isinstance(event, Exited):
                self._queue.put_nowait(event)
                await asyncio.Event().wait()
            else:
                self._waiting += len(event.data)
                self._queue.put_nowait(event.data)
                if self._waiting > QUEUE_LIMIT:
                    raise SlowConsumer

    async def drain(self) -> None:
        while not isinstance(item := await self._queue.get(), Exited):
            await self._call.socket.send_bytes(item)
            self._waiting -= len(item)
        await self._say_exited(item)

    async def _say_exited(self, event: Exited) -> None:
        why = exit_reason(event)
        end: dict[str, Any] = {"exitCode": event.exit_code, **({"exitReason": why} if why else {})}
        if self._wants_exit:
            await send_control(self._call, status="exited", **end)
        if event.exit_code == 0:
            await self._call.socket.close(NORMAL_CLOSURE, reason(json.dumps(end)))
        else:
            await self._call.socket.close(INTERNAL_ERROR, reason(json.dumps(end)))


async def send_control(call: Call, **fields: Any) -> None:
    await call.socket.send_text(json.dumps({"type": "control", **fields}))


def exit_reason(event: Exited) -> str:
    """Empty for a good end."""
    if event.exit_code == 0:
        return ""
    number = event.signal or max(0, event.exit_code - SIGNAL_BASE)
    if not number:
        return "non-zero exit"
    return SIGNALS.get(number, f"signal {number}")


def offered(call: Call) -> list[str]:
    return list(call.connection.scope.get("subprotocols", ()))


def offered_environment(call: Call) -> dict[str, str]:
    for token in offered(call):
        if token.startswith(ENVIRONMENT) and len(token) <= ENVIRONMENT_LIMIT:
            encoded = token.removeprefix(ENVIRONMENT)
            try:
                found = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
            except (binascii.Error, ValueError, RecursionError):
                found = None
            if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
                raise InvalidInput("The environment in the sub-protocol is not a JSON object of texts", field="envs")
            return dict(checked_environment(found))
    return {}
