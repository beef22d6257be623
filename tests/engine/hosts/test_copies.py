"""Forks and snapshots on a real host: what goes on in a copy, what is its own, and what is left of it."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moonpool.engine.instance import Instance
from moonpool.errors import CheckpointIncompatible, CheckpointRefused, EngineError, InvalidState
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.host import Host
from moonpool.hosts.model import MachineExit, MachineSpec, MachineState, Resources, snapshot_image
from moonpool.hosts.settings import HostSettings
from moonpool.ids import new_sandbox_id, new_uuid
from tests.data import data_folder

LIMIT = 60.0  # seconds that a test waits for anything
RESERVE = "reserve-pages.img"  # what copies were written to before
RESOURCES = Resources(cpu=1, memory_mib=1024, disk_mib=3072)
# Counts in memory alone; a signal makes it write down the count and what it remembers from its start.
COUNTER = """
import os, signal, time
count, born = 0, os.urandom(8).hex()
def tell(*_):
    with open("/root/new", "w") as file:
        file.write(f"{born} {count}")
    os.rename("/root/new", "/root/told")
signal.signal(signal.SIGUSR1, tell)
tell()
while True:
    count += 1
    time.sleep(0.005)
"""


class Machine:
    """One host, and the loop that it lives on, for all tests of this file."""

    def __init__(self, runner: asyncio.Runner, data: Path) -> None:
        self._runner = runner
        self.data = data
        self.host: Host = runner.run(Host.open(HostSettings(data=data, warm_pool=1)))

    def run(self, work: Any) -> Any:
        return self._runner.run(asyncio.wait_for(work, LIMIT))

    def close(self) -> None:
        self._runner.run(self.host.close())

    def new(self, image: str = "base") -> MachineSpec:
        identifier = new_sandbox_id()
        return MachineSpec(id=identifier, image=image, resources=RESOURCES, hostname=identifier)

    def create(self) -> MachineSpec:
        spec = self.new()
        self.run(self.host.create(spec))
        return spec

    def shell(self, spec: MachineSpec, command: str) -> str:
        async def work() -> str:
            async with self.host.session(spec.id) as agent:
                result = await agent.run(ProcessSpec(shell=command))
            assert result.exit_code == 0, result.stderr
            return result.stdout.decode().strip()

        return str(self.run(work()))

    def counting(self) -> MachineSpec:
        """A sandbox in which the counter has begun."""
        spec = self.create()

        async def begin() -> None:
            async with self.host.session(spec.id) as agent:
                await agent.start(ProcessSpec(argv=("python3", "-c", COUNTER), tag="counter"))

        self.run(begin())
        self.shell(spec, "until test -e /root/told; do sleep 0.01; done")
        return spec

    def told(self, spec: MachineSpec) -> tuple[str, int]:
        """What the counter remembers from its start, and how far it is."""
        born, count = self.shell(
            spec, "rm -f /root/told; pkill -USR1 python3; until test -e /root/told; do sleep 0.01; done; cat /root/told"
        ).split()
        return born, int(count)

    def fork(self, source: MachineSpec, count: int = 1) -> list[MachineSpec]:
        copies = [self.new() for _ in range(count)]
        has_memory = self.run(self.host.fork(source.id, copies))
        for copy in copies:
            self.run(self.host.resume(copy) if has_memory else self.host.start(copy))
        return copies

    def capture(self, source: MachineSpec, *, memory: bool = True) -> str:
        snapshot = new_uuid()
        self.run(self.host.capture(source.id, snapshot, memory=memory))
        return snapshot

    def secret(self, spec: MachineSpec) -> str:
        record = Instance(self.data).run / "machines" / f"{spec.id}.json"
        return str(json.loads(record.read_text())["secret"])

    def kernel(self, spec: MachineSpec) -> int:
        """The process id of the sandbox's gVisor kernel."""
        run = Instance(self.data).run
        member = json.loads((run / "machines" / f"{spec.id}.json").read_text())["member"]
        state = json.loads((run / "runsc" / f"{member}_sandbox:{member}.state").read_text())
        return int(state["sandbox"]["pid"])

    def destroy(self, *specs: MachineSpec) -> None:
        for spec in specs:
            self.run(self.host.destroy(spec.id))

    def state(self, spec: MachineSpec) -> MachineState:
        return self.run(self.host.machines())[spec.id]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def only_machine() -> Iterator[Machine]:
    with data_folder() as data:
        with asyncio.Runner() as runner:
            machine = Machine(runner, data)
            yield machine
            machine.close()
        assert [path.name for path in (data / "memory").iterdir()] == ["snapshots"]


