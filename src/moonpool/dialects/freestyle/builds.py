"""What was built: the record beside each snapshot and VM that came of it."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from moonpool.dialects.freestyle.building import Build
from moonpool.dialects.freestyle.catalogue import all_snapshots, data_of_snapshot
from moonpool.dialects.freestyle.lookup import find
from moonpool.dialects.freestyle.mapping import FreestyleError, data_of
from moonpool.dialects.freestyle.requests import Call, Handler, answer
from moonpool.dialects.freestyle.schemas import BuildRecord, ListBuildPhasesResponse
from moonpool.sandboxes.query import SandboxQuery
from moonpool.snapshots.model import SnapshotState


async def get_build(call: Call) -> Response:
    return answer(record(call, await build_of(call)))


async def list_build_phases(call: Call) -> Response:
    return answer(ListBuildPhasesResponse.model_validate({"phases": (await build_of(call))["phases"]}))


async def get_build_for_vm(call: Call) -> Response:
    """Only a VM with layers below it has one."""
    sandbox = await find(call)
    build = data_of(sandbox).get("build")
    if build is None:
        message = f"No build found for VM {sandbox.id}"
        raise FreestyleError(404, "BUILD_NOT_FOUND_FOR_VM", message, vm_id=sandbox.id)
    return answer(record(call, build))


async def build_of(call: Call) -> Mapping[str, Any]:
    """Kept with what came of it, and so gone with the last of that; the record that was written last."""
    wanted = call.path("build_id")
    page = await call.services.sandboxes.list(call.principal, SandboxQuery(limit=None))
    kept = [data_of_snapshot(snapshot) for snapshot in await all_snapshots(call)]
    records = [data.get("build") for data in (*kept, *(data_of(sandbox) for sandbox in page.items))]
    found = [build for build in records if build is not None and build["buildId"] == wanted]
    if not found:
        raise FreestyleError(404, "BUILD_NOT_FOUND", f"Build {wanted[:200]} not found", build_id=wanted[:200])
    return await so_far(call, max(found, key=lambda build: (build["finishedAt"] or "", len(build["phases"]))))


async def so_far(call: Call, build: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the phases that a Dockerfile's build has had by now, where it is under way."""
    for snapshot in await all_snapshots(call) if build["finishedAt"] is None else ():
        if snapshot.state is SnapshotState.BUILDING and (data_of_snapshot(snapshot).get("build") == build):
            under_way = Build(call.services.clock, build["plannedPhases"], build["buildId"], build["requestId"])
            under_way.steps(await call.services.builds.get(call.principal, snapshot.id))
            return {**build, "phases": [*build["phases"], *under_way.phases]}
    return build


def record(call: Call, build: Mapping[str, Any]) -> BuildRecord:
    return BuildRecord.model_validate({**build, "accountId": call.principal.team_id})


HANDLERS: Mapping[str, Handler] = {
    "get_build": get_build,
    "list_build_phases": list_build_phases,
    "get_build_for_vm": get_build_for_vm,
}
