"""Workspaces and their API tokens: the team of the key that asks, and its keys."""

from datetime import date
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from moonpool.access.model import ApiKey, KeyChange, Scope
from moonpool.dialects.codesandbox.call import Authenticated, Call
from moonpool.dialects.codesandbox.errors import success
from moonpool.dialects.codesandbox.mapping import API_VERSION, SCOPES, wire_scopes
from moonpool.dialects.codesandbox.requests import parse
from moonpool.dialects.codesandbox.schemas import Scope as WireScope
from moonpool.dialects.codesandbox.schemas import (
    TokenCreateRequest,
    TokenUpdateRequest,
    WorkspaceCreateRequest,
)
from moonpool.dialects.codesandbox.timestamps import timestamp
from moonpool.errors import InvalidInput, NotFound
from moonpool.ids import random_word

NAME_LENGTH = 12  # random characters of the name of a key that was given no description

router = APIRouter()


@router.post("/org/workspace")
async def create_workspace(request: Request, call: Authenticated) -> Response:
    """A team that the key's user owns. The key sees its own one as before: keys of the new one are made by its owner,
    who logs in, since whoever has a key of one team should not have all of its owner's."""
    body = await parse(request, WorkspaceCreateRequest)
    made = await call.services.community.teams.create(call.principal, body.name)
    return success({"id": made.team.id, "name": made.team.name}, 201)


@router.post("/org/workspace/{team_id}/tokens")
async def create_token(request: Request, call: Authenticated, team_id: str) -> Response:
    check_workspace(call, team_id)
    body = await parse(request, TokenCreateRequest)
    check_version(body.default_version)
    name = body.description or f"codesandbox-{random_word(NAME_LENGTH)}"
    wanted = scopes_of(list(WireScope) if body.scopes is None else body.scopes)
    made = await call.services.access.create_key(call.principal, name, wanted, body.expires_at)
    return success({**key_json(made.key), "token": made.secret}, 201)


@router.patch("/org/workspace/{team_id}/tokens/{token_id}")
async def update_token(request: Request, call: Authenticated, team_id: str, token_id: str) -> Response:
    """What is left away stays as it is; an expiry of null takes the expiry away."""
    check_workspace(call, team_id)
    body = await parse(request, TokenUpdateRequest)
    check_version(body.default_version)
    change = KeyChange(
        name=body.description or None,
        scopes=None if body.scopes is None else scopes_of(body.scopes),
        expires_at=body.expires_at,
        set_expiry="expires_at" in body.model_fields_set,
    )
    return success(key_json(await call.services.access.update_key(call.principal, token_id, change)), 201)


def check_workspace(call: Call, team_id: str) -> None:
    if team_id != call.principal.team_id:
        raise NotFound("Workspace not found")


def check_version(version: date | None) -> None:
    if version is not None and version.isoformat() != API_VERSION:
        raise InvalidInput(f"default_version: the one version of this API is {API_VERSION}", field="default_version")


def scopes_of(scopes: list[WireScope]) -> frozenset[Scope]:
    return frozenset(scope for wire in scopes for scope in SCOPES[wire])


def key_json(key: ApiKey) -> dict[str, Any]:
    return {
        "token_id": key.id,
        "team_id": key.team_id,
        "description": key.name,
        "scopes": wire_scopes(key.scopes),
        "expires_at": timestamp(key.expires_at),
    }
