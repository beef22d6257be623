import asyncio
import math
from typing import Any

import pytest

from moonpool.errors import InvalidInput, InvalidState, LimitExceeded, MoonpoolError, NameTaken, TransitionInProgress
from moonpool.hosts.model import NetworkPolicy
from moonpool.sandboxes.model import NewSandbox, SandboxChange, SandboxState, Timers
from tests.unit.sandboxes.conftest import World

S = SandboxState


class TestUpdate:
    async def test_each_field(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(labels={"a": "1"}, dialect_data={"x": 1, "y": 2}))
        change = SandboxChange(
            name="new",
            labels={"b": "2"},
            env={"E": "1"},
            public=True,
            timers=Timers(auto_stop=5),
            dialect_data={"y": 3},
        )
        changed = await world.sandboxes.update(world.admin, sandbox.id, change)
        assert (changed.name, changed.labels, changed.env, changed.public) == ("new", {"b": "2"}, {"E": "1"}, True)
        assert (changed.timers.auto_stop, changed.dialect_data, changed.state) == (5, {"x": 1, "y": 3}, S.RUNNING)
        assert (await world.history(sandbox))[-1].type == "sandbox.updated"
        again = await world.restart()
        assert await again.sandboxes.get(world.admin, "new") == changed
        await again.core.stop()

    async def test_what_is_not_named_stays(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(name="one", labels={"a": "1"}, public=True))
        changed = await world.sandboxes.update(world.admin, "one", SandboxChange())
        assert (changed.name, changed.labels, changed.public) == (sandbox.name, sandbox.labels, sandbox.public)

    async def test_a_disk_grows_and_never_shrinks(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(disk_mib=4000))
        with pytest.raises(InvalidInput, match="shrink"):
            await world.sandboxes.update(world.admin, sandbox.id, SandboxChange(cpu=2, disk_mib=3999))
        assert (await world.get(sandbox)).resources == sandbox.resources
        grown = await world.sandboxes.update(world.admin, sandbox.id, SandboxChange(disk_mib=5000))
        assert grown.resources.disk_mib == world.machines.resources[sandbox.id].disk_mib == 5000

    async def test_the_old_name_is_free_and_a_taken_one_is_refused(self, world: World) -> None:
        await world.create(NewSandbox(name="one"))
        await world.create(NewSandbox(name="two"))
        with pytest.raises(NameTaken):
            await world.sandboxes.update(world.admin, "one", SandboxChange(name="two"))
        await world.sandboxes.update(world.admin, "one", SandboxChange(name="three"))
        await world.create(NewSandbox(name="one"))

    async def test_labels_change_while_the_state_does(self, world: World) -> None:
        gate = world.machines.hold("create")
        sandbox = await world.create(wait=False)
        await world.sandboxes.update(world.admin, sandbox.id, SandboxChange(labels={"a": "1"}))
        gate.open()
        assert (await world.reaches(sandbox, S.RUNNING)).labels == {"a": "1"}

    async def test_resources_and_network_change_live(self, world: World) -> None:
        sandbox = await world.create()
        change = SandboxChange(cpu=2, memory_mib=2048, disk_mib=4096, network=NetworkPolicy(block_all=True))
        changed = await world.sandboxes.update(world.admin, sandbox.id, change)
        assert world.machines.resources[sandbox.id] == changed.resources
        assert world.machines.networks[sandbox.id] == changed.network == NetworkPolicy(block_all=True)

    async def test_a_stopped_ones_network_waits_for_its_start(self, world: World) -> None:
        sandbox = await world.create()
        await world.sandboxes.stop(world.admin, sandbox.id)
        await world.sandboxes.update(world.admin, sandbox.id, SandboxChange(network=NetworkPolicy(block_all=True)))
        assert world.machines.networks == {}
        await world.sandboxes.start(world.admin, sandbox.id)
        assert world.machines.specs[sandbox.id].network.block_all

    async def test_not_in_mid_transition(self, world: World) -> None:
        gate = world.machines.hold("create")
        sandbox = await world.create(wait=False)
        with pytest.raises(TransitionInProgress):
            await world.sandboxes.update(world.admin, sandbox.id, SandboxChange(cpu=2))
        gate.open()
        await world.reaches(sandbox, S.RUNNING)

    async def test_not_of_a_failed_one(self, world: World) -> None:
        world.machines.fail("create", MoonpoolError())
        with pytest.raises(MoonpoolError):
            await world.create(NewSandbox(name="one"))
        with pytest.raises(InvalidState):
            await world.sandboxes.update(world.admin, "one", SandboxChange(cpu=2))

    async def test_what_the_host_refuses_is_not_written(self, world: World) -> None:
        sandbox = await world.create()
        world.machines.fail("set_resources", MoonpoolError("no"))
        with pytest.raises(MoonpoolError):
            await world.sandboxes.update(world.admin, sandbox.id, SandboxChange(cpu=2, labels={"a": "1"}))
        assert await world.get(sandbox) == sandbox

    async def test_many_at_once(self, world: World) -> None:
        sandbox = await world.create()
        changes = [SandboxChange(dialect_data={str(number): number}) for number in range(10)]
        await asyncio.gather(*(world.sandboxes.update(world.admin, sandbox.id, change) for change in changes))
        assert (await world.get(sandbox)).dialect_data == {str(number): number for number in range(10)}


