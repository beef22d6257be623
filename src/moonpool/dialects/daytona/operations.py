"""Every operation of the contract that this server does not offer, in one table: each is answered with 501 and a hint.

So a client learns what is missing, instead of finding a 404 that could be a wrong URL. The contract tests compare this
table and the routes with the contract: each operation is in exactly one of both.
"""

from collections.abc import Mapping
from functools import cache

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from moonpool.dialects.daytona.call import Authenticated
from moonpool.errors import NotSupported

REGION_HINT = "This server is one region, shared by all: GET /api/regions tells of it."
HOST_HINT = "This server is its own and only runner, and carries out its jobs itself: GET /api/runners tells of it."
SSO_HINT = "Nobody signs in to this API: an API key is all it takes."

GONE = frozenset({"link_account"})  # in the vendor's own API as well

UNSUPPORTED: Mapping[str, tuple[str, ...]] = {
    REGION_HINT: (
        "POST /regions create_region",
        "PATCH /regions/{id} update_region",
        "DELETE /regions/{id} delete_region",
        "POST /regions/{id}/regenerate-proxy-api-key regenerate_proxy_api_key",
        "POST /regions/{id}/regenerate-snapshot-manager-credentials regenerate_snapshot_manager_credentials",
        "POST /regions/{id}/regenerate-ssh-gateway-api-key regenerate_ssh_gateway_api_key",
    ),
    HOST_HINT: (
        "POST /runners create_runner",
        "DELETE /runners/{id} delete_runner",
        "GET /runners/me get_info_for_authenticated_runner",
        "GET /runners/me/snapshots get_snapshot_refs_for_authenticated_runner",
        "POST /runners/healthcheck runner_healthcheck",
        "GET /jobs/poll poll_jobs",
        "POST /jobs/{jobId}/status update_job_status",
        "PUT /sandbox/{sandboxId}/state update_sandbox_state",
    ),
    SSO_HINT: (
        "POST /organizations/{organizationId}/identity-providers create_organization_identity_provider",
        "POST /organizations/{organizationId}/identity-providers/test-connection "
        "test_organization_identity_provider_connection",
        "POST /organizations/{organizationId}/identity-providers/workos-admin-portal-link "
        "generate_workos_admin_portal_link",
        "GET /organizations/{organizationId}/identity-providers/workos-sso-connections list_workos_sso_connections",
        "GET /organizations/{organizationId}/identity-providers/{id} get_organization_identity_provider",
        "PATCH /organizations/{organizationId}/identity-providers/{id} update_organization_identity_provider",
        "DELETE /organizations/{organizationId}/identity-providers/{id} delete_organization_identity_provider",
        "DELETE /users/me/pending-sso-links/{id} dismiss_pending_sso_link",
        "POST /users/me/pending-sso-links/{id}/confirm confirm_pending_sso_link",
        "POST /users/linked-accounts link_account",
    ),
}


@cache
def create_router() -> APIRouter:
    """To be included before all other routes, whose ``{id}`` would take a literal path of this table for a name."""
    router = APIRouter()
    for hint, operations in UNSUPPORTED.items():
        for operation in operations:
            method, path, name = operation.split()
            router.add_api_route(f"/api{path}", Refusal(name, hint), methods=[method], name=name)
    return router


class Refusal:
    """A handler that says which operation is missing; only to those who may ask at all."""

    def __init__(self, operation: str, hint: str) -> None:
        self._operation, self._hint = operation, hint

    async def __call__(self, call: Authenticated) -> Response:
        if self._operation in GONE:
            raise HTTPException(410, f"The operation '{self._operation}' is gone. {self._hint}")
        raise NotSupported(f"The operation '{self._operation}' is not supported by this server", hint=self._hint)