@pytest.fixture
def machine(only_machine: Machine) -> Iterator[Machine]:
    """Every test leaves it as it was."""
    yield only_machine
    fast = only_machine.host._memory.fast
    assert fast is None or set(os.listdir(fast)) <= {RESERVE}
    assert only_machine.run(only_machine.host.machines()) == {}
    assert only_machine.run(only_machine.host.snapshots()) == set()


class TestLiveFork:
    def test_programs_go_on_in_the_source_and_in_every_copy(self, machine: Machine) -> None:
        source = machine.counting()
        born, before = machine.told(source)
        copies = machine.fork(source, 2)
        for spec in (source, *copies):
            first, second = machine.told(spec), machine.told(spec)
            assert first[0] == second[0] == born
            assert before < first[1] < second[1]
        machine.destroy(source, *copies)

    def test_a_source_that_holds_most_of_its_memory_lives_on(self, machine: Machine) -> None:
        """Its own kernel writes the memory, to a file in the machine's memory."""
        source = machine.new()
        machine.run(machine.host.create(source))
        machine.shell(source, "head -c 700M /dev/zero > /dev/shm/held")
        (copy,) = machine.fork(source)
        for spec in (source, copy):
            assert machine.shell(spec, "stat -c %s /dev/shm/held").strip() == str(700 << 20)
        machine.destroy(source, copy)

    def test_a_copy_that_waits_keeps_its_memory_while_others_are_made(self, machine: Machine) -> None:
        """Though what copies are written to is used again."""
        source, waiting = machine.create(), machine.new()
        machine.shell(source, "echo one > /dev/shm/said")
        machine.destroy(*machine.fork(source))
        machine.run(machine.host.fork(source.id, [waiting]))
        machine.shell(source, "echo two > /dev/shm/said")
        (second,) = machine.fork(source)
        machine.run(machine.host.resume(waiting))
        assert [machine.shell(spec, "cat /dev/shm/said") for spec in (waiting, second)] == ["one", "two"]
        machine.destroy(source, waiting, second)

    def test_each_has_its_own_name_secret_and_files(self, machine: Machine) -> None:
        source = machine.counting()
        machine.shell(source, "echo before > /root/file")
        (copy,) = machine.fork(source)
        machine.shell(source, "echo source > /root/file")
        machine.shell(copy, "echo copy > /root/own")
        assert machine.shell(copy, "cat /root/file; hostname; getent hosts $(hostname)").split() == [
            "before", copy.id, "169.254.0.21", copy.id,
        ]  # fmt: skip
        assert machine.shell(source, "cat /root/file; hostname; ls /root/own 2>/dev/null || true").split() == [
            "source", source.id,
        ]  # fmt: skip
        machines = {machine.shell(spec, "cat /etc/machine-id") for spec in (source, copy)}
        assert len(machines) == len({machine.secret(source), machine.secret(copy)}) == 2
        machine.destroy(source)
        assert machine.told(copy)[1] > 0
        machine.destroy(copy)

    def test_the_source_falls_asleep_again(self, machine: Machine) -> None:
        source = machine.create()
        (copy,) = machine.fork(source)
        for spec in (source, copy):
            machine.run(machine.host.asleep(spec.id))
            assert machine.shell(spec, "echo awake") == "awake"
        machine.destroy(source, copy)

    def test_what_is_in_progress_in_the_source_goes_on(self, machine: Machine) -> None:
        source = machine.counting()

        async def fork_meanwhile() -> bytes:
            async with machine.host.session(source.id) as agent:
                command = "touch /root/begun; until test -e /root/end; do sleep 0.01; done; echo done"
                running = asyncio.ensure_future(agent.run(ProcessSpec(shell=command)))
                await agent.run(ProcessSpec(shell="until test -e /root/begun; do sleep 0.01; done"))
                for _ in range(2):
                    copy = machine.new()
                    await machine.host.fork(source.id, [copy])
                    await machine.host.destroy(copy.id)
                await agent.run(ProcessSpec(shell="touch /root/end"))
                return (await running).stdout

        assert machine.run(fork_meanwhile()) == b"done\n"
        machine.destroy(source)

    def test_memory_that_cannot_be_saved_is_told_and_the_source_goes_on(self, machine: Machine) -> None:
        source = machine.counting()
        holder = "exec 3>/root/gone; rm /root/gone; exec sleep 1000"

        async def hold() -> None:
            async with machine.host.session(source.id) as agent:
                await agent.start(ProcessSpec(shell=holder, tag="holder"))

        machine.run(hold())
        machine.shell(source, "until pgrep -x sleep; do :; done")
        with pytest.raises(CheckpointRefused, match="holds the deleted file /root/gone open"):
            machine.fork(source, 3)
        with pytest.raises(CheckpointRefused):
            machine.capture(source)
        assert machine.told(source)[1] < machine.told(source)[1]
        machine.shell(source, "pkill -x sleep")
        machine.destroy(source, *machine.fork(source))

    def test_a_source_that_dies_is_told_and_leaves_no_copy(self, machine: Machine) -> None:
        """Or whole ones of what it then is: stopped, where its end was known before the fork had begun."""
        source = machine.counting()
        copies = [machine.new(), machine.new()]
        made: list[MachineSpec] = []
        exits: list[MachineExit] = []

        async def kill_and_fork() -> None:
            told = asyncio.Event()

            def note(exit_: MachineExit) -> None:
                exits.append(exit_)
                told.set()

            machine.host.on_exit(note)
            os.kill(machine.kernel(source), signal.SIGKILL)
            with contextlib.suppress(EngineError):
                assert not await machine.host.fork(source.id, copies)
                made.extend(copies)
            await told.wait()

        machine.run(kill_and_fork())
        assert [exit_.id for exit_ in exits] == [source.id]
        assert machine.run(machine.host.machines()) == dict.fromkeys(
            (spec.id for spec in (source, *made)), MachineState.STOPPED
        )
        for spec in (source, *made):
            machine.run(machine.host.start(spec))
            assert machine.shell(spec, "test -s /root/told && hostname") == spec.id
        machine.destroy(source, *copies)


