"""What an image's maker has had started in the sandbox: whether it runs, and what it has said."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moonpool.access.model import Principal
from moonpool.errors import ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Output, ProcessEvent, ProcessInfo
from moonpool.hosts.entrypoint import TAG
from moonpool.processes.model import Sandboxes


class EntrypointService:
    """A sandbox whose image names none has none."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes

    async def get(self, principal: Principal, sandbox: str) -> ProcessInfo | None:
        async with self._sandboxes.session(principal, sandbox) as session:
            return await found(session.agent)

    async def output(self, principal: Principal, sandbox: str) -> bytes:
        """What it has written so far, its latest part where that is much; both streams in one."""
        async with self._sandboxes.session(principal, sandbox) as session:
            info = await found(session.agent)
            if info is None or not info.written:
                return b""
            pieces, missing = [], info.written
            async with session.agent.attach(info.pid) as events:
                async for event in events:
                    if isinstance(event, Output):
                        pieces.append(event.data)
                        missing -= event.dropped + len(event.data)
                        if missing <= 0:
                            break
            return b"".join(pieces)

    @asynccontextmanager
    async def follow(self, principal: Principal, sandbox: str) -> AsyncIterator[AsyncIterator[ProcessEvent] | None]:
        async with self._sandboxes.session(principal, sandbox) as session:
            info = await found(session.agent)
            if info is None:
                yield None
                return
            async with session.agent.attach(info.pid) as events:
                yield events


async def found(agent: AgentClient) -> ProcessInfo | None:
    try:
        return await agent.process(TAG)
    except ProcessNotFound:
        return None
