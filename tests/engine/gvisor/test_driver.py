"""Sandboxes by real gVisor: start, memory, disk, pause, end."""

import contextlib
import os
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moonpool.engine.gvisor import Driver, Held, Member
from moonpool.engine.gvisor.driver import state_folder
from moonpool.errors import AgentTimeout, EngineError


class TestBoot:
    def test_agent_answers_and_has_its_secret(self, engine, connect):
        with engine.slot() as slot:
            running = engine.driver.boot(Member("fresh", slot, "fresh"), secret="a1b2")
            try:
                with connect(slot) as agent:
                    assert agent.ask("secret") == "a1b2"
                assert running in engine.driver.running()
                assert sorted(engine.cgroups.pids("fresh"))[0] <= running.gofer_pid
            finally:
                engine.driver.kill("fresh")

    def test_secret_is_in_no_command_line_and_no_file_outside_the_engines_folders(self, engine, connect):
        with engine.slot() as slot:
            running = engine.driver.boot(Member("fresh", slot, "fresh"), secret="5ec4e7")
            try:
                for pid in engine.cgroups.pids("fresh"):
                    assert b"5ec4e7" not in Path(f"/proc/{pid}/cmdline").read_bytes()
                    assert b"5ec4e7" not in Path(f"/proc/{pid}/environ").read_bytes()
                assert not (engine.instance.run / "members/fresh/config.json").exists()
                for folder in (engine.instance.run / "members", state_folder(engine.instance)):
                    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
                assert running.sandbox_pid != running.gofer_pid
            finally:
                engine.driver.kill("fresh")

    def test_a_namespace_that_is_not_there_is_an_error_that_leaves_nothing(self, engine):
        class Nowhere:
            namespace = Path("/run/netns/there-is-no-such-namespace")

        with pytest.raises(EngineError, match="cannot launch lost"):
            engine.driver.boot(Member("lost", Nowhere(), "lost"), secret="aa")
        assert engine.driver.names() == []


class TestRestore:
    def test_memory_comes_back_in_four_at_once(self, engine, connect):
        def identity(_number: int) -> tuple[str, str]:
            with engine.box() as box, box.agent() as agent:
                return agent.ask("identity"), agent.ask("secret")

        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(identity, range(4)))
        assert len(set(answers)) == 1
        assert answers[0][1] == engine.warm.secret

    def test_a_disk_is_attached_to_a_sandbox_that_runs(self, engine):
        with engine.box() as box, box.agent() as agent:
            (box.disk / "greeting").write_text("from outside")
            engine.driver.attach(box.running, box.disk)
            agent.ask("enter", root="/.late/root")
            assert agent.eval("open('/greeting').read()") == "from outside"
            agent.exec("open('/answer', 'w').write('from inside')")
            assert (box.disk / "answer").read_text() == "from inside"

    def test_a_source_that_is_not_there_cannot_be_attached(self, engine, tmp_path):
        with engine.box() as box, pytest.raises(EngineError, match="cannot attach missing"):
            engine.driver.attach(box.running, tmp_path / "missing")

    def test_memory_and_disk_come_back_together(self, engine, tmp_path):
        image = tmp_path / "image"
        with engine.entered() as (box, agent):
            agent.exec("import os; counter = 41; file = open('/kept', 'w+'); file.write('half '); file.flush()")
            agent.close()
            engine.driver.checkpoint(box.name, image)
            assert box.name not in engine.driver.names()
            disk = box.disk
        with engine.box(image, root=disk) as box, box.agent() as agent:
            agent.exec("counter += 1; file.write('whole'); file.flush()")
            assert agent.eval("counter") == 42
            assert (disk / "kept").read_text() == "half whole"

    @pytest.mark.parametrize("gone", ["first", "second"])
    def test_an_epoll_set_comes_back_without_what_was_taken_out_of_it(self, engine, tmp_path, gone):
        """Both are found not ready in one call, which links them in gVisor; then one of them is taken out."""
        image = tmp_path / "image"
        with engine.entered() as (box, agent):
            agent.exec(
                "import os, select\nends = {'first': os.pipe(), 'second': os.pipe()}\nwaiting = select.epoll()\n"
                "for reading, writing in ends.values():\n    waiting.register(reading, select.EPOLLIN)\n"
                "    os.write(writing, b'x')\n    os.read(reading, 1)\n"
                f"waiting.poll(0)\nwaiting.unregister(ends['{gone}'][0])\nos.write(ends.pop('{gone}')[1], b'x')"
            )
            agent.close()
            engine.driver.checkpoint(box.name, image)
            disk = box.disk
        with engine.box(image, root=disk) as box, box.agent() as agent:
            assert agent.eval("waiting.poll(0)") == []
            agent.exec("((reading, writing),) = ends.values()\nos.write(writing, b'x')")
            assert agent.eval("waiting.poll() == [(reading, select.EPOLLIN)]")

    def test_what_was_mounted_goes_with_the_sandbox(self, engine, tmp_path):
        data = str(engine.instance.data)  # Other servers of this machine mount what they like.
        before = Path("/proc/self/mountinfo").read_text()
        with engine.entered() as (box, _agent):
            assert str(box.disk) not in Path("/proc/self/mountinfo").read_text()
        now = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if data in line]
        assert [line for line in now if line not in before] == []


