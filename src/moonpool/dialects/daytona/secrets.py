"""The organization's secrets, and those of a sandbox. Values are taken and never given."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona.answers import sandbox_json
from moonpool.dialects.daytona.call import Authenticated, Call
from moonpool.dialects.daytona.creation import UNPROCESSABLE, by_variable
from moonpool.dialects.daytona.extensions import CreateSecret, UpdateSandboxSecrets, UpdateSecret
from moonpool.dialects.daytona.requests import parse
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.dialects.daytona.wire import QueryModel
from moonpool.errors import InvalidInput, NotSupported, SecretNotFound
from moonpool.secrets.model import SecretChange, SecretQuery, SecretSort, TeamSecret

SORTS = {"name": SecretSort.NAME, "createdAt": SecretSort.CREATED_AT, "updatedAt": SecretSort.UPDATED_AT}
MOST = 200

router = APIRouter()


class SecretsQuery(QueryModel):
    cursor: Annotated[str, Field(max_length=4096)] | None = None
    limit: Annotated[int, Field(ge=1, le=MOST)] = 100
    name: Annotated[str, Field(max_length=255)] | None = None
    sort: Literal["name", "createdAt", "updatedAt"] = "createdAt"
    order: Literal["asc", "desc"] = "desc"


@router.get("/api/secret")
async def list_secrets(call: Authenticated) -> Response:
    page = call.services.secrets.list(call.principal, SecretQuery(limit=MOST))
    return JSONResponse([secret_json(one) for one in page.items])


@router.post("/api/secret", status_code=201)
async def create_secret(request: Request, call: Authenticated) -> Response:
    body = await parse(request, CreateSecret)
    hosts = tuple(body.hosts or ())
    made = await call.services.secrets.create(call.principal, body.name, body.value, body.description, hosts)
    return JSONResponse(secret_json(made), 201)


@router.get("/api/secret/paginated")
async def list_secrets_paginated(call: Authenticated, query: Annotated[SecretsQuery, Query()]) -> Response:
    asked = SecretQuery(query.name, SORTS[query.sort], query.order == "desc", query.cursor, query.limit)
    page = call.services.secrets.list(call.principal, asked)
    items = [secret_json(one) for one in page.items]
    return JSONResponse({"items": items, "total": page.total, "nextCursor": page.next_cursor})


@router.get("/api/secret/{secret}")
async def get_secret(call: Authenticated, secret: str) -> Response:
    return JSONResponse(secret_json(call.services.secrets.get(call.principal, secret)))


@router.patch("/api/secret/{secret}")
async def update_secret(request: Request, call: Authenticated, secret: str) -> Response:
    body = await parse(request, UpdateSecret)
    hosts = None if body.hosts is None else tuple(body.hosts)
    change = SecretChange(body.value, body.description, hosts)
    return JSONResponse(secret_json(await call.services.secrets.update(call.principal, secret, change)))


@router.delete("/api/secret/{secret}", status_code=204)
async def delete_secret(call: Authenticated, secret: str) -> Response:
    await call.services.secrets.delete(call.principal, secret)
    return Response(status_code=204)


@router.get("/api/sandbox/{sandbox}/secrets")
async def resolve_sandbox_secrets(call: Authenticated, sandbox: str) -> Response:
    """What a sandbox has, without the values: those are for the vendor's own gateway, which is not here."""
    found = await call.services.sandboxes.secrets(call.principal, sandbox)
    shown = [{"env": env, "placeholder": one.placeholder, "hosts": list(one.hosts)} for env, one in found.items()]
    return JSONResponse(shown)


@router.put("/api/sandbox/{sandbox}/secrets")
async def update_sandbox_secrets(request: Request, call: Authenticated, sandbox: str) -> Response:
    body = await parse(request, UpdateSandboxSecrets)
    return JSONResponse(sandbox_json(await given(call, sandbox, body.secrets), call.view))


async def given(call: Call, sandbox: str, wanted: list[dict[str, str]]) -> Any:
    try:
        return await call.services.sandboxes.set_secrets(call.principal, sandbox, by_variable(wanted))
    except (NotSupported, SecretNotFound) as error:
        raise refusal(error) from None


def refusal(error: NotSupported | SecretNotFound) -> Exception:
    """A secret that cannot be had is a wrong request, not a path that is missing."""
    if isinstance(error, NotSupported):
        return HTTPException(UNPROCESSABLE, f"secrets: {error.message}. {error.hint}")
    return InvalidInput(error.message, field="secrets", hint="GET /api/secret lists what is there.")


def secret_json(secret: TeamSecret) -> dict[str, Any]:
    shown = {
        "id": secret.id,
        "name": secret.name,
        "placeholder": secret.placeholder,
        "hosts": list(secret.hosts),
        "createdAt": timestamp(secret.created_at),
        "updatedAt": timestamp(secret.updated_at),
    }
    return shown if secret.description is None else {**shown, "description": secret.description}
