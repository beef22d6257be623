"""One command, one round trip."""

import asyncio
import os
import secrets
import signal
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessSpec, TerminalSize

from .conftest import RunningAgent

BINARY = bytes(range(256)) * 5000
SHELL_TEXTS = [
    ("echo hi", b"hi\n"),
    ("echo -n hi", b"hi"),
    ("echo -e 'a\\tb'", b"a\tb\n"),
    (r"echo 'a\tb'", b"a\\tb\n"),
    ("echo \"two  words\" 'and $HOME'", b"two  words and $HOME\n"),
    ("echo *nothing-like-it*", b"*nothing-like-it*\n"),
    ("echo ~", b"/root\n"),
    ("echo {1..3}", b"1 2 3\n"),
    ("A=1 env | grep ^A=", b"A=1\n"),
    ("A=5", b""),
    ("[[ x == x ]] && echo bash", b"bash\n"),
    ("printf '%s-%s' a b", b"a-b"),
    ("python3 -c 'print(6 * 7)'", b"42\n"),
    ("  true  ", b""),
    ("expr 1 + 1", b"2\n"),
    ("a=(1 2 3); echo ${a[1]}", b"2\n"),
    ("type -t type", b"builtin\n"),
    ("source /dev/null; echo $?", b"0\n"),
    ("# only a comment", b""),
    ("echo a\necho b", b"a\nb\n"),
    ("ls -d /etc /usr", b"/etc\n/usr\n"),
]


def shell(text: str) -> ProcessSpec:
    return ProcessSpec(shell=text)


class TestResult:
    async def test_output_errors_and_exit_code(self, agent: AgentClient) -> None:
        result = await agent.run(shell("echo out; echo err >&2; exit 3"))
        assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
        assert (result.signal, result.timed_out, result.truncated) == (None, False, False)
        assert result.duration_ms > 0

    async def test_merged_output_is_in_order(self, agent: AgentClient) -> None:
        result = await agent.run(ProcessSpec(shell="echo 1; echo 2 >&2; echo 3", merge_output=True))
        assert (result.stdout, result.stderr) == (b"1\n2\n3\n", b"")

    async def test_signal_is_told_and_added_to_128(self, agent: AgentClient) -> None:
        result = await agent.run(shell("kill -TERM $$"))
        assert (result.exit_code, result.signal) == (128 + signal.SIGTERM, signal.SIGTERM)

    async def test_bytes_pass_unchanged(self, agent: AgentClient) -> None:
        result = await agent.run(ProcessSpec(argv=("cat",)), stdin=BINARY)
        assert result.stdout == BINARY

    async def test_both_outputs_may_be_long(self, agent: AgentClient) -> None:
        result = await agent.run(shell("head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2"))
        assert (len(result.stdout), len(result.stderr)) == (3_000_000, 2_000_000)

    async def test_terminal(self, agent: AgentClient) -> None:
        result = await agent.run(ProcessSpec(argv=("stty", "size"), terminal=TerminalSize(33, 77)))
        assert result.stdout == b"33 77\r\n"

    async def test_many_at_once(self, agent: AgentClient) -> None:
        results = await asyncio.gather(*(agent.run(shell(f"echo {number}; exit {number}")) for number in range(40)))
        assert [(result.exit_code, result.stdout) for result in results] == [
            (number, b"%d\n" % number) for number in range(40)
        ]
        assert agent.open_streams == 0


class TestOutputLimit:
    async def test_more_is_dropped_and_told(self, agent: AgentClient) -> None:
        result = await agent.run(shell("head -c 5000000 /dev/zero; exit 7"), output_limit=1000)
        assert (len(result.stdout), result.truncated, result.exit_code) == (1000, True, 7)

    async def test_exactly_the_limit_is_not_truncated(self, agent: AgentClient) -> None:
        result = await agent.run(shell("head -c 1000 /dev/zero"), output_limit=1000)
        assert (len(result.stdout), result.truncated) == (1000, False)

    async def test_agent_does_not_grow(self, agent: AgentClient, running: RunningAgent) -> None:
        before = _resident(running.pid)
        result = await agent.run(shell("head -c 1000000000 /dev/zero"), output_limit=100)
        assert result.truncated
        assert _resident(running.pid) - before < 16 << 20


