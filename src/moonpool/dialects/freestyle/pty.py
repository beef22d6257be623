"""Terminals over a WebSocket (``vm.pty`` of the SDK): opened, attached to by any number, listed, closed. Beside the
contract.

The server says ``sessionInfo`` and ``exited`` as text; binary messages are output one way and keys the other; as text
the client sends ``resize`` and ``signal``. A terminal is as large as the smallest of those who look at it.
"""

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from moonpool.access.model import Scope
from moonpool.cancellation import first_of
from moonpool.dialects.common.services import Services
from moonpool.dialects.freestyle.callers import caller, check_guest
from moonpool.dialects.freestyle.errors import error_response
from moonpool.dialects.freestyle.lookup import awake, folder_of, not_running, open_session, settled
from moonpool.dialects.freestyle.mapping import FreestyleError
from moonpool.dialects.freestyle.operation import Operation
from moonpool.dialects.freestyle.requests import Call, Handler
from moonpool.dialects.freestyle.shells import ARGV
from moonpool.errors import Forbidden, GuestError, InvalidInput, MoonpoolError, ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, ProcessEvent, ProcessInfo, ProcessSpec, TerminalSize
from moonpool.hosts.keyed_locks import KeyedLocks
from moonpool.ids import random_word
from moonpool.processes.model import checked_text
from moonpool.processes.terminals import SCROLLBACK, SHELLS, TAG, TERM, NewTerminal, end, find, make_room, start
from moonpool.sandboxes.model import AgentSession, SandboxState

OPEN, SESSIONS = "/v1/vms/{vm_id}/pty", "/v1/vms/{vm_id}/pty/sessions"
SESSION = f"{SESSIONS}/{{session_id}}"
OPERATIONS = (
    Operation("list_pty_sessions", "GET", SESSIONS),
    Operation("close_pty_session", "DELETE", SESSION),
)
SESSION_ID = re.compile(r"[a-zA-Z0-9._-]{1,64}")
MOST_RUNNING = 100  # sessions of a VM
ROWS, COLUMNS, LARGEST = 24, 80, 1000
QUEUE_LIMIT = 4 << 20  # bytes that wait for a client before it is given up
SIGNALS: Mapping[str, int] = {
    name: getattr(signal, name) for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
}
INTERRUPT = b"\x03"
NORMAL, POLICY_VIOLATION, INTERNAL_ERROR = 1000, 1008, 1011  # close codes


@dataclass(eq=False)
class Watcher:
    """One client of a session."""

    size: TerminalSize


@dataclass
class Watchers:
    """Of each session, by VM and session; those of ended ones are gone with their connections."""

    _there: dict[tuple[str, str], list[Watcher]] = field(default_factory=dict)

    @contextlib.contextmanager
    def one_more(self, key: tuple[str, str], size: TerminalSize) -> Iterator[Watcher]:
        watcher = Watcher(size)
        self._there.setdefault(key, []).append(watcher)
        try:
            yield watcher
        finally:
            self._there[key].remove(watcher)
            if not self._there[key]:
                del self._there[key]

    def count(self, key: tuple[str, str]) -> int:
        return len(self._there.get(key, ()))

    def smallest(self, key: tuple[str, str]) -> TerminalSize | None:
        sizes = [watcher.size for watcher in self._there.get(key, ())]
        if not sizes:
            return None
        return TerminalSize(min(size.rows for size in sizes), min(size.cols for size in sizes))


Begin = Callable[[Call, AgentSession], Awaitable[ProcessInfo]]


class PtyEndpoint:
    """A WebSocket of one of the two paths: ``begin`` opens or finds the session."""

    def __init__(self, operation: str, begin: Begin, services: Services) -> None:
        self._operation, self._begin, self._services = operation, begin, services

    async def serve(self, websocket: WebSocket) -> None:
        try:
            call = await self._call(websocket)
            if self._operation == "attach_pty" and (await settled(call)).state is not SandboxState.RUNNING:
                # The SDK attaches again by itself when a connection ends: that must not wake what was suspended.
                raise not_running(await settled(call))
            async with open_session(call) as session:
                await Connection(call, session, websocket).hold(await self._begin(call, session))
        except WebSocketDisconnect:
            return
        except MoonpoolError as error:
            await self._refuse(websocket, error)

    async def _call(self, websocket: WebSocket) -> Call:
        who, guest = await caller(websocket, self._services)
        request = Request({**websocket.scope, "type": "http", "method": "GET"})
        call = Call(self._operation, request, self._services, who, guest)
        if guest is not None:
            check_guest(guest, self._operation, call.vm_id, call.linux_user, self._services)
        return call

    async def _refuse(self, websocket: WebSocket, error: MoonpoolError) -> None:
        """With the envelope, or with a close frame where the connection stands."""
        if websocket.application_state is WebSocketState.CONNECTING:
            await websocket.send_denial_response(error_response(error, self._operation, websocket.path_params))
            return
        code = POLICY_VIOLATION if isinstance(error, Forbidden) else INTERNAL_ERROR
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await websocket.close(code, error.message.encode()[:120].decode(errors="ignore"))


