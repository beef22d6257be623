"""Who asks: the user of the key, and the key's one organization, which is the team."""

from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from moonpool.access.people import Team
from moonpool.dialects.daytona import mapping
from moonpool.dialects.daytona.call import Authenticated, Call
from moonpool.dialects.daytona.mapping import fractional_gibibytes
from moonpool.dialects.daytona.throttling import FIELDS, limits_told
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.errors import NotFound
from moonpool.secrets.catalogue import MOST, MOST_OF_A_SANDBOX

# Clients want a moment even where there was none.
NEVER: Final = timestamp(datetime.fromtimestamp(0, UTC))

router = APIRouter()


@router.get("/api/users/me")
async def get_authenticated_user(call: Authenticated) -> Response:
    user = await call.services.access.user(call.principal)
    answer = {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "emailVerified": False,
        "privacyPoliciesAccepted": True,
        "publicKeys": [],
        "createdAt": timestamp(user.created_at),
    }
    return JSONResponse(answer)


@router.post("/api/users/me/logins", status_code=204)
async def record_login(call: Authenticated) -> Response:
    """The key's use is noted as that of any request."""
    await call.services.access.user(call.principal)
    return Response(status_code=204)


@router.post("/api/users/privacy-policies/accept", status_code=204)
async def accept_privacy_policies(call: Authenticated) -> Response:
    """There are none, and so nothing that was not accepted."""
    await call.services.access.user(call.principal)
    return Response(status_code=204)


@router.get("/api/users/account-providers")
@router.get("/api/users/me/pending-sso-links")
async def nothing_of_the_user(call: Authenticated) -> Response:
    """This API is entered by keys alone."""
    return JSONResponse([])


@router.get("/api/organizations")
async def list_organizations(call: Authenticated) -> Response:
    team = await call.services.access.team(call.principal)
    return JSONResponse([await organization(call, team)])


@router.get("/api/organizations/{organization_id}")
async def get_organization(call: Authenticated, organization_id: str) -> Response:
    return JSONResponse(await organization(call, await own_team(call, organization_id)))


@router.get("/api/organizations/{organization_id}/identity-providers")
async def nothing_of_the_organization(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    return JSONResponse([])


@router.get("/api/sandbox/{sandbox}/organization")
async def get_organization_of_sandbox(call: Authenticated, sandbox: str) -> Response:
    found = await call.services.sandboxes.get(call.principal, sandbox)
    return JSONResponse(await organization(call, await own_team(call, found.team_id)))


async def own_team(call: Call, organization_id: str) -> Team:
    """Another team does not exist for the asker."""
    if organization_id != call.principal.team_id:
        raise NotFound(f"Organization with ID {organization_id} not found")
    return await call.services.access.team(call.principal)


async def organization(call: Call, team: Team) -> dict[str, Any]:
    limits = call.services.sandboxes.limits(call.principal)
    chosen = call.services.preferences.of(team.id, mapping.DIALECT)
    target = call.services.telemetry.targets.of_team(team.id)
    return {
        "id": team.id,
        "name": team.name,
        "createdBy": team.created_by or call.principal.user_id,
        "personal": team.personal,
        "createdAt": timestamp(team.created_at),
        "updatedAt": timestamp(team.updated_at),
        "suspended": False,
        "suspendedAt": NEVER,
        "suspensionReason": "",
        "suspendedUntil": NEVER,
        "suspensionCleanupGracePeriodHours": 0,
        "maxCpuPerSandbox": limits.cpu,
        "maxMemoryPerSandbox": fractional_gibibytes(limits.memory_mib),
        "maxDiskPerSandbox": fractional_gibibytes(limits.disk_mib),
        "secretQuota": MOST,
        "maxSecretsPerSandbox": MOST_OF_A_SANDBOX,
        "snapshotDeactivationTimeoutMinutes": 0,
        "defaultQueueTimeout": chosen.get("defaultQueueTimeout"),
        "sandboxLimitedNetworkEgress": False,
        "previewWarningEnabled": False,
        "ssoEnabled": False,
        "scimEnabled": False,
        "defaultRegionId": call.view.region,
        **rate_limits(call),
        "experimentalConfig": chosen.get("experimentalConfig", {}),
        "otelConfig": None if target is None else {"endpoint": target.endpoint},
    }


def rate_limits(call: Call) -> dict[str, int | None]:
    """None where nothing is limited."""
    told = limits_told(call.services.access.throttles, call.principal)
    return {
        f"{kind}RateLimit{what}": told.get(kind, {}).get(word)
        for kind in FIELDS.values()
        for what, word in (("", "limit"), ("TtlSeconds", "ttl"))
    }
