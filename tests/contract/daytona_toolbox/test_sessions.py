"""Shell sessions: one shell that lives on between commands."""

import asyncio
from typing import Any

import daytona_toolbox_api_client as sdk
import httpx
import pytest
import structlog

from moonpool.dialects.daytona.app import create_app
from moonpool.guest.model import ProcessSpec
from tests.contract.daytona_toolbox.conftest import KEY, each

pytestmark = pytest.mark.asyncio(loop_scope="module")

SDK = {"X-Daytona-SDK-Version": "0.226.1"}
OLD_SDK = {"X-Daytona-SDK-Version": "0.166.0"}
OLDEST_SDK = {"X-Daytona-SDK-Version": "0.26.0"}


class Session:
    def __init__(self, client: httpx.AsyncClient, session_id: str) -> None:
        self.client = client
        self.id = session_id
        self.path = f"/process/session/{session_id}"

    async def run(self, command: str, status: int = 200, **options: Any) -> dict[str, Any]:
        answer = await self.client.post(f"{self.path}/exec", json={"command": command, **options})
        assert answer.status_code == status, answer.text
        if status < 300:
            assert sdk.SessionExecuteResponse.from_dict(answer.json()) is not None
        else:
            assert sdk.ErrorResponse.from_dict(answer.json()) is not None
        return answer.json()

    async def start(self, command: str, **options: Any) -> str:
        return (await self.run(command, 202, runAsync=True, **options))["cmdId"]

    async def command(self, command_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"{self.path}/command/{command_id}")
        assert answer.status_code == 200, answer.text
        assert sdk.Command.from_dict(answer.json()) is not None
        return answer.json()

    async def end_of(self, command_id: str) -> int:
        async with asyncio.timeout(20):
            while (code := (await self.command(command_id)).get("exitCode")) is None:
                await asyncio.sleep(0.02)  # Over this API there is no other way than to ask.
        return int(code)

    async def logs(self, command_id: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.client.get(f"{self.path}/command/{command_id}/logs", headers=headers or SDK)

    async def type(self, command_id: str, data: str) -> httpx.Response:
        return await self.client.post(f"{self.path}/command/{command_id}/input", json={"data": data})


@each
async def session(client: httpx.AsyncClient) -> Session:
    answer = await client.post("/process/session", json={"sessionId": "work"})
    assert (answer.status_code, answer.content) == (201, b"")
    return Session(client, "work")


async def test_streams_apart_and_exit_code(session: Session) -> None:
    answer = await session.run("echo out; echo err >&2; (exit 5)")
    assert (answer["stdout"], answer["stderr"], answer["exitCode"]) == ("out\n", "err\n", 5)
    assert answer["output"] == "out\nerr\n"


async def test_output_is_in_the_order_in_which_it_was_written(session: Session) -> None:
    answer = await session.run("echo e1 >&2; echo o1; echo e2 >&2; printf o2")
    assert answer["output"] == "e1\no1\ne2\no2"
    assert (answer["stdout"], answer["stderr"]) == ("o1\no2", "e1\ne2\n")
    plain = await session.logs(answer["cmdId"], OLDEST_SDK)
    assert plain.text == "e1\no1\ne2\no2"


async def test_state_persists(session: Session) -> None:
    await session.run(
        "mkdir -p deep/er && cd deep && export NAME='a b' && f() { echo \"f $1\"; } && declare -A m=([k]=v)"
    )
    answer = await session.run('pwd; echo "$NAME"; f x; echo "${m[k]}"; cd er')
    assert answer["stdout"] == "/mnt/deep\na b\nf x\nv\n"
    assert (await session.run("pwd"))["stdout"] == "/mnt/deep/er\n"


async def test_the_last_exit_code_is_seen_by_the_next_command(session: Session) -> None:
    await session.run("(exit 9)")
    assert (await session.run("echo $?"))["stdout"] == "9\n"


async def test_exit_ends_the_session_with_its_code(session: Session) -> None:
    async with asyncio.timeout(10):
        answer = await session.run("echo bye; exit 7")
    assert (answer["exitCode"], answer["stdout"]) == (7, "bye\n")
    assert (await session.command(answer["cmdId"]))["exitCode"] == 7
    refused = await session.run("echo more", 410)
    assert refused["code"] == "SESSION_ENDED"
    assert (await session.type(answer["cmdId"], "x")).status_code == 410
    listed = (await session.client.get(session.path)).json()
    assert [(command["command"], command["exitCode"]) for command in listed["commands"]] == [("echo bye; exit 7", 7)]


async def test_a_shell_that_is_killed(session: Session) -> None:
    answer = await session.run("kill -9 $$")
    assert answer["exitCode"] == 137


async def test_a_syntax_error_harms_nobody_else(session: Session) -> None:
    answer = await session.run("echo 'unfinished")
    assert answer["exitCode"] != 0
    assert "unexpected EOF" in answer["stderr"]
    assert (await session.run("echo fine"))["stdout"] == "fine\n"


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("cat", ""),
        ('read line; echo "<$line>"', "<>\n"),
        ("cat <<'END'\na $HOME\nEND", "a $HOME\n"),
        ("echo a # a comment", "a\n"),
        ("printf 'no line end'", "no line end"),
        ("exec 3>&1; echo x >&3", "x\n"),
        ("for i in 1 2\ndo\n  echo $i\ndone\n", "1\n2\n"),
    ],
)
async def test_commands_of_all_kinds(session: Session, command: str, output: str) -> None:
    async with asyncio.timeout(10):
        assert (await session.run(command))["stdout"] == output
        assert (await session.run("echo next"))["stdout"] == "next\n"