class TestInput:
    async def test_none_is_the_end_of_input(self, agent: AgentClient) -> None:
        assert (await agent.run(ProcessSpec(argv=("cat",)))).stdout == b""

    async def test_a_command_need_not_read_it(self, agent: AgentClient) -> None:
        result = await agent.run(shell("exit 4"), stdin=BINARY)
        assert result.exit_code == 4

    async def test_too_long(self, agent: AgentClient) -> None:
        with pytest.raises(errors.TooLarge):
            await agent.run(ProcessSpec(argv=("cat",)), stdin=bytes(33 << 20))


class TestTimeout:
    async def test_ends_the_whole_group(self, agent: AgentClient, tmp_path: Path) -> None:
        text = f"sleep 1000 & echo $! > {tmp_path}/pid; trap '' TERM; wait; sleep 1000"
        result = await agent.run(ProcessSpec(shell=text, timeout=0.5))
        assert (result.timed_out, result.exit_code, result.signal) == (True, 137, 9)
        await _gone(agent, int((tmp_path / "pid").read_text()))

    async def test_output_until_then_is_given(self, agent: AgentClient) -> None:
        result = await agent.run(ProcessSpec(shell="echo before; sleep 1000", timeout=0.5))
        assert result.stdout == b"before\n"

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e300])
    async def test_impossible(self, agent: AgentClient, seconds: float) -> None:
        with pytest.raises(errors.InvalidInput):
            await agent.run(ProcessSpec(argv=("true",), timeout=seconds))

    async def test_very_long(self, agent: AgentClient) -> None:
        assert (await agent.run(ProcessSpec(argv=("true",), timeout=1e10))).exit_code == 0


class TestGivenUp:
    async def test_cancelled_caller_ends_the_group(self, agent: AgentClient, tmp_path: Path) -> None:
        pid, task = await self._started(agent, tmp_path)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _gone(agent, pid)
        assert agent.open_streams == 0

    async def test_lost_connection_ends_the_group(self, running: RunningAgent, tmp_path: Path) -> None:
        lost, witness = await running.connect(), await running.connect()
        pid, task = await self._started(lost, tmp_path)
        await lost.close()
        with pytest.raises(errors.AgentUnavailable):
            await task
        await _gone(witness, pid)
        await witness.close()

    async def _started(self, agent: AgentClient, folder: Path) -> tuple[int, "asyncio.Task[object]"]:
        fifo = folder / "fifo"
        os.mkfifo(fifo)
        task = asyncio.ensure_future(agent.run(shell(f"sleep 1000 & echo $! > {fifo}; wait")))
        return int(await asyncio.to_thread(fifo.read_text)), task

    async def test_what_is_left_in_the_background_lives_on(self, agent: AgentClient, tmp_path: Path) -> None:
        """Also where it goes on writing to the output of the command that started it."""
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        text = f"(read go < {fifo}; echo more; echo alive > {fifo}) & echo started"
        assert (await agent.run(shell(text))).stdout == b"started\n"
        await asyncio.to_thread(fifo.write_text, "go\n")
        assert await asyncio.to_thread(fifo.read_text) == "alive\n"


class TestEnvironment:
    async def test_of_a_login(self, agent: AgentClient) -> None:
        result = await agent.run(ProcessSpec(argv=("env",), user="daemon"))
        values = dict(line.split("=", 1) for line in result.stdout.decode().splitlines())
        assert values.items() >= {"USER": "daemon", "LOGNAME": "daemon", "HOME": "/usr/sbin", "LANG": "C.UTF-8"}.items()
        assert "/usr/bin" in values["PATH"].split(":")
        assert not any(name.startswith("MOONPOOL") for name in values)

    async def test_call_over_sandbox_over_login(self, agent: AgentClient) -> None:
        assert await agent.environment({"A": "sandbox", "B": "sandbox", "GONE": "x"}) == {
            "A": "sandbox",
            "B": "sandbox",
            "GONE": "x",
        }
        assert "GONE" not in await agent.environment(unset=["GONE"])
        result = await agent.run(ProcessSpec(shell="echo $A $B $GONE", env={"B": "call"}))
        assert result.stdout == b"sandbox call\n"

    @pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "\0"}])
    async def test_impossible_variables(self, agent: AgentClient, env: dict[str, str]) -> None:
        with pytest.raises(errors.InvalidInput):
            await agent.run(ProcessSpec(argv=("true",), env=env))

    async def test_no_descriptor_of_the_agent(self, agent: AgentClient) -> None:
        result = await agent.run(shell("ls /proc/$$/fd; :"))
        assert result.stdout.split() == [b"0", b"1", b"2", b"255"] or result.stdout.split() == [b"0", b"1", b"2"]

    async def test_signals_are_as_usual(self, agent: AgentClient) -> None:
        result = await agent.run(ProcessSpec(argv=("grep", "-E", "SigBlk|SigIgn", "/proc/self/status")))
        masks = [int(line.split()[1], 16) for line in result.stdout.splitlines()]
        own_of_libc = 0b11 << 31  # 32 and 33, which glibc's posix_spawn leaves ignored
        assert [mask & ~own_of_libc for mask in masks] == [0, 0]


