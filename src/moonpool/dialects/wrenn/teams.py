"""The user's teams, and the members of the one that the session sees."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from moonpool.access.model import Principal, TeamRole
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.people import (
    TEAM_PREFIX,
    USER_PREFIX,
    Address,
    TeamName,
    WantedRole,
    bare,
    found_user,
    member,
    team,
    team_with_role,
)
from moonpool.dialects.wrenn.requests import Provided, SignedInCaller, answer, answer_list, parse
from moonpool.dialects.wrenn.schemas import TeamDetail
from moonpool.errors import Forbidden, NotPermitted

router = APIRouter(prefix="/v1")


@router.get("/users/search")
async def search_users(services: Provided, principal: SignedInCaller, email: str = "") -> Response:
    return answer_list([found_user(user) for user in await services.community.accounts.search(principal, email)])


@router.get("/teams")
async def list_teams(services: Provided, principal: SignedInCaller) -> Response:
    return answer_list([team_with_role(one) for one in await services.community.teams.of_user(principal)])


@router.post("/teams")
async def create_team(request: Request, services: Provided, principal: SignedInCaller) -> Response:
    wanted = await parse(request, TeamName)
    return answer(team_with_role(await services.community.teams.create(principal, wanted.name)), 201)


@router.get("/teams/{id}")
async def get_team(id: str, services: Provided, principal: SignedInCaller) -> Response:
    await require_current(services, principal, id)
    found = await services.access.team(principal)
    members = await services.community.teams.members(principal)
    return answer(TeamDetail(team=team(found), members=[member(one) for one in members]))


@router.patch("/teams/{id}")
async def rename_team(id: str, request: Request, services: Provided, principal: SignedInCaller) -> Response:
    await require_current(services, principal, id)
    await services.community.teams.rename(principal, (await parse(request, TeamName)).name)
    return Response(status_code=204)


@router.delete("/teams/{id}")
async def delete_team(id: str, services: Provided, principal: SignedInCaller) -> Response:
    """The team's capsules are destroyed once it is gone; the session ends with it."""
    await require_current(services, principal, id)
    await services.community.teams.delete(principal)
    return Response(status_code=204)


@router.get("/teams/{id}/members")
async def list_team_members(id: str, services: Provided, principal: SignedInCaller) -> Response:
    await require_current(services, principal, id)
    return answer_list([member(one) for one in await services.community.teams.members(principal)])


@router.post("/teams/{id}/members")
async def add_team_member(id: str, request: Request, services: Provided, principal: SignedInCaller) -> Response:
    await require_current(services, principal, id)
    wanted = await parse(request, Address)
    return answer(member(await services.community.teams.add(principal, wanted.email)), 201)


@router.patch("/teams/{id}/members/{uid}")
async def update_member_role(
    id: str, uid: str, request: Request, services: Provided, principal: SignedInCaller
) -> Response:
    await require_current(services, principal, id)
    wanted, user_id = TeamRole((await parse(request, WantedRole)).role), bare(uid, USER_PREFIX)
    await not_an_owner(services, principal, user_id)
    await services.community.teams.change(principal, user_id, wanted)
    return Response(status_code=204)


@router.delete("/teams/{id}/members/{uid}")
async def remove_team_member(id: str, uid: str, services: Provided, principal: SignedInCaller) -> Response:
    await require_current(services, principal, id)
    user_id = bare(uid, USER_PREFIX)
    await not_an_owner(services, principal, user_id)
    await services.community.teams.expel(principal, user_id)
    return Response(status_code=204)


@router.post("/teams/{id}/leave")
async def leave_team(id: str, services: Provided, principal: SignedInCaller) -> Response:
    await require_current(services, principal, id)
    await services.community.teams.leave(principal)
    return Response(status_code=204)


async def require_current(services: Services, principal: Principal, team_id: str) -> None:
    """TeamNotFound for one that the user is not in, Forbidden for one that the session does not see now."""
    found = await services.community.teams.get(principal, bare(team_id, TEAM_PREFIX))
    if found.team.id != principal.team_id:
        raise Forbidden("The session is in another team", hint="Switch to this one first.")


async def not_an_owner(services: Services, principal: Principal, user_id: str) -> None:
    """Wrenn's teams have one owner, whom nobody changes."""
    if (await services.community.teams.member(principal, user_id)).role is TeamRole.OWNER:
        raise NotPermitted("The owner cannot be changed or removed")
