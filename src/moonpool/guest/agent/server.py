"""The port: who may come in, and which operation answers."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from ..protocol import (
    CANCEL,
    CREDIT,
    DATA,
    DISKS,
    END,
    ERROR,
    HELLO,
    IDLE_BOOT,
    MAX_FRAME,
    MAX_HELLO,
    MAX_MESSAGE,
    NOTICE,
    PART,
    PING,
    PONG,
    REPLY,
    REQUEST,
    TAKE_UP,
    TAKEN_UP,
    VERSION,
    WELCOME,
    FrameConnection,
    Message,
    ProtocolError,
    Stream,
    decode,
    encode,
)
from .accounts import Accounts
from .archive import Archives
from .asking import Questions
from .disks import Disks
from .elevation import Elevation
from .errors import AgentError, describe
from .files import Files
from .limits import Limits
from .listening import Listeners
from .machine import Machine
from .mounts import Mounts
from .network import Network
from .ordering import Orders
from .processes import Processes
from .request import Request
from .telemetry import PORT as TELEMETRY_PORT
from .telemetry import Telemetry
from .transfer import Transfer
from .units.operations import Units
from .users import Users
from .watch import Watches
from .workers import Workers

HELLO_TIMEOUT = 5.0  # seconds in which a connection must say the secret
PARK_TIMEOUT = 600.0  # seconds that operations wait for a client that left to come back
CLOSE_TIMEOUT = 2.0  # seconds the other side has to close after a quiesce
MAX_STRANGERS = 32  # connections that have not said the secret yet
MAX_STREAMS = 1024  # operations at once on one connection
BACKLOG = 128
Result = Message | dict[str, Any] | None
Operation = Callable[[Stream, Request], Coroutine[Any, Any, Result]]


class Connection(FrameConnection):
    """One client. Until it has said the secret it is told nothing and given next to no memory."""

    def __init__(self, server: "Server") -> None:
        super().__init__(MAX_HELLO)
        self._server = server
        self._known = False
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._refused: set[int] = set()  # requests that are still coming in and will not be served
        self._deadline = asyncio.get_running_loop().call_later(HELLO_TIMEOUT, self._too_late)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # asyncio leaves this off for a socket that does not name its protocol, and an accepted one does not.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._server.alone and _from_inside(transport):
            self.abort(ProtocolError("programs inside have no business here"))
            return
        self._server.arrived(self)

    def _too_late(self) -> None:
        self.abort(ProtocolError("no secret in time"))

    def frame_received(self, kind: int, number: int, payload: memoryview) -> None:
        if not self._known:
            self._hello(kind, payload)
        elif kind == PING:
            self.send(PONG, 0)
        elif kind == CANCEL:
            if number in self._tasks:
                self._tasks[number].cancel()
            else:
                self.streams.pop(number, None)
        elif kind == TAKE_UP:
            self._take_up(bytes(payload))
        elif kind in (REQUEST, PART, DATA, END, CREDIT):
            self._stream_frame(kind, number, payload)
        else:
            raise ProtocolError(f"a frame of kind {kind}")

    def _hello(self, kind: int, payload: memoryview) -> None:
        if kind != HELLO or not self._server.machine.accepts(bytes(payload)):
            raise ProtocolError("not the secret")
        self._known = True
        self._deadline.cancel()
        self.max_payload = MAX_FRAME
        self._server.strangers.pop(self, None)
        self.send(WELCOME, 0, encode({"version": VERSION, "pid": os.getpid()}))

    def _take_up(self, token: bytes) -> None:
        parked = self._server.parked.pop(token, None)
        if parked is None:
            raise ProtocolError("no such connection is waiting")
        self.send(TAKEN_UP, 0)
        self.carry(parked)

    def _stream_frame(self, kind: int, number: int, payload: memoryview) -> None:
        stream = self.streams.get(number)
        if stream is None:
            if kind not in (REQUEST, PART):
                return  # of a stream that has just ended
            if number in self._refused or len(self.streams) >= MAX_STREAMS:
                self._refuse(kind, number)
                return
            stream = self.streams[number] = Stream(self, number)
        if kind == REQUEST and number in self._tasks:
            raise ProtocolError("a second request on a stream")
        stream.feed(kind, payload)
        if kind == REQUEST:
            self._begin(stream)

    def _refuse(self, kind: int, number: int) -> None:
        """One operation too many; what runs is not disturbed. An answer waits for the end of a request in parts."""
        if kind == PART:
            self._refused.add(number)
            return
        self._refused.discard(number)
        document = {"code": "limit_exceeded", "message": f"more than {MAX_STREAMS} operations at once in this sandbox"}
        self.send_message(ERROR, number, encode(document))

    def _begin(self, stream: Stream) -> None:
        item = stream.next_ready()
        assert item is not None
        message = decode(item.payload)
        task = asyncio.get_running_loop().create_task(self._serve(stream, message))
        self._tasks[stream.number] = task
        task.add_done_callback(lambda done: self._finished(stream, done))

    async def _serve(self, stream: Stream, message: Message) -> None:
        operation = self._server.operations.get(str(message.document.get("op")))
        if operation is None:
            raise AgentError("not_supported", f"unknown operation: {str(message.document.get('op'))[:80]}")
        result = await operation(stream, Request(message.document, message.body))
        document, body = result if isinstance(result, Message) else (result or {}, b"")
        answer = encode(document, body)
        if len(answer) > MAX_MESSAGE:
            raise AgentError("too_large", "the answer is too long")
        self.send_message(REPLY, stream.number, answer)

    def _finished(self, stream: Stream, task: "asyncio.Task[None]") -> None:
        self.streams.pop(stream.number, None)
        self._tasks.pop(stream.number, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ProtocolError):
            self.abort(error)
        elif error is not None and self.lost is None:
            self.send_message(ERROR, stream.number, encode(describe(error)))

    def connection_closed(self) -> None:
        self._deadline.cancel()
        self._server.left(self)
        for task in list(self._tasks.values()):
            task.cancel()


class Server:
    """`alone`: this is a sandbox of its own, so nobody on the same address may connect, and users whom the image's
    sudo trusts may become root."""

    def __init__(self, secret: bytes, port: int, limits: Limits, *, alone: bool) -> None:
        self.alone = alone
        self.strangers: dict[Connection, None] = {}  # in the order in which they came
        self.parked: dict[bytes, Connection] = {}  # by the token of who will take it up
        self._connections: set[Connection] = set()
        users, workers = Users(), Workers()
        self.processes = Processes(users)
        self.processes.started, limits.sizes.alone = limits.sizes.started, self.processes.alone
        self._elevation = Elevation(users, self.processes)
        self._mounts = mounts = Mounts()
        self.machine = Machine(secret, users, self.processes, workers, limits, mounts)
        files = Files(users, workers)
        transfer, accounts, orders = Transfer(files, workers), Accounts(workers), Orders(files)
        network = self._network = Network(workers, frozenset({port, TELEMETRY_PORT} if alone else {port}))
        suffix = "" if alone else f"-{port}"
        listeners = Listeners(users)
        self._telemetry = Telemetry(self._notice)
        self._disks = Disks(lambda: self._notice(DISKS), suffix)
        units = self.units = Units(users, self.processes, workers, suffix, lambda: self._notice(IDLE_BOOT))
        processes, machine = self.processes, self.machine
        self.operations: dict[str, Operation] = {
            "ping": _ping,
            "quiesce": self._quiesce,
            "park": self._park,
            "thaw": self._thaw,
            "enter": self._enter,
            **_named(machine.environment, machine.metrics, machine.deleted_files, machine.limit),
            **_named(processes.run, processes.start, processes.start_and_attach, Questions(files, processes).attach),
            **_named(processes.write_stdin, processes.close_stdin),
            **_named(processes.signal, processes.resize, processes.processes, processes.process, processes.wait),
            **_named(
                processes.retag,
                processes.forget,
                files.stat,
                files.list,
                files.mkdir,
                files.move,
                files.copy,
                files.remove,
            ),
            **_named(files.chmod, files.chown, files.glob, files.grep, files.replace),
            **_named(transfer.read, transfer.write, transfer.place, network.ports, network.dial, units.wait_alone),
            **_named(Watches(files, workers).watch, network.watch_ports, Archives(files, workers).archive),
            **_named(accounts.ensure_user, accounts.ensure_group, orders.keep_order, orders.order),
            **_named(mounts.mount_volume, mounts.unmount_volume),
            **_named(listeners.listen, listeners.listen_privately, listeners.take),
            **_named(units.units, units.unit, units.unit_write, units.unit_delete, units.unit_act, units.unit_logs),
            **_named(units.units_settle, self._telemetry.take_telemetry, self._disks.show_disks),
        }

    def arrived(self, connection: Connection) -> None:
        """A stranger: when there are too many, whoever has been silent for longest must go."""
        self._connections.add(connection)
        self.strangers[connection] = None
        if len(self.strangers) > MAX_STRANGERS:
            next(iter(self.strangers)).abort(ProtocolError("too many connections"))

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.strangers.pop(connection, None)
        for token in [token for token, parked in self.parked.items() if parked is connection]:
            del self.parked[token]

    def _notice(self, about: bytes = b"") -> bool:
        """Whether there is anybody who hears it."""
        known = self._connections - set(self.strangers)
        for connection in known:
            connection.send(NOTICE, 0, about)
        return bool(known)

    async def _enter(self, stream: Stream, request: Request) -> None:
        self._mounts.keep()
        await self.machine.enter(stream, request)
        self.units.entered = True

    async def _quiesce(self, stream: Stream, request: Request) -> dict[str, Any]:
        """Write everything to disk and let go of every connection; of the asking one when its client has closed it,
        so that the client knows that nothing is open any more. Tells whether programs have connections of their own."""
        self.units.flush()
        await self.machine.sync(stream, request)
        for connection in list(self._connections):
            if connection is not stream.connection:
                connection.abort(ConnectionResetError("the sandbox is being saved"))
        last = stream.connection
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, last.abort, ConnectionResetError("not closed in time"))
        return {"connected": await self._network.connected()}

    async def _park(self, stream: Stream, request: Request) -> dict[str, Any]:
        """As quiesce, but the asking connection is taken up again after its socket is closed."""
        connection = stream.connection
        assert isinstance(connection, Connection)
        self.units.flush()
        await self.machine.sync(stream, request)
        for other in self._connections - {connection}:
            other.abort(ConnectionResetError("the sandbox is being saved"))
        connected = await self._network.connected()
        # Not before the answer is sent: that still goes by this socket.
        asyncio.get_running_loop().call_soon(self._leave, connection, bytes.fromhex(request.text("token")))
        return {"connected": connected}

    def _leave(self, connection: Connection, token: bytes) -> None:
        if connection.lost is None:
            connection.hold()
            self.parked[token] = connection
            waited = ConnectionResetError("not taken up in time")
            asyncio.get_running_loop().call_later(PARK_TIMEOUT, self._give_up, token, waited)

    def _give_up(self, token: bytes, error: Exception) -> None:
        parked = self.parked.pop(token, None)
        if parked is not None:
            parked.abort(error)

    async def _thaw(self, stream: Stream, request: Request) -> dict[str, Any]:
        """Whoever was connected to what this is a copy of stays with that."""
        for token in list(self.parked):
            self._give_up(token, ConnectionResetError("the sandbox is another one now"))
        self._telemetry.forget()
        self._disks.forget()
        result = await self.machine.thaw(stream, request)
        live = partial(self.units.live, at_leisure=request.flag("at_leisure"))
        asyncio.get_running_loop().call_soon(live)  # when the answer is on its way
        return result

    def _signalled(self, woken: socket.socket) -> None:
        woken.recv(4096)
        self.processes.reap()

    async def serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # A signal that comes right before the loop begins to wait would not wake it: a byte in this socket does.
        waking, woken = socket.socketpair()
        waking.setblocking(False)
        woken.setblocking(False)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        loop.add_reader(woken, self._signalled, woken)
        self.processes.reap()
        self._disks.listen()
        if self.alone:
            self._elevation.listen()
            await self._telemetry.listen()
        server = await loop.create_server(lambda: Connection(self), sock=listener, backlog=BACKLOG)
        print(f"listening on port {listener.getsockname()[1]}", flush=True)
        await server.serve_forever()


def _from_inside(transport: asyncio.BaseTransport) -> bool:
    return bool(transport.get_extra_info("peername")[0] == transport.get_extra_info("sockname")[0])


async def _ping(stream: Stream, request: Request) -> None:
    """Only that the agent answers."""


def _named(*operations: Operation) -> dict[str, Operation]:
    return {operation.__name__: operation for operation in operations}