class TestFolder:
    async def test_is_the_home(self, agent: AgentClient) -> None:
        assert (await agent.run(shell("pwd"))).stdout == b"/root\n"

    async def test_named(self, agent: AgentClient, tmp_path: Path) -> None:
        assert (await agent.run(ProcessSpec(argv=("pwd",), cwd=str(tmp_path)))).stdout.strip() == str(tmp_path).encode()

    async def test_missing(self, agent: AgentClient) -> None:
        with pytest.raises(errors.WorkingDirectoryNotFound):
            await agent.run(ProcessSpec(argv=("pwd",), cwd="/nowhere"))

    async def test_forbidden(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "closed").mkdir(mode=0o700)
        with pytest.raises(errors.AccessDenied):
            await agent.run(ProcessSpec(argv=("pwd",), cwd=str(everyones / "closed"), user="nobody"))

    async def test_home_that_is_missing(self, agent: AgentClient) -> None:
        assert (await agent.run(ProcessSpec(argv=("pwd",), user="nobody"))).stdout == b"/\n"


class TestCommand:
    @pytest.mark.parametrize("name", ["nosuchcommand", "/no/such/command", "./nothing", "/etc/passwd/x"])
    async def test_missing(self, agent: AgentClient, name: str) -> None:
        with pytest.raises(errors.CommandNotFound):
            await agent.run(ProcessSpec(argv=(name,)))

    @pytest.mark.parametrize("name", ["/etc/passwd", "/usr"])
    async def test_not_executable(self, agent: AgentClient, name: str) -> None:
        with pytest.raises(errors.AccessDenied):
            await agent.run(ProcessSpec(argv=(name,)))

    async def test_neither_or_both(self, agent: AgentClient) -> None:
        for spec in (ProcessSpec(), ProcessSpec(argv=("true",), shell="true")):
            with pytest.raises(errors.InvalidInput):
                await agent.run(spec)

    async def test_nul(self, agent: AgentClient) -> None:
        for spec in (ProcessSpec(argv=("echo", "a\0b")), shell("echo a\0b"), ProcessSpec(argv=("true",), cwd="/\0")):
            with pytest.raises(errors.InvalidInput):
                await agent.run(spec)

    async def test_arguments_too_long_for_the_kernel(self, agent: AgentClient) -> None:
        with pytest.raises(errors.InvalidInput):
            await agent.run(ProcessSpec(argv=("echo", "x" * 200_000)))

    async def test_other_bytes_than_text(self, agent: AgentClient) -> None:
        word = b"\xff\xfe".decode(errors="surrogateescape")
        assert (await agent.run(ProcessSpec(argv=("printf", "%s", word)))).stdout == b"\xff\xfe"


