"""What administrators of the whole server see of sandboxes: every team's."""

from collections.abc import Sequence
from dataclasses import replace

from moonpool.access.model import ALL_SCOPES, Principal
from moonpool.access.service import AccessService
from moonpool.sandboxes.activity import Activity
from moonpool.sandboxes.model import Sandbox
from moonpool.sandboxes.records import Records


class Oversight:
    """Forbidden for whoever is no administrator of the server."""

    def __init__(self, access: AccessService, records: Records, activity: Activity) -> None:
        self._access = access
        self._records = records
        self._activity = activity

    def all(self, principal: Principal) -> Sequence[Sandbox]:
        """Every live sandbox, the newest first. From memory alone."""
        self._access.require_platform_admin(principal)
        found = (self._activity.fresh(sandbox) for sandbox in self._records.all())
        return sorted(found, key=lambda sandbox: (sandbox.created_at, sandbox.id), reverse=True)

    def on_behalf_of(self, principal: Principal, sandbox_id: str) -> Principal:
        """Who the administrator is to the team whose sandbox this is: the same person, with that team's rights.
        SandboxNotFound."""
        self._access.require_platform_admin(principal)
        return self.in_team(principal, self._records.current(sandbox_id).team_id)

    def in_team(self, principal: Principal, team_id: str) -> Principal:
        self._access.require_platform_admin(principal)
        return replace(principal, team_id=team_id, scopes=ALL_SCOPES, sandboxes=None)
