"""VMs: list, get, delete."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.responses import Response

from moonpool.dialects.freestyle.lookup import find
from moonpool.dialects.freestyle.mapping import data_of, name_of, state_of
from moonpool.dialects.freestyle.requests import Call, Handler, answer
from moonpool.dialects.freestyle.schemas import (
    DeleteVmResponses,
    DeleteVmResponses1,
    GetVmResponse,
    ListVmsResponse,
    VmInfo,
    VMState,
)
from moonpool.errors import EngineError, InvalidInput, InvalidState, SandboxNotFound
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.query import SandboxQuery


async def list_vms(call: Call) -> Response:
    """The counts are of all VMs that match ``search``; ``vmState``, ``limit`` and ``offset`` choose those shown."""
    states = tuple(SandboxState) if call.flag("includeDeleted") else ()
    page = await call.services.sandboxes.list(call.principal, SandboxQuery(states=states, limit=None))
    found = [sandbox for sandbox in page.items if matches(sandbox, call.request.query_params.get("search", ""))]
    counts = Counter(state_of(sandbox) for sandbox in found)
    wanted = wanted_state(call)
    shown = [sandbox for sandbox in found if wanted in (None, state_of(sandbox))]
    offset, limit = call.number("offset") or 0, call.number("limit")
    end = None if limit is None else offset + limit
    return answer(
        ListVmsResponse(
            vms=[information(sandbox) for sandbox in shown[offset:end]],
            totalCount=len(shown),
            userId=call.principal.user_id,
            **{f"{state.value}Count": counts[state] for state in VMState},
        )
    )


async def get_vm(call: Call) -> Response:
    sandbox = await find(call)
    return answer(
        GetVmResponse(
            id=sandbox.id,
            name=name_of(sandbox),
            vmInstanceId=sandbox.instance_id,
            lastNetworkActivity=sandbox.last_activity_at,
            state=state_of(sandbox),
            cpuTimeSeconds=await cpu_seconds(call, sandbox),
            buildId=build_id(sandbox),
        )
    )


async def delete_vm(call: Call) -> Response:
    sandbox = await find(call)
    await call.services.sandboxes.destroy(call.principal, sandbox.id)
    return answer(DeleteVmResponses(DeleteVmResponses1(id=sandbox.id)))


def matches(sandbox: Sandbox, text: str) -> bool:
    """By id or name, whatever the case."""
    wanted = text.lower()
    return wanted in sandbox.id or wanted in (name_of(sandbox) or "").lower()


def wanted_state(call: Call) -> VMState | None:
    value = call.request.query_params.get("vmState")
    if not value:
        return None
    try:
        return VMState(value)
    except ValueError:
        raise InvalidInput(f"vmState: must be one of {', '.join(VMState)}", field="vmState") from None


def information(sandbox: Sandbox) -> VmInfo:
    data = data_of(sandbox)
    return VmInfo.model_validate(
        {
            "id": sandbox.id,
            "name": name_of(sandbox),
            "state": state_of(sandbox),
            "createdAt": sandbox.created_at,
            "lastNetworkActivity": sandbox.last_activity_at,
            "persistence": data.get("persistence") or kept_as(sandbox.eviction_priority),
            "snapshotId": data.get("snapshot_id"),
            "deleted": sandbox.state is SandboxState.DESTROYED or sandbox.doomed,
            "createdDeclaratively": bool(data.get("build")),
            "buildId": build_id(sandbox),
        }
    )


def kept_as(priority: int | None) -> Mapping[str, Any]:
    """Of what another API made."""
    return {"type": "persistent"} if priority is None else {"type": "sticky", "priority": priority}


def build_id(sandbox: Sandbox) -> str | None:
    build: Mapping[str, str] | None = data_of(sandbox).get("build")
    return None if build is None else build["buildId"]


async def cpu_seconds(call: Call, sandbox: Sandbox) -> float | None:
    """While it runs and its host can tell."""
    if sandbox.state is not SandboxState.RUNNING:
        return None
    with contextlib.suppress(InvalidState, EngineError, SandboxNotFound):
        return (await call.services.sandboxes.usage(call.principal, sandbox.id)).cpu_microseconds / 1e6
    return None


def moment(when: datetime) -> str:
    """RFC 3339, in UTC."""
    return when.isoformat().replace("+00:00", "Z")


HANDLERS: Mapping[str, Handler] = {"list_vms": list_vms, "get_vm": get_vm, "delete_vm": delete_vm}
