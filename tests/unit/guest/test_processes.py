"""Processes that are started and left running."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessEvent, ProcessSpec

from .conftest import RunningAgent

KEPT = 512 << 10  # bytes: the least that is kept for late readers
PIPE = 64 << 10  # bytes that are read at a time, and dropped together
LIMIT = 30.0  # seconds that a test waits for anything


def sleeper(**more: object) -> ProcessSpec:
    return ProcessSpec(argv=("sleep", "1000"), **more)  # type: ignore[arg-type]


async def collect(events: AsyncIterator[ProcessEvent]) -> tuple[bytes, bytes, Exited]:
    """Both outputs and the end."""
    found = {"stdout": b"", "stderr": b"", "terminal": b""}
    async with asyncio.timeout(LIMIT):
        async for event in events:
            if isinstance(event, Exited):
                return found["stdout"] + found["terminal"], found["stderr"], event
            found[event.stream] += event.data
    raise AssertionError("the events ended before the process")


async def output_of(agent: AgentClient, selector: int | str) -> bytes:
    async with agent.attach(selector) as events:
        return (await collect(events))[0]


class TestStart:
    async def test_is_described(self, agent: AgentClient, everyones: Path) -> None:
        started = await agent.start(sleeper(tag="nap", cwd=str(everyones), user="daemon"))
        assert started == await agent.process("nap") == await agent.process(started.pid)
        assert (started.tag, started.argv, started.cwd, started.user) == (
            "nap",
            ("sleep", "1000"),
            str(everyones),
            "daemon",
        )
        assert (started.running, started.exit_code, started.signal, started.timed_out) == (True, None, None, False)
        assert (started.terminal, started.rows, started.cols) == (False, None, None)
        assert await agent.processes() == [started]

    async def test_tag_is_unique_among_the_living(self, agent: AgentClient) -> None:
        first = await agent.start(sleeper(tag="one"))
        with pytest.raises(errors.NameTaken):
            await agent.start(sleeper(tag="one"))
        await agent.signal("one", signal.SIGKILL)
        await agent.wait("one")
        second = await agent.start(sleeper(tag="one"))
        assert [process.pid for process in await agent.processes()] == [second.pid]
        with pytest.raises(errors.ProcessNotFound):
            await agent.process(first.pid)

    async def test_failure_leaves_nothing(self, agent: AgentClient, running: RunningAgent) -> None:
        before = len(os.listdir(f"/proc/{running.pid}/fd"))
        for _ in range(20):
            with pytest.raises(errors.CommandNotFound):
                await agent.start(ProcessSpec(argv=("nosuchcommand",), stdin=True))
        assert await agent.processes() == []
        assert len(os.listdir(f"/proc/{running.pid}/fd")) == before

    async def test_long_command_is_told_in_part(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell=f": {'x' * 5_000_000}; sleep 1000"))
        assert len(started.argv[0]) == 4096

    async def test_timeout(self, agent: AgentClient) -> None:
        started = await agent.start(sleeper(timeout=0.1))
        ended = await agent.wait(started.pid, timeout=LIMIT)
        assert (ended.timed_out, ended.exit_code, ended.signal) == (True, 137, 9)

    @pytest.mark.parametrize("selector", [1, 0, -1, 2**31, "nothing", ""])
    async def test_unknown(self, agent: AgentClient, selector: int | str) -> None:
        for asked in (agent.process, agent.wait, agent.forget, agent.close_stdin):
            with pytest.raises(errors.ProcessNotFound):
                await asked(selector)
        with pytest.raises(errors.ProcessNotFound):
            await agent.signal(selector, signal.SIGKILL)
        with pytest.raises(errors.ProcessNotFound):
            await agent.write_stdin(selector, b"x")
        with pytest.raises(errors.ProcessNotFound):
            async with agent.attach(selector):
                pass


class TestAttach:
    async def test_everything_from_the_start(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell="echo out; echo err >&2; exit 5"))
        await agent.wait(started.pid)
        async with agent.attach(started.pid) as events:
            assert await collect(events) == (b"out\n", b"err\n", Exited(5, None, False))

    async def test_again_and_at_once(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell="read x; echo $x; read x; echo $x", stdin=True))
        readers = [asyncio.ensure_future(output_of(agent, started.pid)) for _ in range(5)]
        await agent.write_stdin(started.pid, b"one\ntwo\n")
        assert await asyncio.gather(*readers) == [b"one\ntwo\n"] * 5
        assert await output_of(agent, started.pid) == b"one\ntwo\n"

    async def test_from_now_on(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell="echo old; read x; echo new", stdin=True))
        async with agent.attach(started.pid) as events:
            assert await anext(events) == Output("stdout", b"old\n")
        async with agent.attach(started.pid, replay=False) as events:
            await agent.write_stdin(started.pid, b"\n")
            assert await collect(events) == (b"new\n", b"", Exited(0, None, False))

    async def test_signal_that_ended_it(self, agent: AgentClient) -> None:
        started = await agent.start(sleeper())
        async with agent.attach(started.pid) as events:
            await agent.signal(started.pid, signal.SIGTERM)
            assert (await collect(events))[2] == Exited(143, 15, False)

    async def test_output_of_children_left_behind_does_not_delay_the_end(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell="sleep 1000 & echo done"))
        async with agent.attach(started.pid) as events:
            assert await collect(events) == (b"done\n", b"", Exited(0, None, False))

    async def test_orphans_are_reaped(self, agent: AgentClient) -> None:
        result = await agent.run(ProcessSpec(shell="(sh -c 'echo $$; exec true' &) | cat"))
        probe = ProcessSpec(argv=("tail", "--pid", result.stdout.decode().strip(), "-s", "0.05", "-f", "/dev/null"))
        await asyncio.wait_for(agent.run(probe), LIMIT)
        states = await agent.run(ProcessSpec(shell="grep -h ^State /proc/[0-9]*/status"))
        assert b"zombie" not in states.stdout

    async def test_leaving_early_leaves_it_running(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell="echo ready; cat", stdin=True))
        async with agent.attach(started.pid) as events:
            await anext(events)
        assert (await agent.process(started.pid)).running
        assert agent.open_streams == 0


class TestReplay:
    async def test_oldest_output_is_dropped_and_counted(self, agent: AgentClient) -> None:
        total = 3 << 20
        started = await agent.start(ProcessSpec(shell=f"head -c {total} /dev/zero; echo end", replay_bytes=KEPT))
        await agent.wait(started.pid)
        async with agent.attach(started.pid) as events:
            first = await anext(events)
            rest, _, _ = await collect(events)
        assert isinstance(first, Output)
        kept = len(first.data) + len(rest)
        assert KEPT - PIPE <= kept <= KEPT
        assert first.dropped + kept == total + len(b"end\n")
        assert rest.endswith(b"end\n")

    async def test_many_small_pieces(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell="for i in $(seq 20000); do echo $i; done"))
        await agent.wait(started.pid)
        lines = (await output_of(agent, started.pid)).split()
        assert [int(line) for line in lines] == list(range(1, 20001))

    async def test_outputs_keep_their_order(self, agent: AgentClient) -> None:
        started = await agent.start(
            ProcessSpec(shell="for i in 1 2 3; do echo $i; echo $i >&2; done", merge_output=True)
        )
        await agent.wait(started.pid)
        assert await output_of(agent, started.pid) == b"1\n1\n2\n2\n3\n3\n"

    async def test_agent_does_not_grow_while_nobody_reads(self, agent: AgentClient, running: RunningAgent) -> None:
        started = await agent.start(ProcessSpec(shell="head -c 1000000000 /dev/zero", replay_bytes=1 << 20))
        await agent.wait(started.pid)
        with open(f"/proc/{running.pid}/status", encoding="ascii") as file:
            (peak,) = (int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
        assert peak < 100_000  # KiB

    async def test_the_last_ended_ones_are_remembered(self, agent: AgentClient) -> None:
        for number in range(140):
            started = await agent.start(ProcessSpec(argv=("true",), tag=str(number)))
            await agent.wait(started.pid)
        known = [process.tag for process in await agent.processes()]
        assert known[-1] == "139"
        assert 120 <= len(known) <= 130


class TestBackPressure:
    async def test_slow_reader_slows_the_process(self, agent: AgentClient, tmp_path: Path) -> None:
        """A megabyte beyond what the windows hold is not written before somebody reads."""
        mark = tmp_path / "mark"
        text = f"head -c 8000000 /dev/zero; echo > {mark}; echo end"
        async with agent.attach(
            (await agent.start(ProcessSpec(shell=f"read x; {text}", stdin=True, tag="w"))).pid
        ) as events:
            await agent.write_stdin("w", b"\n")
            await anext(events)
            stalled = await agent.wait("w", timeout=0.5)
            assert stalled.running
            assert not mark.exists()
            output, _, _ = await collect(events)
        assert output.endswith(b"end\n")
        assert mark.exists()

    async def test_other_operations_go_on(self, agent: AgentClient) -> None:
        await agent.start(ProcessSpec(argv=("yes",), tag="yes"))
        async with agent.attach("yes") as events:
            await anext(events)
            for _ in range(20):
                assert (await agent.run(ProcessSpec(argv=("echo", "hi")))).stdout == b"hi\n"

    async def test_reader_that_leaves_lets_the_process_go_on(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell="head -c 50000000 /dev/zero"))
        async with agent.attach(started.pid) as events:
            await anext(events)
        ended = await agent.wait(started.pid, timeout=LIMIT)
        assert ended.exit_code == 0


class TestInput:
    async def test_written_and_closed(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(argv=("wc", "-c"), stdin=True))
        for _ in range(5):
            await agent.write_stdin(started.pid, bytes(1_000_000))
        await agent.close_stdin(started.pid)
        assert int(await output_of(agent, started.pid)) == 5_000_000

    async def test_of_a_process_that_does_not_read(self, agent: AgentClient) -> None:
        """The writer waits; giving up and the end of the process set it free."""
        started = await agent.start(sleeper(stdin=True))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(agent.write_stdin(started.pid, bytes(200_000)), 0.3)
        waiting = asyncio.ensure_future(agent.write_stdin(started.pid, bytes(200_000)))
        await agent.ping()
        await agent.signal(started.pid, signal.SIGKILL)
        with pytest.raises(errors.ProcessEnded):
            await waiting

    async def test_of_a_process_that_has_none(self, agent: AgentClient) -> None:
        started = await agent.start(sleeper())
        with pytest.raises(errors.ProcessEnded):
            await agent.write_stdin(started.pid, b"x")

    async def test_after_the_end(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(argv=("true",), stdin=True))
        await agent.wait(started.pid)
        with pytest.raises(errors.ProcessEnded):
            await agent.write_stdin(started.pid, b"x")
        await agent.close_stdin(started.pid)


class TestSignal:
    async def test_whole_group(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell="sleep 1000 & echo $!; wait"))
        async with agent.attach(started.pid) as events:
            child = await anext(events)
            assert isinstance(child, Output)
            await agent.signal(started.pid, signal.SIGTERM)
            await collect(events)
        probe = ("tail", "--pid", child.data.decode().strip(), "-s", "0.05", "-f", "/dev/null")
        await asyncio.wait_for(agent.run(ProcessSpec(argv=probe)), LIMIT)

    async def test_only_itself(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell="trap 'echo caught; exit' USR1; sleep 1000 & echo up; wait; :"))
        async with agent.attach(started.pid) as events:
            await anext(events)
            await agent.signal(started.pid, signal.SIGUSR1, group=False)
            assert (await collect(events))[0] == b"caught\n"

    async def test_ended(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(argv=("true",)))
        await agent.wait(started.pid)
        with pytest.raises(errors.ProcessEnded):
            await agent.signal(started.pid, signal.SIGTERM)

    @pytest.mark.parametrize("number", [-1, 65, 10**10])
    async def test_impossible(self, agent: AgentClient, number: int) -> None:
        started = await agent.start(sleeper())
        with pytest.raises(errors.InvalidInput):
            await agent.signal(started.pid, number)

    async def test_process_that_ignores_sigterm(self, agent: AgentClient) -> None:
        started = await agent.start(ProcessSpec(shell="trap '' TERM; echo up; while :; do sleep 1; done"))
        async with agent.attach(started.pid) as events:
            await anext(events)
        await agent.signal(started.pid, signal.SIGTERM)
        assert (await agent.wait(started.pid, timeout=0.3)).running
        await agent.signal(started.pid, signal.SIGKILL)
        assert (await agent.wait(started.pid, timeout=LIMIT)).signal == signal.SIGKILL


class TestForget:
    async def test_ends_it(self, agent: AgentClient, running: RunningAgent) -> None:
        before = len(os.listdir(f"/proc/{running.pid}/fd"))
        started = await agent.start(sleeper(stdin=True))
        waiting = asyncio.ensure_future(agent.wait(started.pid))
        await agent.ping()
        await agent.forget(started.pid)
        assert not (await waiting).running
        with pytest.raises(errors.ProcessNotFound):
            await agent.process(started.pid)
        assert len(os.listdir(f"/proc/{running.pid}/fd")) == before


class TestWait:
    async def test_time_over(self, agent: AgentClient) -> None:
        started = await agent.start(sleeper())
        assert (await agent.wait(started.pid, timeout=0.05)).running

    async def test_alone(self, agent: AgentClient) -> None:
        started = await agent.start(sleeper())
        alone = asyncio.ensure_future(agent.wait_alone())
        await agent.ping()
        assert not alone.done()
        await agent.signal(started.pid, signal.SIGKILL)
        await asyncio.wait_for(alone, LIMIT)
