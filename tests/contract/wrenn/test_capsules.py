"""The life of a capsule: what is answered, and when."""

import asyncio
from typing import Any

import pytest

from moonpool.errors import EngineError, NoCapacity
from moonpool.hosts.model import Resources
from moonpool.sandboxes.model import NewSandbox, Timers

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN = {"id": "cl-" + "x" * 20}


async def test_create_answers_with_what_runs(api: Any) -> None:
    made = await api.call("createCapsule", 202, json={})
    assert made["id"].startswith("cl-")
    assert len(made["id"]) == 23
    assert made["status"] == "running"
    assert made["template"] == "minimal"
    assert (made["vcpus"], made["memory_mb"], made["disk_size_mb"], made["timeout_sec"]) == (1, 512, 5120, 0)
    assert made["created_at"].endswith("Z")
    assert "." not in made["created_at"]
    assert "disk_used_mb" not in made
    single = await api.call("getCapsule", 200, {"id": made["id"]})
    assert single == {**single, **{name: made[name] for name in ("id", "status", "created_at")}}
    assert single["disk_used_mb"] == 3


async def test_sizes_metadata_and_timeout_are_kept(api: Any, core: Any) -> None:
    wanted = {
        "vcpus": 2,
        "memory_mb": 1024,
        "disk_size_mb": 2048,
        "timeout_sec": 90,
        "metadata": {"job": "7", "kind.of": "test"},
        "unknown": ["field"],
    }
    made = await api.call("createCapsule", 202, json=wanted)
    for name in ("vcpus", "memory_mb", "disk_size_mb", "timeout_sec", "metadata"):
        assert made[name] == wanted[name]
    sandbox = core.sandboxes.peek(made["id"].removeprefix("cl-"))
    assert sandbox.resources == Resources(2, 1024, 2048)
    assert sandbox.timers == Timers(auto_pause=90)
    assert sandbox.user == "wrenn-user"
    assert dict(sandbox.labels) == wanted["metadata"]


@pytest.mark.parametrize(("asked", "given"), [(0, 0), (1, 60), (59, 60), (60, 60), (61, 61)])
async def test_short_timeouts_become_a_minute(api: Any, asked: int, given: int) -> None:
    assert (await api.call("createCapsule", 202, json={"timeout_sec": asked}))["timeout_sec"] == given


async def test_ids_with_and_without_prefix(api: Any, capsule: str) -> None:
    for form in (capsule, capsule.removeprefix("cl-")):
        assert (await api.call("getCapsule", 200, {"id": form}))["id"] == capsule


async def test_a_sandbox_of_another_api_is_a_capsule(api: Any, core: Any) -> None:
    principal = await core.access.local_principal()
    sandbox = await core.sandboxes.create(principal, NewSandbox(snapshot="daytona-small", name="by-daytona", cpu=0.5))
    (listed,) = await api.call("listCapsules", 200)
    assert listed["id"] == f"cl-{sandbox.id}"
    assert (listed["template"], listed["vcpus"], listed["memory_mb"]) == ("daytona-small", 1, 1024)
    await core.sandboxes.stop(principal, sandbox.id)
    assert (await api.call("getCapsule", 200, {"id": sandbox.id}))["status"] == "paused"
    assert (await api.call("resumeCapsule", 202, {"id": sandbox.id}))["status"] == "running"


async def test_pause_and_resume(api: Any, capsule: str) -> None:
    here = {"id": capsule}
    assert (await api.call("resumeCapsule", 409, here))["code"] == "invalid_state"
    assert (await api.call("pauseCapsule", 202, here))["status"] == "paused"
    assert (await api.call("pauseCapsule", 409, here))["code"] == "invalid_state"
    assert (await api.call("execCommand", 409, here, json={"cmd": "true"}))["code"] == "invalid_state"
    assert (await api.call("pingCapsule", 409, here))["code"] == "invalid_state"
    assert (await api.call("resumeCapsule", 202, here))["status"] == "running"
    assert (await api.call("execCommand", 200, here, json={"cmd": "true"}))["exit_code"] == 0


async def test_what_takes_long_is_answered_in_mid_change(
    api: Any, capsule: str, machines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonpool.dialects.wrenn.capsules.PATIENCE", 1.0)
    released = asyncio.Event()
    pause, create = machines.pause, machines.create

    async def slow(machine_id: str) -> None:
        await released.wait()
        await pause(machine_id)

    async def slow_create(spec: Any) -> None:
        await released.wait()
        await create(spec)

    monkeypatch.setattr(machines, "create", slow_create)
    made = await api.call("createCapsule", 202, json={})
    assert made["status"] == "starting"
    monkeypatch.setattr(machines, "pause", slow)
    here = {"id": capsule}
    assert (await api.call("pauseCapsule", 202, here))["status"] == "pausing"
    assert (await api.call("execCommand", 409, here, json={"cmd": "true"}))["code"] == "invalid_state"
    released.set()
    monkeypatch.undo()
    for changing in (here, {"id": made["id"]}):
        await api.call("destroyCapsule", 202, changing)


async def test_destroyed_capsules_are_seen_and_not_used(api: Any, capsule: str) -> None:
    here = {"id": capsule}
    await asyncio.gather(*(api.call("destroyCapsule", 202, here) for _ in range(3)))
    await api.call("destroyCapsule", 202, here)
    assert (await api.call("getCapsule", 200, here))["status"] == "stopped"
    assert await api.call("listCapsules", 200) == []
    for operation in ("pauseCapsule", "resumeCapsule", "pingCapsule", "listProcesses"):
        assert (await api.call(operation, 409, here))["code"] == "invalid_state"
    assert (await api.call("getCapsuleMetrics", 404, here))["code"] == "not_found"


async def test_ping_and_commands_count_as_use(api: Any, capsule: str, core: Any) -> None:
    before = core.sandboxes.peek(capsule.removeprefix("cl-")).last_activity_at
    principal = await core.access.local_principal()
    await api.call("pingCapsule", 204, {"id": capsule})
    pinged = (await core.sandboxes.get(principal, capsule.removeprefix("cl-"))).last_activity_at
    assert pinged > before
    await api.call("execCommand", 200, {"id": capsule}, json={"cmd": "true"})
    ran = (await core.sandboxes.get(principal, capsule.removeprefix("cl-"))).last_activity_at
    assert ran > pinged
    await api.call("getCapsuleMetrics", 200, {"id": capsule})
    assert (await core.sandboxes.get(principal, capsule.removeprefix("cl-"))).last_activity_at == ran


@pytest.mark.parametrize(
    ("failure", "status", "code"), [(NoCapacity(), 503, "host_unavailable"), (EngineError(), 502, "agent_error")]
)
async def test_failing_creations(api: Any, machines: Any, failure: Exception, status: int, code: str) -> None:
    machines.failing = failure
    assert (await api.call("createCapsule", status, json={}))["code"] == code
    assert await api.call("listCapsules", 200) == [], "its id was told to nobody"


@pytest.mark.parametrize("operation", ["getCapsule", "destroyCapsule", "pauseCapsule", "resumeCapsule", "pingCapsule"])
async def test_unknown_capsules(api: Any, operation: str) -> None:
    for unknown in (UNKNOWN["id"], "cl-", "CL-ABC", "%00", "a" * 5000):
        assert (await api.call(operation, 404, {"id": unknown}))["code"] == "not_found"
