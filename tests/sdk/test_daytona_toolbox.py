"""The official Daytona SDK, unchanged, against a real server: what its users do inside a sandbox."""

import asyncio
import gc
import io
import os
import queue
import random
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

# The SDK's own code and its dependencies warn; only this project's warnings are errors.
pytestmark = [pytest.mark.filterwarnings("default")]

LARGE = random.Random(7).randbytes(8 * 1024 * 1024 + 123)


def connected(server: Any) -> Any:
    from daytona import Daytona, DaytonaConfig

    return Daytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api"))


ATTEMPTS = 50


def terminal(sandbox: Any, name: str, **settings: Any) -> Any:
    """A new one. The SDK takes a first message that is later than 0.1 s for an error: it waits for TimeoutError, where
    its library raises queue.Empty. The terminal is there by then."""
    from daytona import DaytonaError

    try:
        return sandbox.process.create_pty_session(name, **settings)
    except DaytonaError as error:
        if not isinstance(error.__cause__, queue.Empty):
            raise
        return terminal_again(sandbox, name)


def terminal_again(sandbox: Any, name: str) -> Any:
    from daytona import DaytonaError

    for _ in range(ATTEMPTS - 1):
        try:
            return sandbox.process.connect_pty_session(name)
        except DaytonaError as error:
            if not isinstance(error.__cause__, queue.Empty):
                raise
    return sandbox.process.connect_pty_session(name)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """The SDK's interpreter leaves its WebSocket to the garbage collector, whose turn may come while the SDK's next
    request holds the very lock that is needed to close it."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def sandbox(server: Any) -> Iterator[Any]:
    from daytona import CreateSandboxFromSnapshotParams

    client = connected(server)
    made = client.create(CreateSandboxFromSnapshotParams(env_vars={"GREETING": "hello"}))
    yield made
    made.delete(wait=True)
    client._event_dispatcher.disconnect()


class TestCommands:
    def test_output_exit_code_and_place(self, sandbox: Any) -> None:
        answer = sandbox.process.exec("id -un; pwd; echo $GREETING $MINE; echo err >&2; exit 3", env={"MINE": "x"})
        assert (answer.exit_code, answer.result) == (3, "daytona\n/home/daytona\nhello x\nerr\n")
        assert sandbox.process.exec("pwd", cwd="/usr").result == "/usr\n"
        assert (sandbox.get_user_home_dir(), sandbox.get_work_dir()) == ("/home/daytona", "/home/daytona")

    def test_localhost_is_one_address(self, sandbox: Any) -> None:
        """The one that is there: who waits for a server hears that it does not listen yet, and not of another."""
        found = sandbox.process.exec("getent ahosts localhost").result.splitlines()
        assert {line.split()[0] for line in found} == {"127.0.0.1"}

    def test_timeout(self, sandbox: Any) -> None:
        from daytona import DaytonaTimeoutError

        begun = time.monotonic()
        with pytest.raises(DaytonaTimeoutError) as failure:
            sandbox.process.exec("trap '' TERM; sleep 60", timeout=1)
        assert time.monotonic() - begun < 30
        assert failure.value.code == "PROCESS_EXECUTION_TIMEOUT"

    def test_missing_folder_and_empty_command(self, sandbox: Any) -> None:
        from daytona import DaytonaError

        assert sandbox.process.exec("pwd", cwd="/no/such/folder").exit_code == -1
        with pytest.raises(DaytonaError) as failure:
            sandbox.process.exec("")
        assert failure.value.status_code == 400

    @pytest.mark.parametrize(
        ("language", "code"),
        [
            ("python", "import sys; print(sys.argv[1:]); sys.exit(2)"),
            ("javascript", "console.log(JSON.stringify(process.argv.slice(2))); process.exit(2)"),
            (
                "javascript",
                "import { argv, exit } from 'node:process'; console.log(JSON.stringify(argv.slice(2))); exit(2)",
            ),
            (
                "javascript",
                "console.log(await Promise.resolve(JSON.stringify(process.argv.slice(2)))); process.exit(2)",
            ),
            (
                "typescript",
                "const a: string[] = process.argv.slice(2); console.log(JSON.stringify(a)); process.exit(2)",
            ),
        ],
    )
    def test_code(self, sandbox: Any, language: str, code: str) -> None:
        from daytona import CodeRunParams
        from daytona_toolbox_api_client import CodeRunRequest

        request = CodeRunRequest(code=code, language=language, argv=["a", "b c"])
        answer = sandbox.process._api_client.code_run(request=request)
        assert (answer.result.replace("'", '"').replace(", ", ","), answer.exit_code) == ('["a","b c"]\n', 2)
        if language == "python":
            again = sandbox.process.code_run(code, CodeRunParams(argv=["z"], env={"A": "b"}))
            assert (again.exit_code, again.artifacts.stdout, again.artifacts.charts) == (2, "['z']\n", [])


class TestSessions:
    def test_typescript_as_sdks_before_0_167_sent_it(self, sandbox: Any) -> None:
        code = b64encode(b"const x: number = 6 * 7; console.log(x, process.argv.slice(2), process.env.WHOSE)").decode()
        program = (
            f" sh -c 'echo {code} | base64 --decode | npx ts-node -O "
            r'"{\"module\":\"CommonJS\"}" -e "$(cat)" x a b 2>&1 | grep -vE "npm notice"'
            "' "
        )
        command = b64encode(program.encode()).decode()
        whose = b64encode(b"my own").decode()
        answer = sandbox.process.exec(
            f"sh -c \"export WHOSE=$(echo '{whose}' | base64 -d); echo '{command}' | base64 -d | sh\""
        )
        assert (answer.result, answer.exit_code) == ("42 [ 'a', 'b' ] my own\n", 0)

    def test_state_and_end(self, sandbox: Any) -> None:
        from daytona import DaytonaError, SessionExecuteRequest

        run = sandbox.process.execute_session_command
        sandbox.process.create_session("state")
        run("state", SessionExecuteRequest(command="cd /usr && export KEPT='a b'"))
        answer = run("state", SessionExecuteRequest(command='echo "$PWD $KEPT"; echo err >&2'))
        assert (answer.stdout, answer.stderr, answer.exit_code) == ("/usr a b\n", "err\n", 0)
        ended = run("state", SessionExecuteRequest(command="exit 7"))
        assert ended.exit_code == 7
        with pytest.raises(DaytonaError) as failure:
            run("state", SessionExecuteRequest(command="true"))
        assert (failure.value.status_code, failure.value.code) == (410, "SESSION_ENDED")
        assert [command.exit_code for command in sandbox.process.get_session("state").commands] == [0, 0, 7]
        assert "state" in [session.session_id for session in sandbox.process.list_sessions()]
        sandbox.process.delete_session("state")
        with pytest.raises(DaytonaError) as failure:
            sandbox.process.get_session("state")
        assert failure.value.status_code == 404

    def test_input_and_followed_logs(self, sandbox: Any) -> None:
        from daytona import SessionExecuteRequest

        sandbox.process.create_session("follow")
        request = SessionExecuteRequest(command="read name; echo hi $name; sleep 0.3; echo bye >&2", run_async=True)
        command = sandbox.process.execute_session_command("follow", request).cmd_id
        sandbox.process.send_session_command_input("follow", command, "moon")
        heard: dict[str, list[str]] = {"stdout": [], "stderr": []}
        asyncio.run(
            sandbox.process.get_session_command_logs_async(
                "follow", command, heard["stdout"].append, heard["stderr"].append
            )
        )
        assert ("".join(heard["stdout"]), "".join(heard["stderr"])) == ("moon\nhi moon\n", "bye\n")
        logs = sandbox.process.get_session_command_logs("follow", command)
        assert (logs.stdout, logs.stderr) == ("moon\nhi moon\n", "bye\n")
        assert sandbox.process.get_session_command("follow", command).exit_code == 0
        sandbox.process.delete_session("follow")

    def test_entrypoint(self, sandbox: Any) -> None:
        assert sandbox.process.get_entrypoint_session().session_id == "entrypoint"
        assert sandbox.process.get_entrypoint_logs().output == ""

    def test_sessions_and_terminals_outlive_a_pause_and_a_killed_server(
        self, server_factory: Callable[..., Any]
    ) -> None:
        from daytona import SessionExecuteRequest

        with server_factory() as server:
            client = connected(server)
            sandbox = client.create()
            run = sandbox.process.execute_session_command
            sandbox.process.create_session("kept")
            run("kept", SessionExecuteRequest(command="cd /usr; export KEPT=yes; x=1"))
            terminal(sandbox, "kept").disconnect()
            sandbox.pause()
            sandbox.start()
            assert run("kept", SessionExecuteRequest(command="echo $PWD $KEPT $x")).stdout == "/usr yes 1\n"
            server.kill()
            server.start_again()
            assert run("kept", SessionExecuteRequest(command="echo $PWD $KEPT $x")).stdout == "/usr yes 1\n"
            assert len(sandbox.process.get_session("kept").commands) == 3
            assert [terminal.id for terminal in sandbox.process.list_pty_sessions()] == ["kept"]
            handle = terminal_again(sandbox, "kept")
            handle.send_input("exit\n")
            assert handle.wait(timeout=20).exit_code == 0
            sandbox.delete(wait=True)
            client._event_dispatcher.disconnect()


class TestTerminals:
    def test_a_terminal(self, sandbox: Any) -> None:
        from daytona.common.pty import PtySize

        handle = terminal(sandbox, "terminal", cwd="/usr", envs={"MINE": "a b"}, pty_size=PtySize(rows=30, cols=100))
        handle.resize(PtySize(rows=31, cols=101))
        handle.send_input('stty size; echo "<$MINE>" $PWD; exit 4\n')
        seen: list[bytes] = []
        result = handle.wait(on_data=seen.append, timeout=20)
        assert (result.exit_code, result.error) == (4, "non-zero exit")
        shown = b"".join(seen)
        assert b"31 101\r\n" in shown
        assert b"<a b> /usr\r\n" in shown

    def test_kill(self, sandbox: Any) -> None:
        from daytona import DaytonaError

        handle = terminal(sandbox, "killed")
        with pytest.raises(DaytonaError) as failure:
            sandbox.process.create_pty_session("killed")
        assert failure.value.status_code == 409
        handle.kill()
        assert handle.wait(timeout=20).exit_code == 137
        assert "killed" not in [terminal.id for terminal in sandbox.process.list_pty_sessions()]


class TestFiles:
    def test_there_and_back(self, sandbox: Any, tmp_path: Path) -> None:
        from daytona import FileUpload

        sandbox.fs.upload_file(LARGE, "large.bin")
        assert sandbox.fs.download_file("large.bin") == LARGE
        (tmp_path / "local").write_bytes(LARGE)
        sandbox.fs.upload_files(
            [FileUpload(source=str(tmp_path / "local"), destination="new/a b.bin"), FileUpload(b"x", "/tmp/ü.txt")]
        )
        sandbox.fs.download_file("new/a b.bin", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == LARGE
        assert sandbox.fs.download_file("/tmp/ü.txt") == b"x"
        sandbox.fs.upload_file_stream(io.BytesIO(LARGE), "streamed.bin")
        assert b"".join(sandbox.fs.download_file_stream("streamed.bin")) == LARGE
        assert sandbox.process.exec("stat -c '%U %a' large.bin").result == "daytona 644\n"

    def test_failures(self, sandbox: Any) -> None:
        from daytona import DaytonaError, DaytonaFileNotFoundError, FileDownloadRequest

        with pytest.raises(DaytonaFileNotFoundError):
            sandbox.fs.download_file("missing")
        with pytest.raises(DaytonaFileNotFoundError):
            sandbox.fs.get_file_info("missing")
        for forbidden in ("/proc/x", "/etc/x"):
            with pytest.raises(DaytonaError, match=f"{forbidden}: .*: {forbidden}'?$"):
                sandbox.fs.upload_file(b"x", forbidden)
        sandbox.fs.upload_file(b"fine", "fine")
        found = sandbox.fs.download_files([FileDownloadRequest(source="missing"), FileDownloadRequest(source="fine")])
        assert (found[0].error_details.error_code, found[1].result) == ("FILE_NOT_FOUND", b"fine")

    def test_operations(self, sandbox: Any) -> None:
        fs = sandbox.fs
        fs.create_folder("tree/sub", "750")
        fs.upload_file(b"one needle\n", "tree/one.py")
        fs.upload_file(b"two\n", "tree/sub/two.py")
        assert [(item.name, item.is_dir) for item in fs.list_files("tree")] == [("one.py", False), ("sub", True)]
        assert len(fs.list_files("tree", depth=2)) == 3
        info = fs.get_file_info("tree/sub")
        assert (info.is_dir, info.permissions, info.owner, info.mode) == (True, "0750", "daytona", "drwxr-x---")
        assert fs.search_files("tree", "*.py").files == [
            "/home/daytona/tree/one.py",
            "/home/daytona/tree/sub/two.py",
        ]
        match = fs.find_files("tree", "needle")[0]
        assert (match.file, match.line, match.content) == ("/home/daytona/tree/one.py", 1, "one needle")
        assert fs.replace_in_files(["tree/one.py"], "needle", "pin")[0].success
        assert fs.download_file("tree/one.py") == b"one pin\n"
        assert b"processor" in fs.download_file("/proc/cpuinfo")  # whose size says 0
        fs.set_file_permissions("tree/one.py", mode="600", owner="daytona", group="daytona")
        assert fs.get_file_info("tree/one.py").permissions == "0600"
        fs.move_files("tree/one.py", "tree/moved.py")
        fs.delete_file("tree/moved.py")
        fs.delete_file("tree", recursive=True)
        assert "tree" not in [item.name for item in fs.list_files(".")]

    def test_the_old_address(self, server: Any, sandbox: Any) -> None:
        headers = {"Authorization": f"Bearer {server.api_key}"}
        base = f"{server.url}/api/toolbox/{sandbox.id}/toolbox"
        with httpx.Client(headers=headers, trust_env=False) as client:
            sent = client.post(f"{base}/files/upload", params={"path": "old"}, files={"file": b"old"})
            assert sent.status_code == 200
            answer = client.post(f"{base}/process/execute", json={"command": "cat old"})
            assert answer.json() == {"exitCode": 0, "result": "old"}

    def test_a_full_disk_is_told_and_survived(self, sandbox: Any) -> None:
        from daytona import DaytonaError

        with pytest.raises(DaytonaError) as failure:
            sandbox.fs.upload_file(b"x" * 100_000, "/dev/full")
        assert "No space left" in str(failure.value)
        assert sandbox.process.exec("echo fine").result == "fine\n"


class TestInterpreter:
    def test_state_contexts_and_errors(self, sandbox: Any) -> None:
        interpreter = sandbox.code_interpreter
        interpreter.run_code("x = 20")
        heard: list[str] = []
        answer = interpreter.run_code("print(x + 1)\nx + 2", on_stdout=lambda message: heard.append(message.output))
        assert (answer.stdout, "".join(heard), answer.error) == ("21\n22\n", "21\n22\n", None)
        context = interpreter.create_context(cwd="/usr")
        other = interpreter.run_code("import os; print(os.getcwd(), 'x' in globals())", context=context)
        assert other.stdout == "/usr False\n"
        assert [item.id for item in interpreter.list_contexts()] == [context.id]
        interpreter.delete_context(context)
        assert interpreter.list_contexts() == []
        assert interpreter.run_code("1 / 0").error.name == "ZeroDivisionError"

    def test_timeout(self, sandbox: Any) -> None:
        from daytona import DaytonaTimeoutError

        with pytest.raises(DaytonaTimeoutError):
            sandbox.code_interpreter.run_code("while True: pass", timeout=1)
        assert sandbox.code_interpreter.run_code("print('alive')").stdout == "alive\n"


def test_a_repository_that_is_not_there(sandbox: Any) -> None:
    from daytona import DaytonaError

    with pytest.raises(DaytonaError, match="No such file or directory") as failure:
        sandbox.git.status("x")
    assert failure.value.status_code == 404


def test_async_sdk(server: Any, sandbox: Any) -> None:
    from daytona import AsyncDaytona, DaytonaConfig, SessionExecuteRequest

    async def use() -> None:
        async with AsyncDaytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api")) as client:
            same = await client.get(sandbox.id)
            answers = await asyncio.gather(*(same.process.exec(f"echo {n}") for n in range(5)))
            assert [answer.result for answer in answers] == [f"{n}\n" for n in range(5)]
            await same.fs.upload_file(LARGE, "async.bin")
            assert await same.fs.download_file("async.bin") == LARGE
            await same.process.create_session("async")
            request = SessionExecuteRequest(command="echo out; echo err >&2", run_async=True)
            command = (await same.process.execute_session_command("async", request)).cmd_id
            heard: list[str] = []
            await same.process.get_session_command_logs_async("async", command, heard.append, heard.append)
            assert sorted("".join(heard).split()) == ["err", "out"]
            await same.process.delete_session("async")
            handle = await same.process.create_pty_session("async", on_data=lambda data: None)
            await handle.send_input("exit 5\n")
            assert (await handle.wait()).exit_code == 5
            result = await same.code_interpreter.run_code("print('async')")
            assert result.stdout == "async\n"

    asyncio.run(use())


def test_large_transfers_leave_the_server_small(server: Any, sandbox: Any, tmp_path: Path) -> None:
    """256 MiB each way. Resident memory is compared with a small multiple of what is in flight."""

    def resident() -> int:
        text = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) * 1024

    local = tmp_path / "large"
    local.write_bytes(os.urandom(1024 * 1024) * 256)
    sandbox.fs.upload_file(LARGE, "warm.bin")
    before = resident()
    sandbox.fs.upload_file(str(local), "large.bin")
    sandbox.fs.download_file("large.bin", str(tmp_path / "back"))
    assert resident() - before < 64 * 1024 * 1024
    assert (tmp_path / "back").stat().st_size == local.stat().st_size
    sandbox.fs.delete_file("large.bin")
