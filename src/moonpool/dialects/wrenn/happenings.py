"""What an event of ours is in Wrenn's words: an action that ended, a change of state, both, or nothing."""

from collections.abc import Iterator, Mapping

from moonpool.dialects.wrenn.mapping import STATUSES, capsule_id
from moonpool.dialects.wrenn.schemas import Event2 as Kind
from moonpool.dialects.wrenn.schemas import Outcome, Resource, SSEEvent
from moonpool.events.model import Event, EventType
from moonpool.sandboxes.model import SandboxState
from moonpool.snapshots.model import SnapshotState

S = SandboxState

# What a change of state ends, well or not; None stands for any state before.
ACTIONS: Mapping[tuple[SandboxState | None, SandboxState], tuple[Kind, Outcome]] = {
    (S.PAUSING, S.PAUSED): (Kind.capsule_pause, Outcome.success),
    (S.STOPPING, S.STOPPED): (Kind.capsule_pause, Outcome.success),
    (S.PAUSING, S.RUNNING): (Kind.capsule_pause, Outcome.error),
    (S.PAUSING, S.ERROR): (Kind.capsule_pause, Outcome.error),
    (S.RESUMING, S.RUNNING): (Kind.capsule_resume, Outcome.success),
    (S.RESUMING, S.PAUSED): (Kind.capsule_resume, Outcome.error),
    (S.RESUMING, S.ERROR): (Kind.capsule_resume, Outcome.error),
    (S.STARTING, S.ERROR): (Kind.capsule_create, Outcome.error),
    (S.DESTROYING, S.ERROR): (Kind.capsule_destroy, Outcome.error),
    (None, S.DESTROYED): (Kind.capsule_destroy, Outcome.success),
}
MADE: Mapping[SnapshotState, Outcome] = {
    SnapshotState.ACTIVE: Outcome.success,
    SnapshotState.ERROR: Outcome.error,
}


def happenings(event: Event) -> list[SSEEvent]:
    """Without the capsule itself, which may have changed since."""
    resource = Resource(id=capsule_id(event.subject_id), type="capsule")
    if event.type.startswith("snapshot."):
        resource = Resource(id=str(event.data.get("name") or event.subject_id), type="template")
    told = SSEEvent(resource=resource, timestamp=event.created_at)
    return [told.model_copy(update=part) for part in parts(event)]


def parts(event: Event) -> Iterator[dict[str, object]]:
    match event.type:
        case EventType.SANDBOX_CREATED:
            yield {"event": Kind.capsule_create, "outcome": Outcome.success}
        case EventType.SANDBOX_STATE_UPDATED:
            yield from of_sandbox(event)
        case EventType.SNAPSHOT_STATE_UPDATED:
            old, new = (SnapshotState(event.data[name]) for name in ("old_state", "new_state"))
            if old is SnapshotState.BUILDING and new in MADE:
                yield ended(Kind.template_snapshot_create, MADE[new], event)
        case EventType.SNAPSHOT_REMOVED:
            unmade = event.data.get("old_state") == SnapshotState.BUILDING
            kind = Kind.template_snapshot_create if unmade else Kind.template_snapshot_delete
            yield ended(kind, Outcome.error if unmade else Outcome.success, event)
        case _:
            return


def of_sandbox(event: Event) -> Iterator[dict[str, object]]:
    old, new = SandboxState(event.data["old_state"]), SandboxState(event.data["new_state"])
    if STATUSES[old] is not STATUSES[new]:
        change = {"from": str(STATUSES[old]), "to": str(STATUSES[new])}
        yield {"event": Kind.capsule_state_changed, "metadata": change}
    if action := ACTIONS.get((old, new)) or ACTIONS.get((None, new)):
        yield ended(*action, event)


def ended(kind: Kind, outcome: Outcome, event: Event) -> dict[str, object]:
    failed = outcome is Outcome.error
    return {"event": kind, "outcome": outcome, "error": str(event.data.get("reason") or "failed") if failed else None}
