"""Access to sandboxes by SSH."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from moonpool.access.model import Scope
from moonpool.dialects.daytona.answers import sandbox_json
from moonpool.dialects.daytona.call import Authenticated, Call
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.ssh.model import NewSshAccess
from moonpool.ssh.service import LONGEST

DEFAULT_MINUTES = 60
SSH_PORT = 22

Minutes = Annotated[float, Query(alias="expiresInMinutes", gt=0, le=LONGEST)]

# "validate" stands where others have a sandbox's name, so it comes first.
router = APIRouter()


@router.get("/api/sandbox/ssh-access/validate")
async def validate_ssh_access(call: Authenticated, token: Annotated[str, Query()]) -> Response:
    call.services.access.require(call.principal, Scope.SANDBOXES_READ)
    found = await call.services.ssh.validate(token, call.principal.team_id)
    return JSONResponse({"valid": found is not None, "sandboxId": found.sandbox_id if found else ""})


@router.post("/api/sandbox/{sandbox}/ssh-access")
async def create_ssh_access(call: Authenticated, sandbox: str, minutes: Minutes = DEFAULT_MINUTES) -> Response:
    """In the place of all that the sandbox had."""
    return JSONResponse(access_json(call, await call.services.ssh.create(call.principal, sandbox, minutes)))


@router.delete("/api/sandbox/{sandbox}/ssh-access")
async def revoke_ssh_access(call: Authenticated, sandbox: str, token: str | None = None) -> Response:
    """Without a token all of the sandbox's."""
    await call.services.ssh.revoke(call.principal, sandbox, token or None)
    return JSONResponse(sandbox_json(await call.services.sandboxes.get(call.principal, sandbox), call.view))


def access_json(call: Call, made: NewSshAccess) -> dict[str, Any]:
    access = made.access
    return {
        "id": access.id,
        "sandboxId": access.sandbox_id,
        "token": made.token,
        "expiresAt": timestamp(access.expires_at),
        "createdAt": timestamp(access.created_at),
        "updatedAt": timestamp(access.created_at),
        "sshCommand": command(call, made.token),
    }


def command(call: Call, token: str) -> str:
    given = call.services.server.ssh_address
    host, _, port = (given or f"{hostname(call.origin)}:{call.services.ssh.port}").rpartition(":")
    where = "" if port == str(SSH_PORT) else f"-p {port} "
    return f"ssh {where}{token}@{host.strip('[]')}"


def hostname(origin: str) -> str:
    host = origin.partition("://")[2]
    return host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]
