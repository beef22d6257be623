"""Preview tokens of sandboxes, and the hosts that a team trusts. Odd statuses are the contract's."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from moonpool.dialects.codesandbox.call import Authenticated
from moonpool.dialects.codesandbox.errors import success
from moonpool.dialects.codesandbox.requests import parse
from moonpool.dialects.codesandbox.schemas import (
    PreviewHostRequest,
    PreviewTokenCreateRequest,
    PreviewTokenUpdateRequest,
)
from moonpool.dialects.codesandbox.timestamps import timestamp
from moonpool.previews.model import PreviewHost, PreviewToken

router = APIRouter()


def token_json(token: PreviewToken) -> dict[str, Any]:
    return {
        "token_id": token.id,
        "token_prefix": token.prefix,
        "expires_at": timestamp(token.expires_at),
        "last_used_at": timestamp(token.last_used_at),
    }


@router.get("/sandbox/{id}/tokens")
async def list_tokens(call: Authenticated, id: str) -> Response:
    sandbox = await call.services.sandboxes.get(call.principal, id)
    tokens = await call.services.previews.list_tokens(call.principal, sandbox.id)
    return success({"sandbox_id": sandbox.id, "tokens": [token_json(token) for token in tokens]}, 201)


@router.post("/sandbox/{id}/tokens")
async def create_token(request: Request, call: Authenticated, id: str) -> Response:
    body = await parse(request, PreviewTokenCreateRequest)
    made = await call.services.previews.create_token(call.principal, id, body.expires_at)
    token = {**token_json(made.token), "token": made.secret}
    return success({"sandbox_id": made.token.sandbox_id, "token": token}, 201)


@router.patch("/sandbox/{id}/tokens/{token_id}")
async def update_token(request: Request, call: Authenticated, id: str, token_id: str) -> Response:
    """No date, or none at all, makes it last for ever: the SDK leaves the field away where its user gives null."""
    body = await parse(request, PreviewTokenUpdateRequest)
    token = await call.services.previews.set_token_expiry(call.principal, id, token_id, body.expires_at)
    return success({"sandbox_id": token.sandbox_id, "token": token_json(token)}, 201)


@router.delete("/sandbox/{id}/tokens")
async def revoke_all_tokens(call: Authenticated, id: str) -> Response:
    await call.services.previews.revoke_tokens(call.principal, id)
    return success({})


def hosts_answer(hosts: list[PreviewHost]) -> Response:
    listed = [{"host": host.host, "inserted_at": timestamp(host.created_at)} for host in hosts]
    return success({"preview_hosts": listed}, 201)


@router.get("/workspace/preview_hosts")
async def list_preview_hosts(call: Authenticated) -> Response:
    return hosts_answer(await call.services.previews.list_hosts(call.principal))


@router.post("/workspace/preview_hosts")
async def create_preview_hosts(request: Request, call: Authenticated) -> Response:
    body = await parse(request, PreviewHostRequest)
    return hosts_answer(await call.services.previews.add_hosts(call.principal, body.hosts))


@router.put("/workspace/preview_hosts")
async def update_preview_hosts(request: Request, call: Authenticated) -> Response:
    body = await parse(request, PreviewHostRequest)
    return hosts_answer(await call.services.previews.replace_hosts(call.principal, body.hosts))