async def test_what_looks_like_our_own_words_is_output(session: Session) -> None:
    first = await session.run("true")
    text = f"{first['cmdId']} 0\\n\\001\\001\\001"
    answer = await session.run(f"printf '{text}'; sleep 0.2; printf end")
    assert answer["stdout"] == f"{first['cmdId']} 0\n\x01\x01\x01end"


async def test_a_background_child_keeps_its_output_with_its_command(session: Session) -> None:
    async with asyncio.timeout(10):
        first = await session.run("(sleep 0.5; echo late) & echo started")
        assert first["stdout"] == "started\n"
        second = await session.run("wait; echo second")
    assert second["stdout"] == "second\n"
    assert (await session.logs(first["cmdId"])).json()["stdout"] == "started\nlate\n"


async def test_large_output(session: Session) -> None:
    answer = await session.run("head -c 5000000 /dev/zero | tr '\\0' x")
    assert len(answer["stdout"]) == 5_000_000


async def test_a_long_command(session: Session) -> None:
    answer = await session.run(f"cat <<'END' | wc -c\n{'y' * 1_000_000}\nEND")
    assert answer["stdout"].strip() == "1000001"


async def test_two_at_once_run_one_after_the_other(session: Session) -> None:
    answers = await asyncio.gather(*(session.run(f"echo {n}; sleep 0.1; echo {n}") for n in range(3)))
    assert sorted(answer["stdout"] for answer in answers) == ["0\n0\n", "1\n1\n", "2\n2\n"]


async def test_background_command(session: Session) -> None:
    command_id = await session.start("echo begun; sleep 0.3; echo done; exit_code() { return 3; }; exit_code")
    assert "exitCode" not in await session.command(command_id)
    assert await session.end_of(command_id) == 3
    assert (await session.logs(command_id)).json()["stdout"] == "begun\ndone\n"


async def test_input(session: Session) -> None:
    command_id = await session.start('read a; read b; echo "got $a and $b"')
    assert (await session.type(command_id, "one")).status_code == 204
    assert (await session.type(command_id, "two words\n")).status_code == 204
    assert await session.end_of(command_id) == 0
    assert (await session.logs(command_id)).json()["stdout"] == "one\ntwo words\ngot one and two words\n"
    late = await session.type(command_id, "x")
    assert (late.status_code, late.json()["code"]) == (410, "COMMAND_ALREADY_COMPLETED")


