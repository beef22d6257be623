"""What an operation that works does not do: it is then shown as *partly*. By API, then by operation."""

from collections.abc import Mapping

SECRETS = "Values instead of placeholders: nothing replaces those on the way out, so a secret with hosts is refused."

NOTES: Mapping[str, Mapping[str, str]] = {
    "daytona": {
        "GET /organizations": "The key's one team.",
        "GET /webhooks/organizations/{organizationId}/initialization-status": "There is no application at Svix.",
        "POST /webhooks/organizations/{organizationId}/initialize": "There is no application at Svix: its id is null.",
        "POST /organizations": "The new one is entered with a key of its own; the key that asks stays where it is.",
        "PATCH /organizations/{organizationId}/default-region": "One region.",
        "PATCH /organizations/{organizationId}/default-queue-timeout": "Noted with sandboxes; none waits here.",
        "PUT /organizations/{organizationId}/experimental-config": "Kept and told: nothing here is experimental.",
        "GET /regions": "One region.",
        "GET /shared-regions": "One region.",
        "GET /runners/by-sandbox/{sandboxId}": "A runner has no key: nothing but the server speaks to it.",
        "GET /runners/{id}/full": "A runner has no key: nothing but the server speaks to it.",
        "GET /sandbox/for-runner": "With an ordinary key; the sandboxes of its team.",
        "GET /jobs": "Changes of sandboxes while they are under way, and builds.",
        "GET /jobs/{jobId}": "Changes of sandboxes while they are under way, and builds.",
        "GET /warm-pools": "Ready machines fit every snapshot, and are shared by all pools.",
        "POST /users/me/logins": "Kept as the key's last use.",
        "POST /users/privacy-policies/accept": "There are none here; they count as accepted.",
        "PATCH /runners/{id}/draining": "What runs goes on: there is no other host to move it to.",
        "POST /sandbox": ("No GPU, spot, KVM or linked sandboxes; each is refused by name. " + SECRETS),
        "PUT /sandbox/{sandboxIdOrName}/secrets": SECRETS,
        "GET /sandbox/{sandboxId}/secrets": "Without the values, which nobody is told.",
        "PATCH /secret/{secretId}": "Sandboxes get a new value with their next start.",
    },
    "toolbox": {},
    "wrenn": {
        "PUT /v1/admin/teams/{id}/byoc": "To false, which is so; true is refused: no team brings hosts of its own.",
        "POST /v1/admin/builds": "COPY is refused: the contract's request carries no files.",
    },
    "freestyle": {
        "POST /v1/vms": "Domains are not verified: who maps one first has it.",
    },
    "codesandbox": {
        "POST /org/workspace": "Owned by the key's user, who makes keys for it when logged in; this key does not.",
        "POST /org/workspace/{team_id}/tokens": (
            "For the workspace of the key that asks. Scopes to create and to edit are one."
        ),
        "POST /sandbox": (
            "Always on a VM: the browser as its runtime is refused, since nothing here bundles files, "
            "and so are external resources."
        ),
    },
    "pitcher": {},
}

ONE_REGION = "This server is one region, which is everybody's; there are none of an organization's own."
ONE_HOST = "This server is its own and only host: it takes none in, and no reports of any."

NO_SSO = "This API is entered by keys alone: organizations have no identity providers of their own."
WORKOS = "WorkOS is a service of others, in which this server has no account."

# What can have no meaning here, and why: shown as *refused*.
REFUSED: Mapping[str, Mapping[str, str]] = {
    "daytona": {
        "POST /regions": ONE_REGION,
        "PATCH /regions/{id}": ONE_REGION,
        "DELETE /regions/{id}": ONE_REGION,
        "POST /regions/{id}/regenerate-proxy-api-key": ONE_REGION,
        "POST /regions/{id}/regenerate-snapshot-manager-credentials": ONE_REGION,
        "POST /regions/{id}/regenerate-ssh-gateway-api-key": ONE_REGION,
        "POST /runners": ONE_HOST,
        "DELETE /runners/{id}": ONE_HOST,
        "GET /runners/me": ONE_HOST,
        "GET /runners/me/snapshots": ONE_HOST,
        "POST /runners/healthcheck": ONE_HOST,
        "GET /jobs/poll": ONE_HOST,
        "POST /jobs/{jobId}/status": ONE_HOST,
        "PUT /sandbox/{sandboxId}/state": ONE_HOST,
        "POST /users/linked-accounts": "Gone in the vendor's own API too: 410.",
        "POST /users/me/pending-sso-links/{id}/confirm": NO_SSO,
        "DELETE /users/me/pending-sso-links/{id}": NO_SSO,
        "POST /organizations/{organizationId}/identity-providers": NO_SSO,
        "GET /organizations/{organizationId}/identity-providers/{id}": NO_SSO,
        "PATCH /organizations/{organizationId}/identity-providers/{id}": NO_SSO,
        "DELETE /organizations/{organizationId}/identity-providers/{id}": NO_SSO,
        "POST /organizations/{organizationId}/identity-providers/test-connection": NO_SSO,
        "POST /organizations/{organizationId}/identity-providers/workos-admin-portal-link": WORKOS,
        "GET /organizations/{organizationId}/identity-providers/workos-sso-connections": WORKOS,
    },
    "wrenn": {
        "POST /v1/hosts": ONE_HOST,
        "DELETE /v1/hosts/{id}": ONE_HOST,
        "POST /v1/hosts/{id}/token": ONE_HOST,
        "POST /v1/hosts/register": ONE_HOST,
        "POST /v1/hosts/{id}/heartbeat": ONE_HOST,
        "POST /v1/hosts/sandbox-events": ONE_HOST,
        "POST /v1/hosts/auth/refresh": ONE_HOST,
    },
}
