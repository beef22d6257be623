"""The seven events of webhooks, as the document has their payloads; made of an event alone."""

from collections.abc import Mapping
from typing import Any

from moonpool.deliveries.model import Message
from moonpool.dialects.daytona import mapping, volumes
from moonpool.dialects.daytona.answers import SANDBOX_CLASS, size_class
from moonpool.dialects.daytona.schemas import WebhookEvent
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.events.model import Event, EventType
from moonpool.hosts.model import Resources
from moonpool.sandboxes.model import SandboxState
from moonpool.snapshots.model import SnapshotState
from moonpool.volumes.model import VolumeState

KINDS = tuple(kind.value for kind in WebhookEvent)


def render(event: Event) -> list[Message]:
    if event.type not in KINDS:
        return []
    moment = timestamp(event.created_at)
    common: dict[str, Any] = {
        "event": event.type.value,
        "timestamp": moment,
        "id": event.subject_id,
        "organizationId": event.team_id,
    }
    if not event.type.startswith("sandbox."):
        common["name"] = event.data.get("name")
    return [Message(event.type.value, {**common, **particulars(event, moment)})]


def particulars(event: Event, moment: str) -> Mapping[str, Any]:
    match event.type:
        case EventType.SANDBOX_CREATED:
            # Newer receivers read ``sandboxClass``, older ones ``class``.
            sizes = {"sandboxClass": SANDBOX_CLASS, "class": class_of(event)}
            return {"state": state(event, "state"), **sizes, "createdAt": moment}
        case EventType.SNAPSHOT_CREATED | EventType.VOLUME_CREATED:
            return {"state": state(event, "state"), "createdAt": moment}
        case EventType.SNAPSHOT_REMOVED:
            return {"removedAt": moment}
        case _:
            return {
                "oldState": state(event, "old_state"),
                "newState": state(event, "new_state"),
                "updatedAt": moment,
            }


def class_of(event: Event) -> str | None:
    """None of an event from before sizes were told."""
    sizes = [event.data.get(name) for name in ("cpu", "memory_mib", "disk_mib")]
    return None if None in sizes else size_class(Resources(*sizes)).value  # type: ignore[arg-type]


def state(event: Event, name: str) -> str:
    word = event.data[name]
    kind = event.type.partition(".")[0]
    if kind == "sandbox":
        return mapping.STATES[SandboxState(word)].value
    if kind == "snapshot":
        return mapping.SNAPSHOT_STATES[SnapshotState(word)].value
    return volumes.STATES[VolumeState(word)].value