async def test_input_for_a_command_that_has_not_begun(session: Session) -> None:
    await session.start("sleep 0.5")
    command_id = await session.start('read a; echo "got $a"')
    assert (await session.type(command_id, "early")).status_code == 204
    assert await session.end_of(command_id) == 0
    assert (await session.logs(command_id)).json()["stdout"] == "early\ngot early\n"


async def test_input_that_is_not_repeated(session: Session) -> None:
    command_id = await session.start('read a; echo "got $a"', suppressInputEcho=True)
    assert (await session.type(command_id, "secret")).status_code == 204
    assert await session.end_of(command_id) == 0
    assert (await session.logs(command_id)).json()["stdout"] == "got secret\n"


async def test_log_formats(session: Session) -> None:
    command_id = (await session.run("echo out; echo err >&2"))["cmdId"]
    assert (await session.logs(command_id)).json() == {
        "output": "\x01\x01\x01out\n\x02\x02\x02err\n",
        "stdout": "out\n",
        "stderr": "err\n",
    }
    for headers, text in (
        ({"X-Other": "1"}, "out\nerr\n"),
        (OLDEST_SDK, "out\nerr\n"),
        (OLD_SDK, "\x01\x01\x01out\n\x02\x02\x02err\n"),
    ):
        answer = await session.logs(command_id, headers)
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text == text
    assert (await session.logs(command_id, {"X-Daytona-Split-Output": "true"})).json()["stderr"] == "err\n"


@pytest.mark.parametrize("version", ["0.27.1", "0.166.0", "v0.226.1", "0.0.0-dev", "unknown"])
async def test_sdks_take_an_output_apart_by_its_markers(session: Session, version: str) -> None:
    body = {"command": "echo out; echo err >&2"}
    answer = await session.client.post(f"{session.path}/exec", json=body, headers={"X-Daytona-SDK-Version": version})
    assert answer.json()["output"] == "\x01\x01\x01out\n\x02\x02\x02err\n"


async def test_the_oldest_sdks_know_no_markers(session: Session) -> None:
    body = {"command": "echo out; echo err >&2"}
    answer = await session.client.post(f"{session.path}/exec", json=body, headers=OLDEST_SDK)
    assert answer.json()["output"] == "out\nerr\n"


async def test_listing(session: Session, client: httpx.AsyncClient) -> None:
    for number in range(3):
        await session.run(f"echo {number}")
    answer = (await client.get("/process/session")).json()
    assert [sdk.Session.from_dict(item) is not None for item in answer] == [True]
    assert [command["command"] for command in answer[0]["commands"]] == ["echo 0", "echo 1", "echo 2"]


async def test_twice_the_same_id(session: Session, client: httpx.AsyncClient) -> None:
    answer = await client.post("/process/session", json={"sessionId": "work"})
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    both = await asyncio.gather(*(client.post("/process/session", json={"sessionId": "two"}) for _ in range(2)))
    assert sorted(answer.status_code for answer in both) == [201, 409]


async def test_delete_kills_the_tree(session: Session, client: httpx.AsyncClient) -> None:
    await session.start("setsid sleep 4321 & (sleep 4321 & wait) & wait")
    await session.run("true", 202, runAsync=True)
    while await count(client, "sleep 4321") != 2:
        pass
    assert (await client.delete(session.path)).status_code == 204
    assert await count(client, "sleep 4321") == 0
    for answer in (await client.get(session.path), await client.delete(session.path)):
        assert (answer.status_code, answer.json()["source"]) == (404, "DAYTONA_DAEMON")
    await session.run("true", 404)
    assert (await client.get("/process/session")).json() == []
    assert (await client.post("/process/session", json={"sessionId": "work"})).status_code == 201
    assert (await client.get(session.path)).json() == {"sessionId": "work", "commands": []}


async def count(client: httpx.AsyncClient, command: str) -> int:
    answer = await client.post("/process/execute", json={"command": f"pgrep -cxf '{command}'"})
    return int(answer.json()["result"])