@dataclass
class Connection:
    call: Call
    session: AgentSession
    websocket: WebSocket
    _waiting: int = 0  # bytes
    _queue: "asyncio.Queue[bytes | Exited]" = field(default_factory=asyncio.Queue)

    @property
    def _watchers(self) -> Watchers:
        watchers: Watchers = self.call.request.app.state.watchers
        return watchers

    async def hold(self, info: ProcessInfo) -> None:
        name = session_name(info)
        key = (self.session.sandbox.id, name)
        async with self.session.agent.attach(info.pid, replay=True) as events:
            with self._watchers.one_more(key, wanted_size(self.call)) as watcher:
                await self._fit(key, info)
                await self.websocket.accept()
                await self.websocket.send_text(json.dumps({"type": "sessionInfo", "sessionId": name}))
                await first_of(
                    self._gather(events), self._tell(), self._listen(info, key, watcher), shut_out(self.call)
                )
            with contextlib.suppress(GuestError):
                await self._fit(key, info)

    async def _fit(self, key: tuple[str, str], info: ProcessInfo) -> None:
        size = self._watchers.smallest(key)
        if size is not None:
            with contextlib.suppress(ProcessEnded, ProcessNotFound):
                await self.session.agent.resize(info.pid, size.rows, size.cols)

    async def _gather(self, events: Any) -> None:
        """So that a client that does not read holds up neither the terminal nor others. Forbidden when too much
        waits."""
        event: ProcessEvent
        async for event in events:
            if isinstance(event, Exited):
                self._queue.put_nowait(event)
                break
            self._waiting += len(event.data)
            self._queue.put_nowait(event.data)
            if self._waiting > QUEUE_LIMIT:
                raise Forbidden("The client does not read what the terminal shows")
        await asyncio.Event().wait()

    async def _tell(self) -> None:
        while not isinstance(item := await self._queue.get(), Exited):
            await self.websocket.send_bytes(item)
            self._waiting -= len(item)
        await self.websocket.send_text(json.dumps({"type": "exited", "exitCode": item.exit_code}))
        await self.websocket.close(NORMAL)

    async def _listen(self, info: ProcessInfo, key: tuple[str, str], watcher: Watcher) -> None:
        while (message := await self.websocket.receive())["type"] != "websocket.disconnect":
            data: bytes | None = message.get("bytes")
            with contextlib.suppress(ProcessEnded, ProcessNotFound):
                if data:
                    await self.session.agent.write_stdin(info.pid, data)
                elif text := message.get("text"):
                    await self._control(text, info, key, watcher)

    async def _control(self, text: str, info: ProcessInfo, key: tuple[str, str], watcher: Watcher) -> None:
        """What is none of the protocol's messages is passed over."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return
        match document:
            case {"type": "resize", "cols": int(columns), "rows": int(rows)}:
                watcher.size = TerminalSize(within(rows), within(columns))
                await self._fit(key, info)
            case {"type": "signal", "signal": "SIGINT"}:
                await self.session.agent.write_stdin(info.pid, INTERRUPT)
            case {"type": "signal", "signal": str(name)} if name in SIGNALS:
                await self.session.agent.signal(info.pid, SIGNALS[name])


async def open_pty(call: Call, session: AgentSession) -> ProcessInfo:
    """SESSION_ALREADY_EXISTS while one of that id runs, SESSION_CAP_REACHED."""
    name = checked_session_id(call.request.query_params.get("sessionId") or random_word(20))
    command = checked_text(call.request.query_params.get("exec", ""), "exec")
    agent, user, size = session.agent, call.linux_user or session.sandbox.user, wanted_size(call)
    locks: KeyedLocks = call.request.app.state.locks
    async with locks.hold(f"{session.sandbox.id}/{name}"):
        await make_room(agent, name)
        running = [info for info in await agent.processes() if is_session(info) and info.running]
        if len(running) >= MOST_RUNNING:
            raise FreestyleError(429, "SESSION_CAP_REACHED", f"The VM has {MOST_RUNNING} sessions: close some of them")
        folder = folder_of(call, session.sandbox)
        if not command:
            return await start(agent, NewTerminal(name, size.rows, size.cols, folder), user)
        spec = ProcessSpec(
            shell=command,
            cwd=folder,
            env={"TERM": TERM},
            user=user,
            tag=TAG + name,
            terminal=size,
            replay_bytes=SCROLLBACK,
        )
        return await agent.start(spec)


async def attach_pty(call: Call, session: AgentSession) -> ProcessInfo:
    """SESSION_NOT_FOUND, SESSION_USER_MISMATCH."""
    return await session_of(call, session.agent)


async def session_of(call: Call, agent: AgentClient) -> ProcessInfo:
    name = checked_session_id(call.path("session_id"))
    info = await find(agent, name)
    if not is_session(info):
        raise FreestyleError(404, "SESSION_NOT_FOUND", f"Session {name} not found", session_id=name)
    if call.linux_user is not None and info.user != call.linux_user:
        message = f"Session {name} belongs to {info.user}"
        raise FreestyleError(403, "SESSION_USER_MISMATCH", message, session_id=name)
    if call.guest is not None and not call.guest.may_act_as(call.vm_id, info.user):
        raise FreestyleError(403, "VM_ACCESS_DENIED", f"Session {name} is another user's", vm_id=call.vm_id)
    return info


async def list_pty_sessions(call: Call) -> Response:
    async with open_session(call, active=False) as session:
        found = [info for info in await session.agent.processes() if is_session(info)]
    watchers: Watchers = call.request.app.state.watchers
    shown = [
        document(info, watchers.count((session.sandbox.id, session_name(info))))
        for info in found
        if call.linux_user in (None, info.user)
    ]
    return JSONResponse({"sessions": shown})


async def close_pty_session(call: Call) -> Response:
    """Whoever is attached is told of its end."""
    vm = await awake(call)
    async with call.services.sandboxes.session(call.principal, vm.id) as session:
        info = await session_of(call, session.agent)
        await end(session.agent, info)
    return JSONResponse({"sessionId": session_name(info), "exitCode": info.exit_code})


def document(info: ProcessInfo, attached: int) -> dict[str, Any]:
    return {
        "sessionId": session_name(info),
        "running": info.running,
        "exitCode": info.exit_code,
        "cols": info.cols or COLUMNS,
        "rows": info.rows or ROWS,
        "exec": None if info.argv in SHELLS else " ".join(info.argv),
        "createdAtMs": round(info.started_at * 1000),
        "attachedCount": attached,
        "user": info.user,
        "suspended": False,
    }


def is_session(info: ProcessInfo) -> bool:
    """Not a terminal of exec-await's, which takes commands one by one and no keys."""
    return (info.tag or "").startswith(TAG) and info.argv != ARGV


