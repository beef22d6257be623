"""Create a VM."""

from collections.abc import Mapping

from starlette.responses import Response

from moonpool.dialects.freestyle.building import Build, boot, materialize, set_up, settings
from moonpool.dialects.freestyle.catalogue import find_snapshot, wire_id
from moonpool.dialects.freestyle.extensions import CreateVmRequest, Layer
from moonpool.dialects.freestyle.layers import Plan, plan_of
from moonpool.dialects.freestyle.mapping import IDLE_TIMEOUT, FreestyleError
from moonpool.dialects.freestyle.persistence import idle_timers, stored
from moonpool.dialects.freestyle.requests import Call, Handler, answer
from moonpool.dialects.freestyle.schemas import CreateVmResponse
from moonpool.errors import MoonpoolError
from moonpool.sandboxes.model import Sandbox, Timers
from moonpool.snapshots.model import Snapshot

CODE = "VM_SETUP_FAILED"


async def create_vm(call: Call) -> Response:
    """Answers once the VM runs and is set up. Layers become snapshots first, unless they are there already."""
    wanted = await call.parse(CreateVmRequest)
    refuse_unknown(wanted)
    plan = plan_of(wanted, wanted.spec, wanted.template, "CREATE_VM")
    base = await find_snapshot(call, plan.base)
    build = Build(call.services.clock, planned(plan)) if plan.layers else None
    if build is not None:
        base = await materialize(call, plan.layers, base, build, CODE, {})
    sandbox = await created(call, wanted, plan.top, base, build)
    return answer(CreateVmResponse(id=sandbox.id, domains=[], snapshotId=wire_id(base)))


async def created(call: Call, wanted: CreateVmRequest, top: Layer, base: Snapshot, build: Build | None) -> Sandbox:
    """The VM on its base, set up; nothing is left of one that cannot be."""
    data = {
        **settings(top, base),
        "name": wanted.name,
        "persistence": stored(top.persistence),
        "build": build.document() if build else None,
    }
    timers = idle_timers(Timers(), data.get("idle", IDLE_TIMEOUT), data["persistence"])
    sandbox = await boot(call, top, base, timers, data)
    try:
        await set_up(call, sandbox, top, base, None, CODE)
    except MoonpoolError:
        await call.services.sandboxes.destroy(call.principal, sandbox.id)
        raise
    return sandbox


def planned(plan: Plan) -> list[str]:
    return [f"{step} {number}" for number in range(1, len(plan.layers) + 1) for step in ("layer", "capture")]


def refuse_unknown(wanted: CreateVmRequest) -> None:
    """What would be a promise that this server cannot keep."""
    if wanted.recreate:
        raise FreestyleError(400, "CREATE_VM_BAD_REQUEST", "recreate: this server cannot bring back a deleted VM")
    if wanted.domains:
        raise FreestyleError(400, "CREATE_VM_BAD_REQUEST", "domains: this server maps no domains of your own yet")


HANDLERS: Mapping[str, Handler] = {"create_vm": create_vm}
