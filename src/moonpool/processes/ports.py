"""Ports that programs in a sandbox listen on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moonpool.access.model import Principal
from moonpool.guest.model import Port
from moonpool.guest.watching import lasting
from moonpool.processes.model import Sandboxes


class PortService:
    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes

    async def list(self, principal: Principal, sandbox: str) -> list[Port]:
        """TCP ports, by number; one for each address that is listened on."""
        async with self._sandboxes.session(principal, sandbox) as session:
            return await session.agent.ports()

    @asynccontextmanager
    async def watch(self, principal: Principal, sandbox: str) -> AsyncIterator[AsyncIterator[tuple[Port, ...]]]:
        """The ports, at once and then whenever they have changed, for as long as the sandbox runs: then InvalidState.
        It is no use of the sandbox, so idle rules go on."""

        @asynccontextmanager
        async def opening() -> AsyncIterator[AsyncIterator[tuple[Port, ...]]]:
            async with (
                self._sandboxes.session(principal, sandbox, active=False) as session,
                session.agent.watch_ports() as ports,
            ):
                yield ports

        async with lasting(opening) as ports:
            yield ports
