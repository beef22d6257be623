"""The machines of sandboxes: every state from every state, many requests at once, sizes and timers."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from moonpool.dialects.codesandbox.pitcher.tokens import Tokens
from moonpool.errors import CheckpointRefused, EngineError, NoCapacity
from moonpool.hosts.model import Resources
from moonpool.sandboxes.model import SandboxState
from tests.contract.codesandbox.conftest import KEY, client

pytestmark = pytest.mark.asyncio(loop_scope="module")

START_SCHEMA = {
    "required": [
        *("bootup_type", "cluster", "id", "latest_pitcher_version", "pitcher_manager_version", "pitcher_token"),
        *("pitcher_url", "pitcher_version", "reconnect_token", "use_pint", "user_workspace_path", "workspace_path"),
    ],
}


async def test_what_a_start_answers(api: Any, core: Any, sandbox: str) -> None:
    started = await api.start(sandbox)
    jsonschema.validate(started, START_SCHEMA)
    assert set(started) == set(START_SCHEMA["required"])
    assert started["pitcher_url"] == f"ws://csb.test/pitcher/{sandbox}"
    assert started["use_pint"] is False
    assert started["pitcher_version"] == started["latest_pitcher_version"]
    assert started["user_workspace_path"] == started["workspace_path"] == "/project/workspace"
    services = core.services
    grant = Tokens(services.server.signing_key, services.clock).verify(started["pitcher_token"], sandbox)
    assert (grant.user, grant.home, grant.permission) == ("root", "/root", "write")


async def test_a_frozen_sandbox_is_read_only(api: Any, core: Any) -> None:
    made = await api.fork(is_frozen=True)
    assert (await api.call("sandbox/get", path={"id": made}))["is_frozen"] is True
    token = (await api.start(made))["pitcher_token"]
    services = core.services
    assert Tokens(services.server.signing_key, services.clock).verify(token, made).permission == "read"


async def test_bootup_types(api: Any, sandbox: str) -> None:
    here = {"id": sandbox}
    assert (await api.start(sandbox))["bootup_type"] == "FORK"
    assert (await api.start(sandbox))["bootup_type"] == "RUNNING"
    await api.call("vm/hibernate", path=here)
    assert (await api.start(sandbox))["bootup_type"] == "RESUME"
    await api.call("vm/shutdown", path=here)
    assert (await api.start(sandbox))["bootup_type"] == "CLEAN"
    await api.call("vm/hibernate", path=here)
    await api.call("vm/shutdown", path=here)
    assert (await api.start(sandbox))["bootup_type"] == "CLEAN"


async def test_a_fork_that_rested_before_its_first_start(api: Any, sandbox: str) -> None:
    await api.call("vm/hibernate", path={"id": sandbox})
    assert (await api.start(sandbox))["bootup_type"] == "RESUME"
    assert (await api.start(sandbox))["bootup_type"] == "RUNNING"


async def test_what_is_done_already_is_a_success(api: Any, sandbox: str) -> None:
    here = {"id": sandbox}
    for operation in ("vm/hibernate", "vm/hibernate", "vm/shutdown", "vm/shutdown"):
        assert await api.call(operation, path=here) == {}
    assert "not running" in await api.call("vm/hibernate", 404, path=here)
    assert await api.call("vm/delete", path=here) == {}
    for operation in ("vm/start", "vm/hibernate", "vm/shutdown", "vm/delete"):
        await api.call(operation, 404, path=here)


@pytest.mark.parametrize(
    ("operation", "held", "before", "after"),
    [
        ("vm/start", "start", "vm/shutdown", SandboxState.RUNNING),
        ("vm/start", "resume", "vm/hibernate", SandboxState.RUNNING),
        ("vm/hibernate", "pause", None, SandboxState.PAUSED),
        ("vm/shutdown", "stop", None, SandboxState.STOPPED),
        ("vm/delete", "destroy", None, SandboxState.DESTROYED),
    ],
)
async def test_many_at_once(
    api: Any, core: Any, machines: Any, sandbox: str, operation: str, held: str, before: str | None, after: SandboxState
) -> None:
    if before:
        await api.call(before, path={"id": sandbox})
    gate = machines.hold(held)
    asking = [asyncio.create_task(api.call(operation, path={"id": sandbox})) for _ in range(5)]
    await gate.reached.wait()
    gate.open()
    answers = await asyncio.gather(*asking)
    assert core.sandboxes.peek(sandbox).state is after
    assert sum(call == (held, sandbox) for call in machines.calls) == 1
    if operation == "vm/start":
        expected = ["CLEAN" if held == "start" else "RESUME", *["RUNNING"] * 4]
        assert sorted(answer["bootup_type"] for answer in answers) == sorted(expected)


async def test_against_each_other(api: Any, core: Any, sandbox: str) -> None:
    """Each waits for the others' changes, none conflicts."""
    mixed = [
        api.send(operation, path={"id": sandbox}, **({"json": {}} if operation == "vm/start" else {}))
        for operation in ("vm/start", "vm/hibernate", "vm/start", "vm/shutdown", "vm/start", "vm/shutdown") * 3
    ]
    answers = await asyncio.gather(*mixed)
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert all(answer.status_code == 200 or "hibernate" in str(answer.url) for answer in answers)
    assert core.sandboxes.peek(sandbox).state in (SandboxState.RUNNING, SandboxState.STOPPED, SandboxState.PAUSED)
    assert (await api.start(sandbox))["id"] == sandbox