@pytest.mark.parametrize("session_id", ["", "a\nb", "x" * 129, "entrypoint"])
async def test_ids_that_are_none(client: httpx.AsyncClient, session_id: str) -> None:
    answer = await client.post("/process/session", json={"sessionId": session_id})
    assert answer.status_code == 400


async def test_strange_ids(client: httpx.AsyncClient) -> None:
    strange = Session(client, "ü%20'\"$(id)..")
    await client.post("/process/session", json={"sessionId": "ü '\"$(id).."})
    assert (await strange.run("echo x"))["stdout"] == "x\n"


@pytest.mark.parametrize("command_id", ["nothing", "%2e%2e", "%2e", "..%2f..%2fx"])
async def test_unknown_commands(session: Session, command_id: str) -> None:
    for path in ("", "/logs"):
        answer = await session.client.get(f"{session.path}/command/{command_id}{path}")
        assert answer.status_code == 404
        assert answer.json()["source"] == "DAYTONA_DAEMON"


async def test_entrypoint(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/process/session/entrypoint")).json()
    assert answer == {"sessionId": "entrypoint", "commands": []}
    logs = (await client.get("/process/session/entrypoint/logs", headers=SDK)).json()
    assert logs == {"output": "", "stdout": "", "stderr": ""}


async def test_entrypoint_of_an_image(client: httpx.AsyncClient, socket_to: Any, world: Any, sandbox: str) -> None:
    async with world.core.sandboxes.session(world.principal, sandbox) as session:
        command = ("sh", "-c", "echo first; read line; echo $line; exit 4")
        spec = ProcessSpec(argv=command, user="root", tag="entrypoint", merge_output=True, stdin=True)
        info = await session.agent.start(spec)
        async with asyncio.timeout(10), socket_to("/process/session/entrypoint/logs?follow=true") as socket:
            assert await socket.recv() == b"\x01\x01\x01first\n"
            logs = (await client.get("/process/session/entrypoint/logs", headers=SDK)).json()
            assert (logs["stdout"], logs["output"]) == ("first\n", "\x01\x01\x01first\n")
            entrypoint = {
                "id": "entrypoint_command",
                "command": "'sh' '-c' 'echo first; read line; echo $line; exit 4'",
            }
            found = (await client.get("/process/session/entrypoint")).json()
            assert found == {"sessionId": "entrypoint", "commands": [entrypoint]}
            await session.agent.write_stdin(info.pid, b"last\n")
            assert await followed(socket) == [("stdout", b"last\n")]
            assert socket.close_code == 1000
    found = (await client.get("/process/session/entrypoint")).json()
    assert found["commands"] == [{**entrypoint, "exitCode": 4}]
    assert (await client.get("/process/session/entrypoint/logs")).text == "first\nlast\n"


async def test_the_vendors_words(session: Session, client: httpx.AsyncClient) -> None:
    await session.run("exit 7")
    ended = await session.run("true", 410)
    unknown = (await client.get("/process/session/nobody")).json()
    terminal = (await client.get("/process/pty/nobody")).json()
    assert [(error["code"], error["message"]) for error in (ended, unknown, terminal)] == [
        ("SESSION_ENDED", "session process has exited"),
        ("PROCESS_NOT_FOUND", "session not found"),
        ("PROCESS_NOT_FOUND", "PTY session not found"),
    ]


async def test_what_is_not_known_yet(session: Session) -> None:
    answer = await session.run("read line", 202, runAsync=True)
    assert answer == {"cmdId": answer["cmdId"], "output": None, "stdout": None, "stderr": None, "exitCode": None}
    assert await session.command(answer["cmdId"]) == {"id": answer["cmdId"], "command": "read line"}


async def followed(socket: Any) -> list[tuple[str, bytes]]:
    """Runs of one stream's bytes, as the SDK takes them apart."""
    runs: list[tuple[str, bytes]] = []
    async for message in socket:
        name = {b"\x01\x01\x01": "stdout", b"\x02\x02\x02": "stderr"}[message[:3]]
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + message[3:])
        else:
            runs.append((name, message[3:]))
    return runs