class TestWhileItRuns:
    def test_left_running_it_goes_on_and_its_copy_starts_from_the_same_memory(self, engine, tmp_path):
        image = tmp_path / "image"
        with engine.entered() as (box, agent):
            agent.exec("value = 1")
            agent.close()
            engine.driver.pause(box.name)
            engine.driver.checkpoint(box.name, image, leave_running=True)
            engine.driver.resume(box.name)
            with box.agent() as agent:
                agent.exec("value = 2")
                with engine.box(image, root=box.disk) as copy, copy.agent() as other:
                    assert (agent.eval("value"), other.eval("value")) == (2, 1)

    def test_whoever_died_while_writing_that_it_is_paused_has_told_nothing(self, engine):
        with engine.entered() as (box, agent):
            assert engine.driver.held(box.name) is Held.NO
            engine.driver.pause(box.name)
            assert engine.driver.held(box.name) is Held.YES
            os.truncate(engine.instance.run / "members" / box.name / "held", 0)
            assert engine.driver.held(box.name) is Held.PERHAPS
            engine.driver.resume(box.name)
            assert engine.driver.held(box.name) is Held.NO
            assert agent.eval("1 + 1") == 2

    def test_a_kernel_that_has_something_else_to_do_resumes_later(self, engine, monkeypatch):
        monkeypatch.setattr("moonpool.engine.gvisor.driver.RESUME_TIMEOUT", 0.01)
        with engine.entered() as (box, agent):
            engine.driver.pause(box.name)
            os.kill(box.running.sandbox_pid, signal.SIGSTOP)
            with pytest.raises(AgentTimeout, match="Resume"):
                engine.driver.resume(box.name)
            assert engine.driver.held(box.name) is Held.PERHAPS
            os.kill(box.running.sandbox_pid, signal.SIGCONT)
            assert agent.eval("1 + 1") == 2

    def test_a_full_disk_keeps_nobody_paused(self, engine, full_disk):
        with engine.entered() as (box, agent):
            (engine.instance.run / "members" / box.name / "held").symlink_to(full_disk / "held")
            (full_disk / "held").touch()
            with contextlib.suppress(OSError), (full_disk / "junk").open("wb", buffering=0) as junk:
                while True:
                    junk.write(bytes(4096))
            engine.driver.pause(box.name)
            assert engine.driver.held(box.name) is Held.PERHAPS
            engine.driver.resume(box.name)
            assert agent.eval("1 + 1") == 2

    def test_what_takes_long_to_die_does_not_cost_its_memory(self, engine, tmp_path, monkeypatch):
        image = tmp_path / "image"
        with engine.entered() as (box, agent):
            agent.exec("value = 1")
            agent.close()
            with monkeypatch.context() as impatient:
                impatient.setattr("moonpool.engine.cgroups.groups.KILL_TIMEOUT", 0)
                engine.driver.checkpoint(box.name, image)
            engine.driver.kill(box.name)
            assert box.name not in engine.driver.names()
            disk = box.disk
        with engine.box(image, root=disk) as box, box.agent() as agent:
            assert agent.eval("value") == 1

    def test_paused_it_does_nothing_until_resumed(self, engine):
        with engine.entered() as (box, agent):
            agent.exec(
                "import threading, time\nticks = []\ndef tick():\n    while True: ticks.append(time.sleep(0.001))\n"
                "threading.Thread(target=tick, daemon=True).start()"
            )
            engine.driver.pause(box.name)
            engine.driver.resume(box.name)
            first = agent.eval("len(ticks)")
            while agent.eval("len(ticks)") == first:
                pass

    def test_frozen_it_answers_only_when_thawed(self, engine):
        with engine.entered() as (box, agent):
            engine.cgroups.freeze(box.name)
            assert engine.cgroups.frozen(box.name)
            used = engine.cgroups.stats(box.name).cpu_microseconds
            agent.send("identity")
            assert engine.cgroups.stats(box.name).cpu_microseconds == used
            engine.cgroups.thaw(box.name)
            assert agent.receive()

    def test_a_call_to_a_sandbox_that_is_not_there_says_so(self, engine, tmp_path):
        for call in (engine.driver.pause, engine.driver.resume):
            with pytest.raises(EngineError, match="there is no sandbox nobody"):
                call("nobody")
        with pytest.raises(EngineError):
            engine.driver.checkpoint("nobody", tmp_path / "image")
        assert list(tmp_path.iterdir()) == []


class TestEnd:
    @pytest.mark.parametrize("state", ["running", "frozen", "paused"])
    def test_kill_leaves_nothing_in_any_state(self, engine, state):
        with engine.entered() as (box, agent):
            if state == "frozen":
                engine.cgroups.freeze(box.name)
            if state == "paused":
                engine.driver.pause(box.name)
            engine.driver.kill(box.name)
            assert box.name not in engine.driver.names()
            assert box.running not in engine.driver.running()
            agent.abandon()

    def test_kill_and_delete_of_nobody_do_nothing(self, engine):
        engine.driver.kill("nobody")
        engine.driver.delete("nobody")

    def test_files_survive_sigkill_of_the_sentry(self, engine):
        with engine.entered() as (box, agent):
            agent.exec("open('/kept', 'w').write('still here')")
            with box.exit_awaited():
                os.kill(box.running.sandbox_pid, signal.SIGKILL)
            assert box.running not in engine.driver.running()
            assert box.name in engine.driver.names()
            assert (box.disk / "kept").read_text() == "still here"
            agent.abandon()


class TestAdoption:
    def test_another_driver_finds_what_runs_and_can_end_it(self, engine, agent_folder):
        with engine.box() as box:
            later = Driver(engine.instance, engine.cgroups, agent_folder)
            assert later.running() == [box.running]
            later.attach(later.running()[0], box.disk)
            with box.agent() as agent:
                assert agent.ask("identity")
            later.kill(box.name)
            assert engine.driver.running() == []
