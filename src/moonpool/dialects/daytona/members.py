"""Organizations and who is in them: members, roles, invitations."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.access.invitations import ToldInvitation
from moonpool.access.model import MANAGERS, TeamRole
from moonpool.access.people import Member, Role
from moonpool.dialects.daytona import mapping, schemas
from moonpool.dialects.daytona.call import Authenticated, Call
from moonpool.dialects.daytona.extensions import (
    CreateInvitation,
    CreateOrganization,
    DefaultQueueTimeout,
    DefaultRegion,
    ExperimentalConfig,
    MemberAccess,
    OrganizationRole,
    UpdateInvitation,
)
from moonpool.dialects.daytona.organizations import organization, own_team
from moonpool.dialects.daytona.requests import parse
from moonpool.dialects.daytona.timestamps import as_utc, timestamp
from moonpool.errors import InvalidInput

ROLES: Final = {schemas.Role.owner: TeamRole.OWNER, schemas.Role.member: TeamRole.MEMBER}

router = APIRouter()


# -- organizations -----------------------------------------------------------------------------------------------------


@router.post("/api/organizations", status_code=201)
async def create_organization(request: Request, call: Authenticated) -> Response:
    """Owned by the key's user. The key stays one of its own organization: the new one needs a key of its own."""
    body = await parse(request, CreateOrganization)
    check_region(call, body.defaultRegionId)
    made = await call.services.community.teams.create(call.principal, body.name)
    return JSONResponse(await organization(call, made.team), status_code=201)