class TestValidation:
    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": " x"}, "name"),
            ({"name": "a/b"}, "name"),
            ({"name": ".."}, "name"),
            ({"name": "a\0b"}, "name"),
            ({"name": "x" * 256}, "name"),
            ({"name": "\ud800"}, "name"),
            ({"id": "Not-An-Id"}, "id"),
            ({"user": ""}, "user"),
            ({"user": "a b"}, "user"),
            ({"user": "-rf"}, "user"),
            ({"env": {"": "1"}}, "env"),
            ({"env": {"A=B": "1"}}, "env"),
            ({"env": {"A\0": "1"}}, "env"),
            ({"env": {"A": "\0"}}, "env"),
            ({"env": {"A": "\udfff"}}, "env"),
            ({"env": {"A": "x" * 200_000}}, "env"),
            ({"env": {f"A{number}": "x" * 100_000 for number in range(6)}}, "env"),
            ({"env": {f"A{number}": "" for number in range(1025)}}, "env"),
            ({"labels": {"": "1"}}, "labels"),
            ({"labels": {"a": "\0"}}, "labels"),
            ({"labels": {"a" * 257: ""}}, "labels"),
            ({"labels": {"a": "x" * 1025}}, "labels"),
            ({"labels": {str(number): "" for number in range(65)}}, "labels"),
            ({"cpu": 0}, "cpu"),
            ({"cpu": -1}, "cpu"),
            ({"cpu": math.nan}, "cpu"),
            ({"cpu": math.inf}, "cpu"),
            ({"memory_mib": 0}, "memory"),
            ({"disk_mib": -5}, "disk"),
            ({"timers": Timers(auto_stop=-1)}, "timers"),
            ({"timers": Timers(ttl=math.inf)}, "timers"),
            ({"timers": Timers(ttl=math.nan)}, "timers"),
            ({"timers": Timers(auto_delete=1e18)}, "timers"),
            ({"network": NetworkPolicy(allow=("nonsense",))}, "network"),
            ({"network": NetworkPolicy(allow=("::/0",))}, "network"),
            ({"network": NetworkPolicy(allow=("10.0.0.0/40",))}, "network"),
            ({"network": NetworkPolicy(allow=("10.0.0.0/8",) * 101)}, "network"),
        ],
    )
    async def test_bad_input_makes_nothing(self, sqlite_world: World, fields: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            await sqlite_world.create(NewSandbox(**fields))
        assert caught.value.field == field
        assert sqlite_world.machines.calls == []

    @pytest.mark.parametrize("fields", [{"cpu": 9}, {"memory_mib": 10**12}, {"disk_mib": 20481}])
    async def test_above_the_limits(self, sqlite_world: World, fields: dict[str, Any]) -> None:
        with pytest.raises(LimitExceeded, match="exceeds maximum allowed per sandbox"):
            await sqlite_world.create(NewSandbox(**fields))
        sandbox = await sqlite_world.create()
        with pytest.raises(LimitExceeded):
            await sqlite_world.sandboxes.update(sqlite_world.admin, sandbox.id, SandboxChange(**fields))

    @pytest.mark.parametrize("key", ["\0", "\ud800", "x" * 100_000, "", "../..", "'; drop table sandboxes; --"])
    async def test_odd_names_are_not_found(self, world: World, key: str) -> None:
        with pytest.raises(MoonpoolError) as caught:
            await world.sandboxes.get(world.admin, key, include_destroyed=True)
        assert caught.value.code == "sandbox_not_found"
