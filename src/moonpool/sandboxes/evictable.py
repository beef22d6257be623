"""Which sandboxes may go when space runs out."""

from collections.abc import Awaitable, Iterable

from moonpool.sandboxes.activity import Activity
from moonpool.sandboxes.eviction import Candidate
from moonpool.sandboxes.lifecycle import Lifecycle
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records

EVICTABLE = frozenset({SandboxState.PAUSED, SandboxState.STOPPED, SandboxState.ERROR})


class EvictableSandboxes:
    """Those at rest that nobody is changing."""

    def __init__(self, records: Records, lifecycle: Lifecycle, activity: Activity) -> None:
        self._records = records
        self._lifecycle = lifecycle
        self._activity = activity

    def candidates(self) -> Iterable[Candidate]:
        for sandbox in self._records.all():
            if (
                sandbox.eviction_priority is not None
                and sandbox.state in EVICTABLE
                and not sandbox.doomed
                and self._lifecycle.flights.get(sandbox.id) is None
            ):
                yield self._candidate(sandbox, sandbox.eviction_priority)

    def _candidate(self, sandbox: Sandbox, priority: int) -> Candidate:
        def evict(reason: str) -> Awaitable[object]:
            return self._lifecycle.destroy(sandbox, reason=reason)

        last_used = self._activity.fresh(sandbox).last_activity_at
        return Candidate(sandbox.id, sandbox.team_id, priority, last_used, evict)
