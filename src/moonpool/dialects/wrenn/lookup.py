"""From a capsule's id to the sandbox, and to the agent inside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moonpool.access.model import Principal
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.mapping import sandbox_id
from moonpool.errors import InvalidState, SandboxNotFound
from moonpool.sandboxes.model import AgentSession, Sandbox, SandboxState


async def find(services: Services, principal: Principal, capsule: str) -> Sandbox:
    """Destroyed ones are found for a while: the SDK asks for their status afterwards."""
    try:
        return await services.sandboxes.get(principal, sandbox_id(capsule), include_destroyed=True)
    except SandboxNotFound:
        raise SandboxNotFound("Capsule not found") from None


async def living(services: Services, principal: Principal, capsule: str) -> Sandbox:
    """InvalidState for one that was destroyed, since a client can still see it."""
    sandbox = await find(services, principal, capsule)
    if sandbox.state is SandboxState.DESTROYED:
        raise InvalidState("Capsule is stopped", state=sandbox.state)
    return sandbox


@asynccontextmanager
async def open_session(services: Services, principal: Principal, capsule: str) -> AsyncIterator[AgentSession]:
    """The way to the agent of a running capsule: SandboxNotFound, InvalidState when it does not run."""
    sandbox = await living(services, principal, capsule)
    async with services.sandboxes.session(principal, sandbox.id) as session:
        yield session
