"""Addresses of ports, links that open them for a while, and what a proxy of the operator's own may ask."""

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from moonpool.access.model import Principal, Scope
from moonpool.dialects.common.authentication import token_of
from moonpool.dialects.common.previews import preview_url
from moonpool.dialects.common.services import Services
from moonpool.dialects.daytona.call import Authenticated, services_of
from moonpool.errors import Forbidden, SandboxNotFound
from moonpool.previews.links import HIGHEST_PORT, LONGEST_LINK
from moonpool.sandboxes.model import Sandbox

DEFAULT_LINK = 60  # seconds
TOOLBOX_PORT = 2280  # of the vendor's toolbox in its sandboxes: SDKs from 0.26 to 0.114 follow logs at its preview

Port = Annotated[int, Path(ge=1, le=HIGHEST_PORT)]
Seconds = Annotated[int, Query(alias="expiresInSeconds", ge=1, le=LONGEST_LINK)]

router = APIRouter()


@router.get("/api/sandbox/{sandbox}/ports/{port}/preview-url")
async def get_port_preview_url(call: Authenticated, sandbox: str, port: Port) -> Response:
    """The token opens every port of the sandbox, until its next start."""
    call.services.access.require(call.principal, Scope.SANDBOXES_WRITE)
    found = await call.services.sandboxes.get(call.principal, sandbox)
    if port == TOOLBOX_PORT:
        url = f"{call.view.toolbox_url}/{found.id}"
    else:
        url = preview_url(call.origin, call.services.server, found.id, port)
    return JSONResponse({"sandboxId": found.id, "url": url, "token": found.preview_token})


@router.get("/api/sandbox/{sandbox}/ports/{port}/signed-preview-url")
async def get_signed_port_preview_url(
    call: Authenticated, sandbox: str, port: Port, seconds: Seconds = DEFAULT_LINK
) -> Response:
    made = await call.services.previews.links.create(call.principal, sandbox, port, seconds)
    url = preview_url(call.origin, call.services.server, made.token, port)
    return JSONResponse({"sandboxId": made.link.sandbox_id, "port": port, "token": made.token, "url": url})


@router.post("/api/sandbox/{sandbox}/ports/{port}/signed-preview-url/{token}/expire")
async def expire_signed_port_preview_url(call: Authenticated, sandbox: str, port: Port, token: str) -> Response:
    await call.services.previews.links.expire(call.principal, sandbox, port, token)
    return Response()


# -- keys of file links ------------------------------------------------------------------------------------------------


@router.get("/api/sandbox/{sandbox}/signing-key")
async def get_sandbox_signing_key(call: Authenticated, sandbox: str) -> Response:
    return JSONResponse(await call.services.previews.links.file_key(call.principal, sandbox))


@router.post("/api/sandbox/{sandbox}/signing-key/rotate")
async def rotate_signing_key(call: Authenticated, sandbox: str) -> Response:
    """Ends every link to a file of this sandbox."""
    return JSONResponse(await call.services.previews.links.file_key(call.principal, sandbox, rotate=True))


# -- what a proxy asks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proxy:
    """Whoever has the operator's proxy key sees every sandbox; an admin's key is good for its own team's."""

    services: Services
    principal: Principal | None

    def find(self, sandbox_id: str) -> Sandbox:
        found = self.services.sandboxes.peek(sandbox_id)
        if found is None or found.doomed or (self.principal is not None and found.team_id != self.principal.team_id):
            raise SandboxNotFound(f"Sandbox with ID {sandbox_id} not found")
        return found


async def proxy(connection: HTTPConnection) -> Proxy:
    """Unauthorized, or Forbidden for who is no proxy."""
    services = services_of(connection)
    token, known = token_of(connection), services.server.proxy_key
    if known is not None and hmac.compare_digest(token.encode(), known.encode()):
        return Proxy(services, None)
    principal = await services.access.authenticate(token)
    services.access.require(principal, Scope.ADMIN)
    return Proxy(services, principal)


Asking = Annotated[Proxy, Depends(proxy)]


@router.get("/api/preview/{sandbox}/public")
async def is_sandbox_public(asking: Asking, sandbox: str) -> Response:
    """Never false: a private one is not told from one that does not exist."""
    if not asking.find(sandbox).public:
        raise SandboxNotFound(f"Sandbox with ID {sandbox} not found")
    return JSONResponse(True)


@router.get("/api/preview/{sandbox}/validate/{token}")
async def is_valid_auth_token(asking: Asking, sandbox: str, token: str) -> Response:
    if not hmac.compare_digest(token.encode(), asking.find(sandbox).preview_token.encode()):
        raise SandboxNotFound(f"Sandbox with ID {sandbox} not found")
    return JSONResponse(True)


@router.get("/api/preview/{sandbox}/access")
async def has_sandbox_access(call: Authenticated, sandbox: str) -> Response:
    """Asked with the key of whoever wants in."""
    await call.services.sandboxes.get(call.principal, sandbox)
    return JSONResponse(True)


@router.get("/api/preview/{token}/{port}/sandbox-id")
async def get_sandbox_id_from_signed_preview_url_token(asking: Asking, token: str, port: Port) -> Response:
    link = await asking.services.previews.doors.link(token, port)
    if link is None or (asking.principal is not None and link.team_id != asking.principal.team_id):
        raise Forbidden("Invalid or expired token")
    return JSONResponse(link.sandbox_id)


@router.get("/api/preview/{sandbox}/signing-key")
async def get_signing_key(asking: Asking, sandbox: str) -> Response:
    found = asking.find(sandbox)
    key = await asking.services.previews.links.known_file_key(found.id)
    if key is None:
        raise SandboxNotFound("No link to a file of this sandbox was ever signed")
    return JSONResponse(key)


@router.get("/api/preview/{sandbox}/preview-warning")
async def is_preview_warning_enabled(asking: Asking, sandbox: str) -> Response:
    """This server shows none before a preview."""
    asking.find(sandbox)
    return JSONResponse({"enabled": False})