@router.delete("/api/organizations/{organization_id}", status_code=204)
async def delete_organization(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    await call.services.community.teams.delete(call.principal)
    return Response(status_code=204)


@router.post("/api/organizations/{organization_id}/leave", status_code=204)
async def leave_organization(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    await call.services.community.teams.leave(call.principal)
    return Response(status_code=204)


@router.patch("/api/organizations/{organization_id}/default-region", status_code=204)
async def set_default_region(request: Request, call: Authenticated, organization_id: str) -> Response:
    """There is one, so it is the default already."""
    await own_team(call, organization_id)
    check_region(call, (await parse(request, DefaultRegion)).defaultRegionId)
    return Response(status_code=204)


@router.patch("/api/organizations/{organization_id}/default-queue-timeout", status_code=204)
async def update_default_queue_timeout(request: Request, call: Authenticated, organization_id: str) -> Response:
    """In minutes; what creates that name none are noted with. Null: none."""
    await own_team(call, organization_id)
    body = await parse(request, DefaultQueueTimeout)
    await call.services.preferences.change(
        call.principal, mapping.DIALECT, defaultQueueTimeout=body.defaultQueueTimeout
    )
    return Response(status_code=204)


@router.put("/api/organizations/{organization_id}/experimental-config")
async def update_experimental_config(request: Request, call: Authenticated, organization_id: str) -> Response:
    """Kept and told, and nothing more: no feature of this server is experimental."""
    await own_team(call, organization_id)
    body = await parse(request, ExperimentalConfig)
    await call.services.preferences.change(call.principal, mapping.DIALECT, experimentalConfig=body.root)
    return Response()


def check_region(call: Call, region: str) -> None:
    if region != call.view.region:
        hint = f"There is one region: {call.view.region}."
        raise InvalidInput(f"defaultRegionId: no such region: {region[:100]}", field="defaultRegionId", hint=hint)


# -- members -----------------------------------------------------------------------------------------------------------


def member_json(one: Member, roles: list[Role]) -> dict[str, Any]:
    assigned = [role for role in roles if role.id in one.membership.role_ids]
    return {
        "userId": one.user.id,
        "organizationId": one.membership.team_id,
        "name": one.user.name,
        "email": one.user.email,
        "role": role_word(one.role),
        "assignedRoles": [] if one.role in MANAGERS else [role_json(role) for role in assigned],
        "createdAt": timestamp(one.membership.created_at),
        "updatedAt": timestamp(one.membership.updated_at),
    }


def role_word(role: TeamRole) -> schemas.Role:
    """Admins may do all that owners may but for making and unmaking owners; the vendor has no word for them."""
    return schemas.Role.owner if role in MANAGERS else schemas.Role.member


@router.get("/api/organizations/{organization_id}/users")
async def list_members(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    roles = await call.services.community.roles.list(call.principal)
    members = await call.services.access.members(call.principal)
    return JSONResponse([member_json(one, roles) for one in members])


@router.post("/api/organizations/{organization_id}/users/{user_id}/access")
async def update_member_access(request: Request, call: Authenticated, organization_id: str, user_id: str) -> Response:
    await own_team(call, organization_id)
    body = await parse(request, MemberAccess)
    community = call.services.community
    changed = await community.teams.change(call.principal, user_id, ROLES[body.role], body.assignedRoleIds)
    return JSONResponse(member_json(changed, await community.roles.list(call.principal)))


@router.delete("/api/organizations/{organization_id}/users/{user_id}", status_code=204)
async def delete_member(call: Authenticated, organization_id: str, user_id: str) -> Response:
    await own_team(call, organization_id)
    await call.services.community.teams.expel(call.principal, user_id)
    return Response(status_code=204)


# -- roles -------------------------------------------------------------------------------------------------------------


def role_json(role: Role) -> dict[str, Any]:
    return {
        "id": role.id,
        "name": role.name,
        "description": role.description,
        "permissions": mapping.permissions(role.permissions),
        "isGlobal": role.team_id is None,
        "createdAt": timestamp(role.created_at),
        "updatedAt": timestamp(role.updated_at),
    }


@router.get("/api/organizations/{organization_id}/roles")
async def list_roles(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    return JSONResponse([role_json(role) for role in await call.services.community.roles.list(call.principal)])


@router.post("/api/organizations/{organization_id}/roles", status_code=201)
async def create_role(request: Request, call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    body = await parse(request, OrganizationRole)
    scopes = mapping.scopes(body.permissions)
    made = await call.services.community.roles.create(call.principal, body.name, body.description, scopes)
    return JSONResponse(role_json(made), status_code=201)


@router.put("/api/organizations/{organization_id}/roles/{role_id}")
async def update_role(request: Request, call: Authenticated, organization_id: str, role_id: str) -> Response:
    await own_team(call, organization_id)
    body = await parse(request, OrganizationRole)
    scopes = mapping.scopes(body.permissions)
    roles = call.services.community.roles
    return JSONResponse(role_json(await roles.update(call.principal, role_id, body.name, body.description, scopes)))


@router.delete("/api/organizations/{organization_id}/roles/{role_id}", status_code=204)
async def delete_role(call: Authenticated, organization_id: str, role_id: str) -> Response:
    await own_team(call, organization_id)
    await call.services.community.roles.delete(call.principal, role_id)
    return Response(status_code=204)


# -- invitations -------------------------------------------------------------------------------------------------------


def invitation_json(told: ToldInvitation) -> dict[str, Any]:
    invitation = told.invitation
    return {
        "id": invitation.id,
        "email": invitation.email,
        "invitedBy": told.inviter.email if told.inviter else "",
        "organizationId": told.team.id,
        "organizationName": told.team.name,
        "expiresAt": timestamp(invitation.expires_at),
        "status": invitation.status.value,
        "role": role_word(invitation.role),
        "assignedRoles": [role_json(role) for role in told.roles],
        "createdAt": timestamp(invitation.created_at),
        "updatedAt": timestamp(invitation.updated_at),
    }


@router.get("/api/organizations/invitations")
async def list_my_invitations(call: Authenticated) -> Response:
    return JSONResponse(
        [invitation_json(one) for one in await call.services.community.invitations.mine(call.principal)]
    )


@router.get("/api/organizations/invitations/count")
async def count_my_invitations(call: Authenticated) -> Response:
    return JSONResponse(len(await call.services.community.invitations.mine(call.principal)))


@router.post("/api/organizations/invitations/{invitation_id}/accept")
async def accept_invitation(call: Authenticated, invitation_id: str) -> Response:
    """The key's user is a member then; the key stays one of its own organization."""
    return JSONResponse(
        invitation_json(await call.services.community.invitations.accept(call.principal, invitation_id))
    )


@router.post("/api/organizations/invitations/{invitation_id}/decline")
async def decline_invitation(call: Authenticated, invitation_id: str) -> Response:
    await call.services.community.invitations.decline(call.principal, invitation_id)
    return Response()


@router.get("/api/organizations/{organization_id}/invitations")
async def list_invitations(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    found = await call.services.community.invitations.of_team(call.principal)
    return JSONResponse([invitation_json(one) for one in found])


@router.post("/api/organizations/{organization_id}/invitations", status_code=201)
async def create_invitation(request: Request, call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    body = await parse(request, CreateInvitation)
    made = await call.services.community.invitations.create(
        call.principal, body.email, ROLES[body.role], body.assignedRoleIds, as_utc(body.expiresAt)
    )
    return JSONResponse(invitation_json(made), status_code=201)


@router.put("/api/organizations/{organization_id}/invitations/{invitation_id}")
async def update_invitation(
    request: Request, call: Authenticated, organization_id: str, invitation_id: str
) -> Response:
    await own_team(call, organization_id)
    body = await parse(request, UpdateInvitation)
    changed = await call.services.community.invitations.update(
        call.principal, invitation_id, ROLES[body.role], body.assignedRoleIds, as_utc(body.expiresAt)
    )
    return JSONResponse(invitation_json(changed))


@router.post("/api/organizations/{organization_id}/invitations/{invitation_id}/cancel", status_code=204)
async def cancel_invitation(call: Authenticated, organization_id: str, invitation_id: str) -> Response:
    await own_team(call, organization_id)
    await call.services.community.invitations.cancel(call.principal, invitation_id)
    return Response(status_code=204)