class TestForkAtRest:
    def test_of_a_paused_one_which_stays_paused(self, machine: Machine) -> None:
        source = machine.counting()
        born, _ = machine.told(source)
        machine.run(machine.host.pause(source.id))
        copies = machine.fork(source, 2)
        assert machine.state(source) is MachineState.PAUSED
        machine.run(machine.host.resume(source))
        assert {machine.told(spec)[0] for spec in (source, *copies)} == {born}
        machine.destroy(source, *copies)

    def test_of_a_stopped_one_with_its_files(self, machine: Machine) -> None:
        source = machine.create()
        machine.shell(source, "echo kept > /root/file")
        machine.run(machine.host.stop(source.id))
        (copy,) = machine.fork(source)
        assert machine.shell(copy, "cat /root/file; hostname").split() == ["kept", copy.id]
        assert machine.state(source) is MachineState.STOPPED
        machine.destroy(source, copy)


class TestSnapshots:
    def test_many_start_where_the_sandbox_was_and_outlive_it(self, machine: Machine) -> None:
        source = machine.counting()
        born, _ = machine.told(source)
        snapshot = machine.capture(source)
        machine.destroy(source)
        copies = [machine.new(snapshot_image(snapshot)) for _ in range(2)]
        for copy in copies:
            assert machine.run(machine.host.unpack(copy))
            machine.run(machine.host.resume(copy))
        machine.run(machine.host.forget(snapshot))
        for copy in copies:
            assert machine.told(copy)[0] == born
            assert machine.shell(copy, "hostname") == copy.id
        machine.run(machine.host.stop(copies[0].id))
        machine.run(machine.host.start(copies[0]))
        assert machine.shell(copies[0], "cat /root/told").startswith(born)
        machine.destroy(*copies)

    def test_of_a_disk_alone(self, machine: Machine) -> None:
        source = machine.counting()
        machine.shell(source, "echo kept > /root/file")
        snapshot = machine.capture(source, memory=False)
        assert machine.told(source)[1] > 0
        copy = machine.new(snapshot_image(snapshot))
        machine.run(machine.host.create(copy))
        assert machine.shell(copy, "cat /root/file; pgrep python3 || true") == "kept"
        machine.destroy(source, copy)
        machine.run(machine.host.forget(snapshot))

    def test_of_a_paused_one(self, machine: Machine) -> None:
        source = machine.counting()
        born, _ = machine.told(source)
        machine.run(machine.host.pause(source.id))
        snapshot = machine.capture(source)
        machine.destroy(source)
        copy = machine.new(snapshot_image(snapshot))
        assert machine.run(machine.host.unpack(copy))
        machine.run(machine.host.resume(copy))
        assert machine.told(copy)[0] == born
        machine.destroy(copy)
        machine.run(machine.host.forget(snapshot))

    def test_memory_of_another_runsc_is_refused_and_the_disk_is_good(self, machine: Machine) -> None:
        source = machine.counting()
        snapshot = machine.capture(source)
        manifest = machine.data / "memory" / "snapshots" / snapshot / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"runsc": "another"}))
        copy = replace(machine.new(snapshot_image(snapshot)), resources=replace(RESOURCES, disk_mib=4096))
        assert machine.run(machine.host.unpack(copy))
        with pytest.raises(CheckpointIncompatible):
            machine.run(machine.host.resume(copy))
        machine.run(machine.host.start(copy))
        assert machine.shell(copy, "test -s /root/told && hostname") == copy.id
        machine.destroy(source, copy)
        machine.run(machine.host.forget(snapshot))


