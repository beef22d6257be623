"""Snapshots: from ids to snapshots and back, and taking them."""

import re
from collections.abc import Mapping
from typing import Any

from moonpool.dialects.freestyle.mapping import DATA, DEFAULT_SNAPSHOT, FreestyleError, derived_id, new_id
from moonpool.dialects.freestyle.persistence import eviction_priority
from moonpool.dialects.freestyle.requests import Call
from moonpool.errors import InvalidInput, NameTaken, SnapshotNotFound
from moonpool.sandboxes.model import Sandbox
from moonpool.snapshots.model import Snapshot, SnapshotQuery, SnapshotSort, SnapshotState

PREFIX = "sc-"
SNAPSHOT_ID = re.compile(r"sc-[a-z0-9]{20}")
PAGE = 1000  # snapshots
UNUSABLE: Mapping[SnapshotState, tuple[int, str, str]] = {
    SnapshotState.BUILDING: (409, "SOURCE_SNAPSHOT_BUILDING", "is still being built"),
    SnapshotState.ERROR: (409, "SOURCE_SNAPSHOT_LOST", "could not be made, there is nothing of it"),
    SnapshotState.REMOVING: (410, "SOURCE_SNAPSHOT_DELETED", "has been deleted"),
    SnapshotState.REMOVED: (410, "SOURCE_SNAPSHOT_DELETED", "has been deleted"),
}


async def all_snapshots(call: Call, *, removed: bool = False) -> list[Snapshot]:
    """The newest first; with ``removed``, the records of those that are gone, too."""
    found: list[Snapshot] = []
    for page in range(1, 1_000_000):
        query = SnapshotQuery(sort=SnapshotSort.CREATED_AT, page=page, limit=PAGE, include_removed=removed)
        items = (await call.services.snapshots.list(call.principal, query)).items
        found += items
        if len(items) < PAGE:
            break
    return found


async def source_snapshot(call: Call, wanted: str | None) -> Snapshot:
    """What a VM is to start from, the default one for None; the vendor's own errors for one that cannot be used."""
    if wanted is None:
        return await call.services.snapshots.get(call.principal, DEFAULT_SNAPSHOT)
    try:
        found = await find_snapshot(call, wanted)
    except FreestyleError:
        if SNAPSHOT_ID.fullmatch(wanted):
            raise
        message = f"Invalid snapshot ID: {wanted[:200]}"
        raise FreestyleError(400, "INVALID_SNAPSHOT_ID", message, id=wanted[:200]) from None
    refusal = UNUSABLE.get(found.state)
    if refusal is not None:
        status, code, what = refusal
        raise FreestyleError(
            status, code, f"Snapshot {what}: {wire_id(found)}", snapshot_id=wire_id(found), reason=found.reason
        )
    return found


async def find_snapshot(call: Call, wanted: str) -> Snapshot:
    """By Freestyle's id, also of a snapshot that another API made, or by name; what is kept of removed ones, too."""
    try:
        return await call.services.snapshots.get(call.principal, wanted, include_removed=True)
    except SnapshotNotFound:
        for snapshot in await all_snapshots(call, removed=True) if wanted.startswith(PREFIX) else ():
            if wire_id(snapshot) == wanted:
                return snapshot
    message = f"Snapshot not found: {wanted[:200]}"
    raise FreestyleError(404, "SNAPSHOT_NOT_FOUND", message, snapshot_id=wanted[:200])


def wire_id(snapshot: Snapshot) -> str:
    """``sc-`` and 20 characters; one made of a snapshot's own id where another API chose that."""
    return snapshot.id if snapshot.id.startswith(PREFIX) else derived_id(PREFIX, snapshot.id)


def data_of_snapshot(snapshot: Snapshot) -> Mapping[str, Any]:
    """What this dialect keeps of it; empty for one that another made."""
    data: Mapping[str, Any] = snapshot.dialect_data.get(DATA, {})
    return data


async def capture(call: Call, sandbox: Sandbox, data: Mapping[str, Any], *, snapshot_id: str | None = None) -> Snapshot:
    """The VM as it is now, with its memory where it has any. A name that is taken is kept in the data alone."""
    wanted = snapshot_id or new_id(PREFIX)
    snapshots, stored = call.services.snapshots, {DATA: dict(data)}
    priority = eviction_priority(data.get("persistence"))
    if name := data.get("name"):
        try:
            return await snapshots.capture(
                call.principal, sandbox.id, name=name, dialect_data=stored, id=wanted, eviction_priority=priority
            )
        except NameTaken:
            pass
        except InvalidInput as error:
            if error.field != "name":
                raise
    return await snapshots.capture(
        call.principal, sandbox.id, dialect_data=stored, id=wanted, eviction_priority=priority
    )
