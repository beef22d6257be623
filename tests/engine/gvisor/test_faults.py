"""SIGKILL of the server in the middle of a call: what is left is found by name and can be ended, or goes on."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moonpool.engine.gvisor import Driver, Member, ensure_warm
from moonpool.engine.gvisor import checkpoint as images
from moonpool.errors import CheckpointCorrupt

CALLER = Path(__file__).with_name("caller.py")


@pytest.fixture
def halting_runsc(tmp_path):
    """A runsc that, before or after doing ``command``, tells its process id on a pipe and waits until it is killed."""
    reached = tmp_path / "reached"
    os.mkfifo(reached)

    def make(command: str, *, after: bool) -> tuple[str, Path]:
        script = tmp_path / "runsc"
        real = shutil.which("runsc")
        first = f'{real} "$@" || exit' if after else ":"
        script.write_text(
            f'#!/bin/sh\ncase " $* " in\n" help "*) ;;\n*" {command} "*)\n'
            f'{first}; echo $$ > {reached}; exec sleep infinity;;\nesac\nexec {real} "$@"\n'
        )
        script.chmod(0o755)
        return str(script), reached

    return make


@pytest.fixture
def killed_in(engine, agent_folder, halting_runsc):
    """Runs one driver call in a process of its own and kills that process when runsc has come to the given point."""
    halted: list[int] = []

    def run(action: str, namespace: Path, image: Path, *, after: bool, command: str = "") -> None:
        runsc, reached = halting_runsc(command or action, after=after)
        words = [engine.instance.data, agent_folder, runsc, action, namespace, image]
        process = subprocess.Popen([sys.executable, CALLER, *map(str, words)])
        halted.append(int(reached.read_text()))
        process.kill()
        process.wait()

    yield run
    for pid in halted:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_in_the_middle_of_a_restore(engine, agent_folder, killed_in, after):
    with engine.slot() as slot:
        killed_in("restore", slot.namespace, engine.warm.path, after=after)
        later = Driver(engine.instance, engine.cgroups, agent_folder)
        assert "victim" in later.names()
        assert "victim" in engine.cgroups.names()
        assert [running.name for running in later.running()] == (["victim"] if after else [])
        later.kill("victim")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_in_the_middle_of_a_checkpoint(engine, agent_folder, killed_in, connect, tmp_path, after):
    folder = tmp_path / "memory"
    folder.mkdir()
    with engine.slot() as slot:
        engine.driver.restore(Member("victim", slot, "victim"), engine.warm.path)
        try:
            killed_in("checkpoint", slot.namespace, folder / "image", after=after)
            later = Driver(engine.instance, engine.cgroups, agent_folder)
            with pytest.raises(CheckpointCorrupt):
                later.verify(folder / "image")
            images.sweep(folder)
            assert list(folder.iterdir()) == []
            assert [running.name for running in later.running()] == ["victim"]
            later.resume("victim")
            with connect(slot) as agent:
                assert agent.ask("identity")
        finally:
            engine.driver.kill("victim")


@pytest.mark.parametrize("command", ["run", "checkpoint"])
def test_in_the_middle_of_making_the_warm_checkpoint(engine, killed_in, quiesce_agent, tmp_path, command):
    folder = tmp_path / "agent"
    with engine.slot() as slot:
        killed_in("warm", slot.namespace, folder, after=True, command=command)
        assert engine.driver.names() == ["warm-build"]
    warm = ensure_warm(engine.driver, folder, engine.slot, quiesce_agent)
    assert sorted(entry.name for entry in folder.iterdir()) == sorted([warm.path.name, "warm.lock"])