def test_the_dead_do_not_make_a_sandboxs_memory_grow(host: Machine) -> None:
    """Each that was looked at in /proc would stay in its kernel, and in all that is copied from it."""
    spec = host.create()
    look = "for i in $(seq 20); do sleep 60 & done; ps aux >/dev/null; kill $(jobs -p); wait 2>/dev/null; true"
    host.shell(spec, f"bash -c '{look}'")
    sizes = []
    for _ in range(2):
        snapshot = host.capture(spec)
        sizes.append((host.data / "memory" / "snapshots" / snapshot / "checkpoint.img").stat().st_size)
        host.run(host.host.forget(snapshot))
        for _ in range(4):
            host.shell(spec, f"bash -c '{look}'")
    assert sizes[1] < 1.5 * sizes[0], "80 more processes have come and gone"
    host.run(host.host.destroy(spec.id))


def test_killed_it_keeps_its_files_and_no_memory(machine: Machine) -> None:
    spec = machine.create()
    machine.shell(spec, "echo kept > /root/file; sync")
    machine.run(machine.host.kill(spec.id))
    assert machine.state(spec) is MachineState.STOPPED
    with pytest.raises(InvalidState):
        machine.run(machine.host.resume(spec))
    machine.run(machine.host.start(spec))
    assert machine.shell(spec, "cat /root/file") == "kept"
    machine.destroy(spec)


def test_the_workspace_has_a_project_that_runs(machine: Machine) -> None:
    spec = machine.new("workspace")
    machine.run(machine.host.create(spec))
    found = machine.shell(spec, "cd /project/workspace && stat -c %U:%a . && ls -A && node --check index.js")
    assert found.split() == [
        "root:755", ".codesandbox", ".gitignore", "README.md", "index.js", "main.py", "package.json",
    ]  # fmt: skip
    machine.destroy(spec)