@pytest.mark.parametrize(
    ("tier", "resources"),
    [
        ("Pico", Resources(1, 2048, 20480)),
        ("Nano", Resources(2, 4096, 20480)),
        ("Micro", Resources(4, 8192, 20480)),
        ("Small", Resources(8, 16384, 30720)),
        ("Medium", Resources(16, 32768, 40960)),
        ("Large", Resources(32, 65536, 51200)),
    ],
)
async def test_sizes(api: Any, core: Any, machines: Any, sandbox: str, tier: str, resources: Resources) -> None:
    assert await api.call("vm/update_specs", path={"id": sandbox}, json={"tier": tier}) == {"id": sandbox, "tier": tier}
    assert core.sandboxes.peek(sandbox).resources == resources
    assert machines.resources.get(sandbox, resources) == resources
    (running,) = (await api.call("vm/list_running_vms"))["vms"]
    cpu, memory, disk = resources.cpu, resources.memory_mib // 1024, resources.disk_mib // 1024
    assert running["specs"] == {"cpu": cpu, "memory": memory, "storage": disk}


async def test_sizes_by_the_older_path(api: Any, core: Any, sandbox: str) -> None:
    answer = await api.http.post(f"/vm/{sandbox}/update_specs", json={"tier": "Nano"})
    assert answer.json() == {"success": True, "data": {"id": sandbox, "tier": "Nano"}}
    assert core.sandboxes.peek(sandbox).resources == Resources(2, 4096, 20480)


async def test_a_disk_never_shrinks(api: Any, core: Any, sandbox: str) -> None:
    await api.call("vm/update_specs", path={"id": sandbox}, json={"tier": "Small"})
    await api.call("vm/shutdown", path={"id": sandbox})
    await api.start(sandbox, tier="Pico")
    assert core.sandboxes.peek(sandbox).resources == Resources(1, 2048, 30720)


async def test_a_size_above_the_servers_limit(api: Any, core: Any, sandbox: str) -> None:
    text = await api.call("vm/update_specs", 422, path={"id": sandbox}, json={"tier": "XLarge"})
    assert "exceeds maximum" in text
    await api.call("vm/hibernate", path={"id": sandbox})
    assert "exceeds" in await api.call("vm/start", 422, path={"id": sandbox}, json={"tier": "XLarge"})
    assert core.sandboxes.peek(sandbox).state is SandboxState.PAUSED


async def test_less_memory_for_a_hibernated_one(api: Any, core: Any, machines: Any, sandbox: str) -> None:
    """Its memory comes back whole, and is limited then: so a start can say that it does not fit."""
    await api.call("vm/hibernate", path={"id": sandbox})
    assert "Start it" in await api.call("vm/update_specs", 409, path={"id": sandbox}, json={"tier": "Pico"})
    machines.fail("set_resources", EngineError("more memory is in use"))
    assert "in use" in await api.call("vm/start", 500, path={"id": sandbox}, json={"tier": "Pico"})
    assert core.sandboxes.peek(sandbox).state is SandboxState.RUNNING
    assert core.sandboxes.peek(sandbox).resources == Resources(4, 8192, 20480)
    await api.call("vm/hibernate", path={"id": sandbox})
    await api.start(sandbox, tier="Pico")
    operations = [operation for operation, of in machines.calls if of == sandbox]
    assert operations[-2:] == ["resume", "set_resources"]
    await api.call("vm/hibernate", path={"id": sandbox})
    await api.start(sandbox, tier="Micro")
    operations = [operation for operation, of in machines.calls if of == sandbox]
    assert operations[-2:] == ["set_resources", "resume"]


