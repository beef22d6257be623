"""How long a VM is kept, and what idleness does to it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from moonpool.dialects.freestyle.mapping import PRIORITY, data_of
from moonpool.dialects.freestyle.schemas import VmDeleteEvent, VmPersistence
from moonpool.sandboxes.model import Sandbox, Timers

TRAFFIC = 4096  # bytes between two looks that are activity, where nothing else is said
STICKY: Mapping[str, Any] = {"type": "sticky", "priority": PRIORITY}


def stored(persistence: VmPersistence | None) -> Mapping[str, Any]:
    """As it is kept and shown. An ephemeral VM goes at its suspension unless only its stop was named."""
    if persistence is None:
        return STICKY
    document: dict[str, Any] = persistence.model_dump(mode="json", exclude_none=True)
    if document["type"] == "sticky":
        document.setdefault("priority", PRIORITY)
    if document["type"] == "ephemeral":
        document.setdefault("deleteEvent", VmDeleteEvent.OnSuspend.value)
    return document


def idle_timers(
    timers: Timers, seconds: float | None, persistence: Mapping[str, Any] | None, threshold: int | None = None
) -> Timers:
    """``seconds`` of idleness suspend a VM or, where a suspension deletes it, stop and so delete it. 0, None: never.
    ``threshold``: bytes of traffic between two looks that are activity."""
    kept = persistence or STICKY
    idle = float(seconds) if seconds else None
    timers = replace(timers, activity_bytes=TRAFFIC if threshold is None else threshold)
    if kept["type"] != "ephemeral":
        return replace(timers, auto_pause=idle)
    if kept["deleteEvent"] == VmDeleteEvent.OnStop.value:
        return replace(timers, auto_pause=idle, auto_delete=0.0)
    return replace(timers, auto_stop=idle, auto_delete=0.0)


def eviction_priority(persistence: Mapping[str, Any] | None) -> int | None:
    """When it may go if space runs out, VMs and snapshots alike; None: never. What is ephemeral goes first."""
    kept = persistence or STICKY
    if kept["type"] == "ephemeral":
        return 0
    priority: int | None = kept.get("priority", PRIORITY) if kept["type"] == "sticky" else None
    return priority


def removes_at_suspend(sandbox: Sandbox) -> bool:
    kept = data_of(sandbox).get("persistence") or STICKY
    return bool(kept["type"] == "ephemeral" and kept["deleteEvent"] == VmDeleteEvent.OnSuspend.value)
