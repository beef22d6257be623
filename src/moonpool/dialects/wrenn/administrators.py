"""Who administers the whole server, and on whose behalf."""

from typing import Annotated

from fastapi import Depends

from moonpool.access.model import Principal
from moonpool.dialects.wrenn.mapping import sandbox_id
from moonpool.dialects.wrenn.requests import Caller, Provided

TEAM_PREFIX = "team-"


async def administrator(principal: Caller, services: Provided) -> Principal:
    """Forbidden for anybody else."""
    services.access.require_platform_admin(principal)
    return principal


Administrator = Annotated[Principal, Depends(administrator)]


async def owner(id: str, principal: Administrator, services: Provided) -> Principal:
    """The administrator, with the rights of the team whose capsule this is."""
    return services.oversight.on_behalf_of(principal, sandbox_id(id))


Owner = Annotated[Principal, Depends(owner)]
