"""Snapshots: of a VM, from a recipe, and what there is."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from moonpool.dialects.freestyle.building import Build, materialize
from moonpool.dialects.freestyle.catalogue import (
    all_snapshots,
    capture,
    data_of_snapshot,
    find_snapshot,
    wire_id,
)
from moonpool.dialects.freestyle.creation import planned
from moonpool.dialects.freestyle.extensions import CreateSnapshotRequest, Layer
from moonpool.dialects.freestyle.images import base_of
from moonpool.dialects.freestyle.layers import has_content, has_size, plan_of
from moonpool.dialects.freestyle.lookup import whole
from moonpool.dialects.freestyle.mapping import DATA, PRIORITY, FreestyleError, data_of
from moonpool.dialects.freestyle.requests import Call, Handler, answer
from moonpool.dialects.freestyle.schemas import (
    CreateSnapshotResponse,
    DeleteSnapshotResponses,
    DeleteSnapshotResponses1,
    ListSnapshotsResponse,
    SnapshotInfo,
    SnapshotPersistence,
    SnapshotStateTag,
    SnapshotVmRequest,
    SnapshotVmResponse,
    UpdateSnapshotRequest,
    UpdateSnapshotResponses,
    UpdateSnapshotResponses1,
)
from moonpool.dialects.freestyle.vms import moment
from moonpool.errors import CheckpointRefused, InvalidInput, NameTaken
from moonpool.snapshots.model import Snapshot, SnapshotState

DELETED = frozenset({SnapshotState.REMOVING, SnapshotState.REMOVED})
INHERITED = ("workdir", "idle", "ports")


async def snapshot_vm(call: Call) -> Response:
    """Of a running VM with its memory, of a suspended one too; of a stopped one its disk."""
    wanted = await call.parse(SnapshotVmRequest)
    sandbox = await whole(call)
    data = {name: data_of(sandbox)[name] for name in INHERITED if name in data_of(sandbox)}
    data |= {"name": wanted.name, "persistence": persistence(wanted.persistence, "sticky")}
    try:
        snapshot = await capture(call, sandbox, data)
    except CheckpointRefused as error:
        raise FreestyleError(400, "SNAPSHOT_VM_BAD_REQUEST", error.message) from error
    return answer(
        SnapshotVmResponse.model_validate(
            {"snapshotId": snapshot.id, "sourceVmId": sandbox.id, "sourceVmInstanceId": sandbox.instance_id}
        )
    )


async def create_snapshot(call: Call) -> Response:
    """From a recipe, in a VM that is gone afterwards; the same recipe again is answered out of the cache."""
    wanted = await call.parse(CreateSnapshotRequest)
    if wanted.spec is None and wanted.template is None:
        raise InvalidInput("A snapshot needs a spec or a template")
    plan = plan_of(Layer(), wanted.spec or wanted.template, wanted.template if wanted.spec else None, "CREATE_SNAPSHOT")
    layers = plan.layers if plan.layers and empty(plan.top) else (*plan.layers, plan.top)
    build = Build(call.services.clock, planned(replace(plan, layers=layers)))
    base = await base_of(call, plan, wanted.dockerCredentials, build)
    kept = {"name": wanted.name, "persistence": persistence(wanted.persistence, "persistent")}
    snapshot = await materialize(call, layers, base, build, "SNAPSHOT_SETUP_FAILED", kept)
    return answer(CreateSnapshotResponse(snapshotId=snapshot.id))


async def list_snapshots(call: Call) -> Response:
    """Failed ones and those being built are shown unless that is declined, deleted ones (for as long as they are
    remembered) where that is asked for. The counts are of all; a deleted one counts as deleted alone."""
    infos = [information(snapshot) for snapshot in await all_snapshots(call, removed=True)]
    hidden = {
        state
        for name, state in (("includeFailed", SnapshotStateTag.failed), ("includeBuilding", SnapshotStateTag.building))
        if name in call.request.query_params and not call.flag(name)
    }
    deleted = call.flag("includeDeleted")
    shown = [info for info in infos if info.state not in hidden and (deleted or not info.deleted)]
    counts = Counter(info.state for info in infos if not info.deleted)
    return answer(
        ListSnapshotsResponse(
            snapshots=shown,
            totalCount=len(shown),
            deletedCount=sum(info.deleted for info in infos),
            **{f"{state.value}Count": counts[state] for state in SnapshotStateTag},
        )
    )


async def get_snapshot(call: Call) -> Response:
    return answer(information(await find_snapshot(call, call.path("snapshot_id"))))


async def update_snapshot(call: Call) -> Response:
    wanted = await call.parse(UpdateSnapshotRequest)
    snapshot = await find_snapshot(call, call.path("snapshot_id"))
    if snapshot.state in DELETED:
        raise already_deleted(snapshot)
    data = {DATA: {**data_of_snapshot(snapshot), "name": wanted.name}}
    try:
        await call.services.snapshots.update(
            call.principal, snapshot.id, name=wanted.name or snapshot.id, dialect_data=data
        )
    except NameTaken:
        await call.services.snapshots.update(call.principal, snapshot.id, name=snapshot.id, dialect_data=data)
    done = UpdateSnapshotResponses1.model_validate({"snapshot_id": wire_id(snapshot), "name": wanted.name})
    return answer(UpdateSnapshotResponses(done))


async def delete_snapshot(call: Call) -> Response:
    """VMs made from it live on."""
    snapshot = await find_snapshot(call, call.path("snapshot_id"))
    if snapshot.general:
        message = f"Snapshot is part of the server and cannot be deleted: {wire_id(snapshot)}"
        raise FreestyleError(409, "SNAPSHOT_IS_ACCOUNT_DEFAULT", message, snapshot_id=wire_id(snapshot))
    if snapshot.state is SnapshotState.REMOVED:
        raise already_deleted(snapshot)
    await call.services.snapshots.delete(call.principal, snapshot.id)
    done = DeleteSnapshotResponses1.model_validate({"snapshot_id": wire_id(snapshot)})
    return answer(DeleteSnapshotResponses(done))


def already_deleted(snapshot: Snapshot) -> FreestyleError:
    message = f"Snapshot has been deleted already: {wire_id(snapshot)}"
    return FreestyleError(409, "SNAPSHOT_ALREADY_DELETED", message, snapshot_id=wire_id(snapshot))


def empty(layer: Layer) -> bool:
    return not (has_content(layer) or has_size(layer) or layer.workdir)


def persistence(wanted: SnapshotPersistence | None, default: str) -> Mapping[str, Any]:
    if wanted is not None:
        document: dict[str, Any] = wanted.model_dump(mode="json", exclude_none=True)
        return {"priority": PRIORITY, **document} if document["type"] == "sticky" else document
    return {"type": "sticky", "priority": PRIORITY} if default == "sticky" else {"type": "persistent"}


def state_of(snapshot: Snapshot) -> SnapshotStateTag:
    if snapshot.state is SnapshotState.BUILDING:
        return SnapshotStateTag.building
    never_was = snapshot.state is SnapshotState.REMOVED and snapshot.size_bytes is None
    if snapshot.state is SnapshotState.ERROR or never_was:
        return SnapshotStateTag.failed
    return SnapshotStateTag(data_of_snapshot(snapshot).get("state", "ready"))


def information(snapshot: Snapshot) -> SnapshotInfo:
    data, state = data_of_snapshot(snapshot), state_of(snapshot)
    build = data.get("build")
    return SnapshotInfo.model_validate(
        {
            "snapshotId": wire_id(snapshot),
            "state": state,
            "sourceVmId": snapshot.source_sandbox_id,
            "accountId": snapshot.team_id or "system",
            "createdAt": moment(snapshot.created_at),
            "name": data.get("name") or (snapshot.name if snapshot.name != snapshot.id else None),
            "failed": state is SnapshotStateTag.failed,
            "cancelled": False,
            "lost": False,
            "failureReason": data.get("failure") or snapshot.reason,
            "deleted": snapshot.state in DELETED,
            "snapshotPersistence": data.get("persistence", {"type": "persistent"}),
            "buildId": build["buildId"] if build else None,
            "templateHash": data.get("template_hash"),
            "vcpuCount": math.ceil(snapshot.resources.cpu),
            "memSizeMib": snapshot.resources.memory_mib,
            "rootfsSizeMb": snapshot.resources.disk_mib,
        }
    )


HANDLERS: Mapping[str, Handler] = {
    "snapshot_vm": snapshot_vm,
    "create_snapshot": create_snapshot,
    "list_snapshots": list_snapshots,
    "get_snapshot": get_snapshot,
    "update_snapshot": update_snapshot,
    "delete_snapshot": delete_snapshot,
}