class TestShellText:
    @pytest.mark.parametrize("length", [1, 131_000, 131_072, 300_000, 10_000_000])
    async def test_of_any_length(self, agent: AgentClient, length: int) -> None:
        result = await agent.run(
            shell(f"printf %s {'x' * length} | wc -c; echo $0; read line; echo end $line"), stdin=b"in"
        )
        lines = result.stdout.split(b"\n")
        assert (int(lines[0]), lines[2], result.exit_code, result.stderr) == (length, b"end in", 0, b"")

    async def test_long_text_leaves_no_descriptor(self, agent: AgentClient) -> None:
        result = await agent.run(shell(f"ls /proc/self/fd | wc -l; : {'x' * 200_000}"))
        assert int(result.stdout) == 4

    async def test_means_what_bash_makes_of_it(self, agent: AgentClient) -> None:
        for text, expected in SHELL_TEXTS:
            result = await agent.run(shell(text))
            assert (result.stdout, result.stderr) == (expected, b""), text

    async def test_unknown_command_is_the_shells_answer(self, agent: AgentClient) -> None:
        result = await agent.run(shell("nosuchcommand --flag"))
        assert result.exit_code == 127
        assert b"nosuchcommand" in result.stderr

    async def test_script_without_an_interpreter_line(self, agent: AgentClient, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("echo plain\n")
        script.chmod(0o755)
        assert (await agent.run(shell(str(script)))).stdout == b"plain\n"

    async def test_environment_of_bash_is_heeded(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "rc").write_text("echo from rc\n")
        result = await agent.run(ProcessSpec(shell="true", env={"BASH_ENV": str(tmp_path / "rc")}))
        assert result.stdout == b"from rc\n"

    async def test_empty(self, agent: AgentClient) -> None:
        with pytest.raises(errors.InvalidInput):
            await agent.run(shell(""))


class TestUser:
    async def test_has_the_users_ids_and_no_more(self, agent: AgentClient) -> None:
        result = await agent.run(ProcessSpec(argv=("cat", "/proc/self/status"), user="nobody"))
        fields = dict(line.split(":\t", 1) for line in result.stdout.decode().splitlines() if ":\t" in line)
        assert fields["Uid"].split() == ["65534"] * 4
        assert fields["Gid"].split() == ["65534"] * 4
        assert fields["Groups"].split() == ["65534"]
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(fields[name], 16) == 0

    async def test_cannot_come_back(self, agent: AgentClient) -> None:
        text = "import os; os.setuid(0)"
        result = await agent.run(ProcessSpec(argv=("python3", "-c", text), user="nobody"))
        assert b"PermissionError" in result.stderr

    async def test_by_number(self, agent: AgentClient) -> None:
        assert (await agent.run(ProcessSpec(shell="id -u; id -g", user="4711"))).stdout == b"4711\n4711\n"
        assert (await agent.run(ProcessSpec(shell="id -un; :", user="65534"))).stdout == b"nobody\n"

    @pytest.mark.parametrize("name", ["nosuchuser", "-1", "4294967295", "99999999999999999999", "²", "a\n"])
    async def test_unknown(self, agent: AgentClient, name: str) -> None:
        with pytest.raises(errors.UserNotFound):
            await agent.run(ProcessSpec(argv=("id",), user=name))

    async def test_root_afterwards_is_root(self, agent: AgentClient) -> None:
        await agent.run(ProcessSpec(argv=("id",), user="nobody"))
        result = await agent.run(ProcessSpec(argv=("cat", "/proc/self/status")))
        fields = dict(line.split(":\t", 1) for line in result.stdout.decode().splitlines() if ":\t" in line)
        assert fields["Uid"].split() == ["0"] * 4
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16)

    async def test_process_limit(self, agent: AgentClient) -> None:
        """A user whose processes are used up gets an answer; the agent and other users go on."""
        await agent.limit(3)
        user, other = (str(100_000 + secrets.randbelow(1_000_000)) for _ in range(2))
        holders = [await agent.start(ProcessSpec(argv=("sleep", "1000"), user=user)) for _ in range(2)]
        with pytest.raises(errors.ProcessLimitReached):
            await agent.run(ProcessSpec(argv=("true",), user=user))  # the agent's own thread is the third for a moment
        assert (await agent.run(ProcessSpec(argv=("true",), user=other))).exit_code == 0
        for holder in holders:
            await agent.signal(holder.pid, signal.SIGKILL)
            await agent.wait(holder.pid)
        assert (await agent.run(ProcessSpec(argv=("true",), user=user))).exit_code == 0


async def _gone(agent: AgentClient, pid: int) -> None:
    """Wait for the end of a process that is not the caller's own."""
    waiting = ProcessSpec(argv=("tail", "--pid", str(pid), "-s", "0.05", "-f", "/dev/null"), timeout=20)
    assert not (await agent.run(waiting)).timed_out


def _resident(pid: int) -> int:
    """Bytes of its own memory that a process has in use."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("RssAnon:"))
    return int(line.split()[1]) << 10
