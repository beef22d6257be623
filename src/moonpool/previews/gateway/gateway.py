"""The gateway as a whole: which connections are previews', and what is done with each request of theirs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter

from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import AgentTimeout, AgentUnavailable, InvalidState, PortClosed, SandboxNotFound
from moonpool.guest.client import AgentClient
from moonpool.previews.doors import Doors
from moonpool.previews.gateway.admission import Admission, Admitted
from moonpool.previews.gateway.answer import Answer
from moonpool.previews.gateway.connections import Connection
from moonpool.previews.gateway.editing import editing, preflight
from moonpool.previews.gateway.exchange import Exchange, Front
from moonpool.previews.gateway.names import PATH, Names, Target
from moonpool.previews.gateway.pool import Pool
from moonpool.previews.gateway.refusals import Refusal
from moonpool.previews.gateway.request import Head, checked, upstream_head
from moonpool.previews.gateway.waking import Policy, Waker, Wakes
from moonpool.previews.gateway.words import Words
from moonpool.previews.links import acting_for
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.service import SandboxService


@dataclass(frozen=True)
class GatewaySettings:
    """``domains`` as for ``Names``; ``agent_port`` is the agent's inside every sandbox; seconds for an app to begin its
    answer; ``key`` seals cookies; ``own_hosts``: names of the server, at which the APIs are."""

    domains: tuple[str, ...]
    agent_port: int
    answer_timeout: float
    wake: Policy
    words: Words
    key: bytes
    own_hosts: tuple[str, ...] = ()


class PreviewGateway:
    def __init__(
        self,
        settings: GatewaySettings,
        access: AccessService,
        sandboxes: SandboxService,
        doors: Doors,
        background: Background,
        wakes: Wakes,
        clock: Clock,
    ) -> None:
        self.answer_timeout = settings.answer_timeout
        self._words = settings.words
        self._sandboxes = sandboxes
        self._doors = doors
        self._names = Names(settings.domains, doors.mapping, settings.words.id_prefixes, settings.own_hosts)
        self._admission = Admission(access, sandboxes, doors, settings.words, settings.key, clock)
        self._waker = Waker(sandboxes, background, settings.wake, wakes)
        self._pool = Pool(self._watched, settings.agent_port)
        self._requests: Counter | None = None

    def count_in(self, registry: CollectorRegistry) -> None:
        self._requests = Counter("moonpool_preview_requests", "Requests to previews", ["status"], registry=registry)

    # -- which requests ------------------------------------------------------------------------------------------------

    def target(self, host: bytes, url: bytes) -> Target | None:
        """What a request is for; None: it is not for a preview."""
        if not host and not url.startswith(PATH):
            return None
        return self._names.by_host(host) or (self._names.by_path(url) if url.startswith(PATH) else None)

    @property
    def domain(self) -> str:
        """Under which sandboxes have names, without a port."""
        return self._names.domain

    def owns(self, domain: str) -> bool:
        """Whether no user may take this domain, since previews or the APIs are there."""
        return self._names.owns(domain)

    def exchange(self, front: Front, head: Head, target: Target, *, keep_alive: bool) -> Exchange:
        return Exchange(self, front, head, target, keep_alive)

    # -- what is done with one -----------------------------------------------------------------------------------------

    async def serve(self, exchange: Exchange) -> None:
        """Refusal for whatever does not reach an app."""
        try:
            await self._serve(exchange)
        except Refusal as refusal:
            self._count(refusal.status)
            raise

    async def _serve(self, exchange: Exchange) -> None:
        head = checked(exchange.head)
        admitted = await self._admission.admit(head, exchange.target)
        if answer := preflight(head, admitted):
            self._count(204)
            exchange.respond(answer)
            return
        active = not any(name in self._words.unnoticed for name, _ in head.headers)
        sandbox = await self._waker.awake(admitted.sandbox, websocket=head.websocket)
        try:
            async with self._sandboxes.session(acting_for(sandbox), sandbox.id, active=active) as session:
                await self._carry(exchange, head, admitted, session.agent)
        except PortClosed:
            raise Refusal.port_closed(admitted.port) from None
        except SandboxNotFound:
            raise Refusal.denied() from None
        except InvalidState as error:
            raise Refusal.not_running(error.state) from None
        except (AgentUnavailable, AgentTimeout):
            raise Refusal.unreachable() from None

    async def _carry(self, exchange: Exchange, head: Head, admitted: Admitted, agent: AgentClient) -> None:
        request = upstream_head(head, admitted.out, self._words)
        edit = editing(admitted, ours=not exchange.target.public)
        # What cannot be asked twice goes by a connection that is not just being closed by the other side.
        fresh = not exchange.repeatable
        while True:
            answer = Answer(
                exchange.write,
                method=head.method,
                version=head.version,
                keep_alive=exchange.keep_alive,
                edit=edit,
                upgrade=head.websocket,
            )
            connection = await self._pool.connection(admitted.sandbox.id, admitted.port, agent, fresh=fresh)
            try:
                carried = await exchange.carry(connection, request, answer)
            finally:
                self._let_go(exchange, admitted, connection)
            if carried:
                self._count(answer.status)
                return
            fresh = True

    def _let_go(self, exchange: Exchange, admitted: Admitted, connection: Connection) -> None:
        connection.owner = None
        if exchange.reusable:
            self._pool.give_back(admitted.sandbox.id, admitted.port, connection)
        else:
            connection.finish()

    @asynccontextmanager
    async def _watched(self, sandbox_id: str) -> AsyncIterator[AgentClient]:
        sandbox = self._sandboxes.peek(sandbox_id)
        if sandbox is None:
            raise InvalidState(state=SandboxState.DESTROYED)
        async with self._sandboxes.session(acting_for(sandbox), sandbox_id, active=False) as session:
            yield session.agent

    def _count(self, status: int) -> None:
        if self._requests is not None:
            self._requests.labels(str(status)).inc()

    # -- what changes --------------------------------------------------------------------------------------------------

    def sandbox_changed(self, sandbox: Sandbox) -> None:
        """After every change of a sandbox's row."""
        if sandbox.state is not SandboxState.RUNNING:
            self._pool.forget(sandbox.id)
        if sandbox.state is SandboxState.DESTROYED:
            self._doors.sandbox_gone(sandbox.id)

    def close(self) -> None:
        self._pool.close()