def session_name(info: ProcessInfo) -> str:
    return (info.tag or "").removeprefix(TAG)


def checked_session_id(name: str) -> str:
    if not SESSION_ID.fullmatch(name):
        message = "A session id has 1 to 64 characters of a-z, A-Z, 0-9, dot, underscore and dash"
        raise FreestyleError(400, "INVALID_SESSION_ID", message, session_id=name[:64])
    return name


def wanted_size(call: Call) -> TerminalSize:
    rows, columns = call.number("rows"), call.number("cols")
    if (rows or 0) > LARGEST or (columns or 0) > LARGEST:
        raise InvalidInput(f"A terminal has at most {LARGEST} rows and columns", field="rows")
    return TerminalSize(rows or ROWS, columns or COLUMNS)


def within(number: int) -> int:
    return max(1, min(number, LARGEST))


async def shut_out(call: Call) -> None:
    """Forbidden, Unauthorized or KeyExpired once who has connected may do so no longer."""
    services, guest = call.services, call.guest
    while True:
        if guest is not None:
            await services.identities.changed(guest)
            guest = await services.identities.still(guest)
            check_guest(guest, call.operation, call.vm_id, call.linux_user, services)
        elif call.principal.key_id is not None:
            await services.access.changed(call.principal.key_id)
            services.access.require(
                await services.access.still(call.principal.team_id, call.principal.key_id), Scope.SANDBOXES_WRITE
            )
        else:
            await asyncio.Event().wait()


HANDLERS: Mapping[str, Handler] = {
    "list_pty_sessions": list_pty_sessions,
    "close_pty_session": close_pty_session,
}
