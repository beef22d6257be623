"""The SSH server: one for all sandboxes; a client's user name has the token that says which."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import structlog

from moonpool.clock import Clock
from moonpool.errors import AgentTimeout, AgentUnavailable, InvalidState, MoonpoolError, PortClosed, SandboxNotFound
from moonpool.guest.client import AgentClient
from moonpool.previews.links import acting_for
from moonpool.sandboxes.model import AgentSession, SandboxState
from moonpool.sandboxes.service import SandboxService
from moonpool.ssh.files import SandboxFiles
from moonpool.ssh.forwarding import ForwardedPort
from moonpool.ssh.hostkey import host_key
from moonpool.ssh.listening import ClientListeners
from moonpool.ssh.model import Visitor
from moonpool.ssh.programs import run
from moonpool.ssh.service import SshService

LOGIN_TIMEOUT = 30.0  # seconds
KEEPALIVE = 30.0  # seconds between questions to a client that is silent; the third that is not answered ends it
FIRST_DELAY, LONGEST_DELAY = 0.5, 16.0  # seconds before a wrong token is refused: doubled with each
FORGIVEN_AFTER = 300.0  # seconds without a wrong token
REMEMBERED = 10_000  # addresses that were wrong
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::", ""})  # noqa: S104 - names, none is listened on

log = structlog.get_logger(__name__)


class Slowness:
    """How long each address waits after its wrong tokens."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def delay(self, address: str) -> float:
        """One more was wrong: seconds until it hears so."""
        count, last = self._wrong.pop(address, (0, 0.0))
        now = self._clock.monotonic()
        count = 1 if now - last > FORGIVEN_AFTER else count + 1
        self._wrong[address] = (count, now)
        if len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(count - 1, 10))


class SshServer:
    """``start`` listens, ``close`` ends every connection."""

    def __init__(self, service: SshService, sandboxes: SandboxService, clock: Clock, data: Path) -> None:
        self._service = service
        self._sandboxes = sandboxes
        self._data = data
        self._slowness = Slowness(clock)
        self._open: dict[str, set[asyncssh.SSHServerConnection]] = {}
        self._listener: asyncssh.SSHAcceptor | None = None
        service.on_end = self._token_over

    async def start(self, host: str, port: int) -> int:
        """Answers with the port; OSError where it cannot be had."""
        asyncssh.set_log_level(logging.WARNING)  # Below that it tells users' names, which are tokens, and commands.
        self._listener = await asyncssh.listen(
            host,
            port,
            server_factory=lambda: Login(self),
            server_host_keys=[host_key(self._data)],
            process_factory=self._program,
            sftp_factory=lambda channel: SandboxFiles(channel, self.visiting(channel.get_connection())),
            allow_scp=True,
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
            login_timeout=LOGIN_TIMEOUT,
            keepalive_interval=KEEPALIVE,
            reuse_address=True,
        )
        self._service.port = self._listener.get_port()
        return self._service.port

    async def close(self) -> None:
        self._service.port = None
        if self._listener is not None:
            self._listener.close()
            for connections in list(self._open.values()):
                for connection in list(connections):
                    connection.abort()
            await self._listener.wait_closed()

    # -- who comes -----------------------------------------------------------------------------------------------------

    async def admit(self, connection: asyncssh.SSHServerConnection, name: str) -> bool:
        """Whether the user's name lets this client in; one that does not is answered late."""
        visitor = await self._service.let_in(name)
        if visitor is None:
            address = str((connection.get_extra_info("peername") or ("",))[0])
            await asyncio.sleep(self._slowness.delay(address))
            return False
        connection.set_extra_info(visitor=visitor)
        self._open.setdefault(visitor.id, set()).add(connection)
        return True

    def left(self, connection: asyncssh.SSHServerConnection) -> None:
        visitor = connection.get_extra_info("visitor")
        if visitor is not None and (connections := self._open.get(visitor.id)):
            connections.discard(connection)
            if not connections:
                del self._open[visitor.id]

    def _token_over(self, token_id: str) -> None:
        for connection in list(self._open.get(token_id, ())):
            connection.abort()

    # -- what they want ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def session(self, visitor: Visitor) -> AsyncIterator[AgentSession]:
        """Into the visitor's sandbox, woken where it is paused; InvalidState where it is stopped."""
        sandbox = self._sandboxes.peek(visitor.sandbox_id)
        if sandbox is None or sandbox.doomed:
            raise SandboxNotFound
        who = acting_for(sandbox)
        if sandbox.state is not SandboxState.RUNNING:
            sandbox = await self._sandboxes.settled(who, sandbox.id)
            if sandbox.state is SandboxState.PAUSED:
                await self._sandboxes.start(who, sandbox.id)
        async with self._sandboxes.session(who, sandbox.id) as session:
            yield session

    def visiting(self, connection: asyncssh.SSHServerConnection) -> Any:
        visitor: Visitor = connection.get_extra_info("visitor")

        @asynccontextmanager
        async def visit() -> AsyncIterator[tuple[AgentClient, str]]:
            async with self.session(visitor) as session:
                yield session.agent, visitor.user or session.sandbox.user

        return visit

    async def _program(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """A command, or a shell where there is none."""
        visitor: Visitor = process.channel.get_connection().get_extra_info("visitor")
        try:
            async with self.session(visitor) as session:
                await run(process, session.agent, visitor.user)
        except MoonpoolError as error:
            process.stderr.write(f"{error.message}\r\n".encode())
            process.exit(255)
        except (asyncssh.Error, ConnectionError) as error:
            log.debug("ssh_client_gone", reason=type(error).__name__)

    async def forward(self, visitor: Visitor, port: int) -> asyncssh.SSHTCPSession[bytes]:
        """A connection to a port of the sandbox; ChannelOpenError."""
        forwarded = ForwardedPort(self.session, visitor, port)
        try:
            await forwarded.open()
        except PortClosed as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, error.message) from None
        except (InvalidState, SandboxNotFound, AgentUnavailable, AgentTimeout) as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, error.message) from None
        return forwarded


class Login(asyncssh.SSHServer):
    """One client's connection."""

    def __init__(self, server: SshServer) -> None:
        self._server = server
        self._connection: asyncssh.SSHServerConnection | None = None
        self._listeners = ClientListeners()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        # asyncssh's own would be a socket on this machine.
        conn.create_agent_listener = self._lead_to_keys  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        self._listeners.close()
        if self._connection is not None:
            self._server.left(self._connection)

    async def begin_auth(self, username: str) -> bool:
        """The token is all that is asked: without a good one there is no method left that could succeed."""
        assert self._connection is not None
        return not await self._server.admit(self._connection, username)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        """To the sandbox's own ports alone; whatever else it reaches, programs in it can connect to."""
        assert self._connection is not None
        if dest_host.lower() not in LOOPBACK or not 0 < dest_port <= 65535:
            return False
        return self._server.forward(self._connection.get_extra_info("visitor"), dest_port)

    def server_requested(self, listen_host: str, listen_port: int) -> Any:
        """Inside the sandbox, on its loopback alone, whatever address the client names: as OpenSSH's server does it."""
        assert self._connection is not None
        visit = self._server.visiting(self._connection)
        return self._listeners.to_client(self._connection, visit, listen_host, listen_port)

    async def _lead_to_keys(self) -> bool:
        assert self._connection is not None
        return await self._listeners.to_keys(self._connection, self._server.visiting(self._connection))