async def test_follow_replays_then_goes_live(session: Session, socket_to: Any) -> None:
    command_id = await session.start("echo one; sleep 0.3; echo two >&2; sleep 0.3; printf three")
    async with asyncio.timeout(10), socket_to(f"{session.path}/command/{command_id}/logs?follow=true") as socket:
        runs = await followed(socket)
        assert socket.close_code == 1000
    assert runs == [("stdout", b"one\n"), ("stderr", b"two\n"), ("stdout", b"three")]


async def test_messages_are_short(session: Session, socket_to: Any) -> None:
    """The JavaScript SDK fails on one of 120,000 bytes and more, and others decode each by itself."""
    command_id = (await session.run("python3 -c \"print('x' + 'ä€😀' * 40000)\""))["cmdId"]
    async with asyncio.timeout(10), socket_to(f"{session.path}/command/{command_id}/logs?follow=true") as socket:
        messages = [message async for message in socket]
    assert max(map(len, messages)) < 50_000
    assert {message[:3] for message in messages} == {b"\x01\x01\x01"}
    assert "".join(message[3:].decode() for message in messages) == "x" + "ä€😀" * 40000 + "\n"


async def test_messages_that_are_no_text(session: Session, socket_to: Any) -> None:
    command_id = (await session.run("head -c 100000 /dev/zero | tr '\\0' '\\200'"))["cmdId"]
    async with asyncio.timeout(10), socket_to(f"{session.path}/command/{command_id}/logs?follow=true") as socket:
        assert await followed(socket) == [("stdout", b"\x80" * 100_000)]


async def test_follow_what_has_ended(session: Session, socket_to: Any) -> None:
    command_id = (await session.run("echo one"))["cmdId"]
    async with asyncio.timeout(10), socket_to(f"{session.path}/command/{command_id}/logs?follow=true") as socket:
        assert await followed(socket) == [("stdout", b"one\n")]


async def test_follow_to_the_end_of_the_shell(session: Session, socket_to: Any) -> None:
    command_id = await session.start("echo one; sleep 0.2; exit 3")
    async with asyncio.timeout(10), socket_to(f"{session.path}/command/{command_id}/logs?follow=true") as socket:
        assert await followed(socket) == [("stdout", b"one\n")]
    assert (await session.command(command_id))["exitCode"] == 3


async def test_follow_the_entrypoint(socket_to: Any) -> None:
    async with socket_to("/process/session/entrypoint/logs?follow=true") as socket:
        assert await followed(socket) == []


async def test_a_client_that_hangs_up_at_the_end_is_no_error(world: Any, sandbox: str) -> None:
    """As the JavaScript SDK does when it has read the last word."""

    async def send(message: Any) -> None:
        if message["type"] == "websocket.close":
            raise OSError

    async def receive() -> dict[str, str]:
        if not waiting.pop():
            await asyncio.Event().wait()
        return {"type": "websocket.connect"}

    waiting = [False, True]
    scope = {
        "type": "websocket",
        "path": f"/toolbox/{sandbox}/process/session/entrypoint/logs",
        "headers": [(b"authorization", f"Bearer {KEY}".encode())],
        "query_string": b"follow=true",
    }
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(10):
            await create_app(world.core.services)(scope, receive, send)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_sessions_outlive_a_pause(session: Session, world: Any, sandbox: str) -> None:
    await session.run("cd /usr; export KEPT=yes")
    command_id = await session.start("sleep 1; echo done")
    await world.core.sandboxes.pause(world.principal, sandbox)
    refused = await session.run("true", 400)
    # By these words, each in its own case, clients know that they have to start the sandbox.
    for words in ("failed to resolve container IP", "sandbox is not running", "paused", "Is the Sandbox started?"):
        assert words in refused["message"]
    await world.core.sandboxes.resume(world.principal, sandbox)
    assert (await session.run('echo "$PWD $KEPT"'))["stdout"] == "/usr yes\n"
    assert await session.end_of(command_id) == 0
    assert (await session.logs(command_id)).json()["stdout"] == "done\n"