async def test_start_options_are_kept(api: Any, core: Any, sandbox: str) -> None:
    await api.start(sandbox, automatic_wakeup_config={"websocket": True}, hibernation_timeout_seconds=86400)
    kept = core.sandboxes.peek(sandbox)
    assert kept.timers.idle_timeout == 86400
    own = kept.dialect_data["codesandbox"]
    assert own["automatic_wakeup_config"] == {"http": True, "websocket": True}
    assert own["title"] == "given"
    version = kept.version
    await api.start(sandbox)
    await api.start(
        sandbox, tier="Micro", automatic_wakeup_config={"websocket": True}, hibernation_timeout_seconds=86400
    )
    assert core.sandboxes.peek(sandbox).version == version, "a start that changes nothing writes nothing"


async def test_what_runs(api: Any, stranger: Any, core: Any, sandbox: str) -> None:
    asleep = await api.fork()
    await api.call("vm/hibernate", path={"id": asleep})
    listed = await api.call("vm/list_running_vms")
    assert (listed["concurrent_vm_count"], listed["concurrent_vm_limit"]) == (1, 40)
    (running,) = listed["vms"]
    assert running["id"] == sandbox
    assert running["last_active_at"].endswith("Z")
    assert (await stranger.call("vm/list_running_vms"))["vms"] == []


async def test_the_sdk_reads_numbers(api: Any, app: Any, core: Any, sandbox: str) -> None:
    """It takes a text's leading digits for a number, so the year would become the time. This is not the document's."""
    async with client(app, KEY, listen=False) as http:
        answer = await http.get("/vm/running", headers={"User-Agent": "node codesandbox-sdk/2.4.2"})
    (running,) = answer.json()["data"]["vms"]
    started = core.sandboxes.peek(sandbox).started_at.timestamp()
    assert running["session_started_at"] == int(started * 1000)
    assert isinstance(running["last_active_at"], int)


@pytest.mark.parametrize(
    ("operation", "step", "error", "status", "part"),
    [
        (
            "vm/hibernate",
            "pause",
            CheckpointRefused("A file is open", hint="Close it."),
            409,
            "A file is open. Close it.",
        ),
        ("vm/hibernate", "pause", EngineError("It broke"), 500, "It broke"),
        ("vm/shutdown", "stop", EngineError("It broke"), 500, "It broke"),
        ("sandbox/fork", "fork", NoCapacity(), 503, "no room"),
    ],
)
async def test_failures_of_the_machine(
    api: Any, machines: Any, sandbox: str, operation: str, step: str, error: Exception, status: int, part: str
) -> None:
    machines.fail(step, error)
    assert part in await api.call(operation, status, path={"id": sandbox})


async def test_a_start_that_fails_can_be_repeated(api: Any, machines: Any, sandbox: str) -> None:
    """As the SDK does, three times."""
    await api.call("vm/shutdown", path={"id": sandbox})
    machines.fail("start", NoCapacity())
    await api.call("vm/start", 503, path={"id": sandbox}, json={})
    assert (await api.start(sandbox))["id"] == sandbox


async def test_the_contract_knows_what_the_start_schema_knows() -> None:
    contract = json.loads((Path(__file__).parents[1] / "codesandbox.contract.json").read_text())
    declared = contract["components"]["schemas"]["VMStartResponse"]["allOf"][1]["properties"]["data"]
    assert set(declared["required"]) == set(START_SCHEMA["required"])


async def test_nothing_is_left_of_one_that_did_not_come_up(api: Any, core: Any, machines: Any) -> None:
    before = set(machines.states)
    machines.fail("create", EngineError("It broke"))
    await api.call("sandbox/fork", 500, path={"id": "pcz35m"}, json={})
    assert set(machines.states) == before
