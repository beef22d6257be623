"""All users and all teams, for administrators of the server."""

import json

from fastapi import APIRouter, Request
from starlette.responses import Response

from moonpool.access.people import Team, User, UserStatus
from moonpool.dialects.wrenn.mapping import second
from moonpool.dialects.wrenn.people import TEAM_PREFIX, USER_PREFIX, ActiveFlag, AdminFlag, ByocFlag, bare
from moonpool.dialects.wrenn.requests import Administrator, Provided, parse
from moonpool.dialects.wrenn.unavailable import ONE_HOST
from moonpool.errors import NotSupported, TeamNotFound

router = APIRouter(prefix="/v1/admin")


@router.get("/users")
async def list_users(services: Provided, principal: Administrator) -> Response:
    return listed([described_user(user) for user in await services.community.administration.users(principal)])


@router.put("/users/{id}/active")
async def set_user_active(id: str, request: Request, services: Provided, principal: Administrator) -> Response:
    wanted = await parse(request, ActiveFlag)
    await services.community.administration.set_active(principal, bare(id, USER_PREFIX), wanted.active)
    return Response(status_code=204)


@router.put("/users/{id}/admin")
async def set_user_admin(id: str, request: Request, services: Provided, principal: Administrator) -> Response:
    wanted = await parse(request, AdminFlag)
    await services.community.administration.set_admin(principal, bare(id, USER_PREFIX), wanted.admin)
    return Response(status_code=204)


@router.get("/teams")
async def list_teams(services: Provided, principal: Administrator) -> Response:
    teams = await services.community.administration.teams(principal)
    return listed([described_team(one, members) for one, members in teams])


@router.put("/teams/{id}/byoc")
async def set_team_byoc(id: str, request: Request, services: Provided, principal: Administrator) -> Response:
    """A team may bring no hosts of its own: to say so is what is, and the other is not to be had."""
    wanted = await parse(request, ByocFlag)
    known = {one.id for one, _ in await services.community.administration.teams(principal)}
    if bare(id, TEAM_PREFIX) not in known:
        raise TeamNotFound
    if wanted.byoc:
        raise NotSupported("Teams bring no hosts of their own here", hint=ONE_HOST)
    return Response(status_code=204)


@router.delete("/teams/{id}")
async def delete_team(id: str, services: Provided, principal: Administrator) -> Response:
    await services.community.administration.delete_team(principal, bare(id, TEAM_PREFIX))
    return Response(status_code=204)


def listed(items: list[dict[str, object]]) -> Response:
    return Response(json.dumps(items), media_type="application/json")


def described_user(user: User) -> dict[str, object]:
    return {
        "id": USER_PREFIX + user.id,
        "email": user.email,
        "name": user.name,
        "is_admin": user.platform_admin,
        "is_active": user.status is UserStatus.ACTIVE,
        "status": user.status.value,
        "created_at": second(user.created_at).isoformat(),
        "deleted_at": second(user.deleted_at).isoformat() if user.deleted_at else None,
    }


def described_team(team: Team, members: int) -> dict[str, object]:
    return {
        "id": TEAM_PREFIX + team.id,
        "name": team.name,
        "slug": team.slug,
        "member_count": members,
        "created_at": second(team.created_at).isoformat(),
    }
