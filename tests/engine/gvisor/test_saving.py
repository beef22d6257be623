"""A moment of a sandbox, saved at a call to its kernel: into files that may have been there before."""

import dataclasses
import os

import pytest

from moonpool.engine.gvisor import Driver
from moonpool.engine.gvisor.saving import FILES, PAGES_FILE
from moonpool.errors import CheckpointRefused, EngineError


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "image"
    path.mkdir()
    return path


def nothing_else() -> None:
    pass


def moment(driver, box, folder, *, connected=False):
    driver.save_moment(box.name, folder, nothing_else, connected=connected)
    driver.seal(folder)


def test_what_the_files_held_before_is_gone(engine, folder):
    older = b"of another sandbox" * 1000
    for name in FILES:
        (folder / name).write_bytes(older)
    os.truncate(folder / PAGES_FILE, 1 << 30)
    kept = (folder / PAGES_FILE).stat().st_ino
    with engine.entered() as (box, agent):
        agent.exec("value = 'kept'")
        agent.close()
        moment(engine.driver, box, folder)
        with box.agent() as agent:
            agent.exec("value = 'changed'")
            with engine.box(folder, root=box.disk) as copy, copy.agent() as other:
                assert (agent.eval("value"), other.eval("value")) == ("changed", "kept")
    assert (folder / PAGES_FILE).stat().st_ino == kept
    assert (folder / PAGES_FILE).stat().st_size < 1 << 29
    assert not any(older[:100] in (folder / name).read_bytes() for name in FILES)


def test_connections_are_cut_first_and_all_go_on_serving(engine, folder):
    for name in FILES:
        (folder / name).write_bytes(b"of another sandbox" * 1000)
    with engine.entered() as (box, first), box.agent() as second:
        assert first.ask("identity") == second.ask("identity"), "both are waited for with epoll"
        moment(engine.driver, box, folder, connected=True)
        first.abandon()
        second.abandon()
        with engine.box(folder, root=box.disk) as copy:
            for serving in (box, copy) * 2:
                with serving.agent() as agent:
                    assert agent.ask("identity")


def test_a_runsc_whose_call_is_not_known_is_asked_by_its_command(engine, folder, agent_folder):
    other = Driver(engine.instance, engine.cgroups, agent_folder)
    other.capabilities = dataclasses.replace(other.capabilities, version="release-20990101.0")
    with engine.entered() as (box, agent):
        agent.exec("value = 'kept'")
        agent.close()
        moment(other, box, folder)
        other.verify(folder)
        with box.agent() as agent:
            assert agent.eval("value") == "kept"


def test_no_room_refuses_it_and_the_sandbox_goes_on(engine, full_disk):
    with engine.entered() as (box, agent):
        agent.exec("value = 1")
        agent.close()
        with pytest.raises(CheckpointRefused):
            moment(engine.driver, box, full_disk)
        with box.agent() as agent:
            assert agent.eval("value") == 1


def test_deleted_open_files_are_named(engine, folder):
    with engine.entered() as (box, agent):
        agent.exec("import os; held = open('/scratch', 'w+'); held.write('x'); held.flush(); os.unlink('/scratch')")
        agent.close()
        with pytest.raises(CheckpointRefused, match="/scratch") as refused:
            moment(engine.driver, box, folder)
        assert refused.value.details["paths"] == ["/scratch"]


def test_a_dead_sandbox_is_an_error(engine, folder):
    with engine.box() as box:
        engine.cgroups.kill(box.name)
        with pytest.raises(EngineError):
            moment(engine.driver, box, folder)
