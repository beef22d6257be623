"""Create a VM."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from moonpool.dialects.freestyle.building import SETUP_LIFETIME, Build, boot, materialize, set_up, settings
from moonpool.dialects.freestyle.catalogue import source_snapshot, wire_id
from moonpool.dialects.freestyle.domains import lead_here
from moonpool.dialects.freestyle.extensions import CreateVmRequest, Layer
from moonpool.dialects.freestyle.images import base_of
from moonpool.dialects.freestyle.layers import Plan, needs_setting_up, plan_of
from moonpool.dialects.freestyle.mapping import DATA, IDLE_TIMEOUT, FreestyleError, data_of
from moonpool.dialects.freestyle.persistence import STICKY, idle_timers, stored
from moonpool.dialects.freestyle.requests import Call, Handler, answer
from moonpool.dialects.freestyle.schemas import CreateVmResponse
from moonpool.dialects.freestyle.turns import turn
from moonpool.errors import MoonpoolError
from moonpool.ids import new_sandbox_id
from moonpool.sandboxes.model import Sandbox, SandboxChange, Timers
from moonpool.snapshots.model import Snapshot

CODE = "VM_SETUP_FAILED"
MAX_RECIPE = 4 * 1024 * 1024  # characters that are kept to make a VM anew


async def create_vm(call: Call) -> Response:
    """Answers once the VM runs and is set up. Layers become snapshots first, unless they are there already."""
    wanted = await call.parse(CreateVmRequest)
    plan = plan_of(wanted, wanted.spec, wanted.template, "CREATE_VM")
    recipe = recipe_of(plan.top) if wanted.recreate else None
    build = Build(call.services.clock, planned(plan)) if plan.layers or plan.image else None
    base = await base_of(call, plan, wanted.dockerCredentials, build)
    if build is not None:
        base = await materialize(call, plan.layers, base, build, CODE, {"persistence": STICKY})
    vm_id = new_sandbox_id()
    async with turn(call, vm_id):
        sandbox = await created(call, vm_id, wanted, plan.top, base, build, recipe)
        async with undone(call, sandbox):
            domains = await lead_here(call, sandbox, wanted.domains or ())
    return answer(CreateVmResponse(id=sandbox.id, domains=domains, snapshotId=wire_id(base)))


async def created(
    call: Call,
    vm_id: str,
    wanted: CreateVmRequest,
    top: Layer,
    base: Snapshot,
    build: Build | None,
    recipe: Mapping[str, Any] | None,
) -> Sandbox:
    """The VM on its base, set up; nothing is left of one that cannot be. Whoever asks for it meanwhile waits."""
    data = {
        **settings(top, base),
        "name": wanted.name,
        "persistence": stored(top.persistence),
        "build": build.document() if build else None,
        "recreate": bool(wanted.recreate),
        "recipe": recipe,
        "setting_up": needs_setting_up(top),
    }
    timers = idle_timers(Timers(), data.get("idle", IDLE_TIMEOUT), data["persistence"], wanted.activityThresholdBytes)
    unfinished = replace(timers, ttl=SETUP_LIFETIME) if needs_setting_up(top) else timers
    sandbox = await boot(call, top, base, unfinished, data, vm_id)
    if not needs_setting_up(top):
        return sandbox
    async with undone(call, sandbox):
        await set_up(call, sandbox, top, base, None, CODE)
        return await to_stay(call, sandbox, timers)


async def to_stay(call: Call, sandbox: Sandbox, timers: Timers) -> Sandbox:
    """It is whole, and anybody's to use once its turn is over."""
    change = SandboxChange(timers=timers, dialect_data={DATA: {**data_of(sandbox), "setting_up": False}})
    return await call.services.sandboxes.update(call.principal, sandbox.id, change)


@asynccontextmanager
async def undone(call: Call, sandbox: Sandbox) -> AsyncIterator[None]:
    """Nothing is left of a VM whose making fails in here."""
    try:
        yield
    except MoonpoolError:
        await call.services.sandboxes.destroy(call.principal, sandbox.id)
        raise


async def recreated(call: Call, deleted: Sandbox) -> Sandbox:
    """A deleted VM made anew under its id, as it was created; for who has its turn. Until it is whole it goes by
    itself when the server is ended, or is made anew by the next start."""
    top = Layer.model_validate(data_of(deleted).get("recipe") or {})
    base = await source_snapshot(call, data_of(deleted).get("snapshot_id"))
    timers = replace(deleted.timers, ttl=None)
    data = {DATA: {**data_of(deleted), "setting_up": True}}
    sandbox = await call.services.sandboxes.recreate(
        call.principal, deleted.id, timers=replace(timers, ttl=SETUP_LIFETIME), dialect_data=data
    )
    async with undone(call, sandbox):
        await set_up(call, sandbox, top, base, None, CODE)
        await lead_here(call, sandbox)  # By its own domain: those that it was given went with it.
        return await to_stay(call, sandbox, timers)


def recipe_of(top: Layer) -> Mapping[str, Any]:
    if len(top.model_dump_json(exclude_none=True)) > MAX_RECIPE:
        message = "recreate: too much is to be set up; put it into a snapshot layer"
        raise FreestyleError(400, "CREATE_VM_BAD_REQUEST", message)
    recipe: dict[str, Any] = top.model_dump(mode="json", exclude_none=True, exclude={"snapshot", "snapshotId"})
    return recipe


def planned(plan: Plan) -> list[str]:
    image = ["base image"] if plan.image else []
    return image + [f"{step} {number}" for number in range(1, len(plan.layers) + 1) for step in ("layer", "capture")]


HANDLERS: Mapping[str, Handler] = {"create_vm": create_vm}
