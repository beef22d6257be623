"""Ports, tasks and the setup."""

import asyncio
import json
from typing import Any

import pytest

from moonpool.dialects.codesandbox.pitcher.taskfile import RestartOn, Task
from moonpool.dialects.codesandbox.pitcher.tasks import outdated, session_of
from moonpool.guest.client import AgentClient
from tests.contract.codesandbox.pitcher.conftest import PATIENCE, Peer, Refused, World
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

TASK_NOT_FOUND = 601
SIZE = {"cols": 80, "rows": 24}
LISTEN = "exec python3 -m http.server --bind 127.0.0.1 {port}"
SERVE_ONE_AFTER_ANOTHER = """
import socket
first = socket.create_server(("127.0.0.1", {first}))
input()
second = socket.create_server(("127.0.0.1", {second}))
input()
"""


async def configure(peer: Peer, document: Any) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    await peer.call("fs/writeFile", path=".codesandbox/tasks.json", content=text.encode(), create=True, overwrite=True)


async def until_told(peer: Peer, method: str, right: Any) -> Any:
    """The first notification of that name that is right."""

    def found() -> list[Any]:
        return [told for name, told in peer.told if name == method and right(told)]

    async with asyncio.timeout(PATIENCE), peer.news:
        await peer.news.wait_for(found)
    return found()[0]


def numbers(ports: list[dict[str, Any]]) -> list[int]:
    return [port["port"] for port in ports]


async def test_ports_open_and_close(sandbox: str, peer: Peer) -> None:
    port = free_port()
    assert port not in numbers((await peer.call("port/list"))["list"])
    made = await peer.call("shell/create", command=LISTEN.format(port=port), type="COMMAND")
    told = await until_told(peer, "port/changed", lambda told: port in numbers(told["list"]))
    (opened,) = [one for one in told["list"] if one["port"] == port]
    assert opened["url"].startswith(f"{sandbox}-{port}.")
    assert "://" not in opened["url"]
    assert opened in (await peer.call("port/list"))["list"]
    before = len(peer.told)
    await peer.call("shell/terminate", shellId=made["shellId"])
    async with asyncio.timeout(PATIENCE), peer.news:
        await peer.news.wait_for(
            lambda: any(
                name == "port/changed" and port not in numbers(told["list"]) for name, told in peer.told[before:]
            )
        )


async def test_a_port_that_opens_at_an_answer_is_told_after_it(
    world: World, sandbox: str, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK listens once it has read the answer: what comes with it is lost, and with it the wait for the port."""
    port = free_port()
    async with world.connected(sandbox) as other:
        await other.call("shell/list")
        monkeypatch.setattr("moonpool.dialects.codesandbox.pitcher.client.HOLD", 3600.0)
        assert port not in numbers((await peer.call("port/list"))["list"])
        await other.call("shell/create", command=LISTEN.format(port=port), type="COMMAND")
        await until_told(other, "port/changed", lambda told: port in numbers(told["list"]))
        await peer.call("shell/list")
        assert not any(name == "port/changed" and port in numbers(told["list"]) for name, told in peer.told)
        monkeypatch.undo()
        assert port in numbers((await peer.call("port/list"))["list"])
        await until_told(peer, "port/changed", lambda told: port in numbers(told["list"]))


async def test_no_tasks(peer: Peer) -> None:
    assert await peer.call("task/list") == {"tasks": {}, "setupTasks": [], "validationErrors": []}
    for method in ("task/run", "task/stop"):
        with pytest.raises(Refused, match=str(TASK_NOT_FOUND)):
            await peer.call(method, taskId="nothing")


async def test_tasks_file_with_comments_and_mistakes(peer: Peer) -> None:
    await configure(
        peer,
        """{
            // What is done first.
            "setupTasks": ["true", {"name": "Say", "command": "echo //no comment"}, {"name": "nothing"}],
            /* What can be run. */
            "tasks": {"dev": {"name": "Dev", "command": "true", "preview": {"port": 3000}}, "bad": {"name": "x"},},
        }""",
    )
    told = await peer.call("task/list")
    assert told["setupTasks"] == [
        {"name": "true", "command": "true"},
        {"name": "Say", "command": "echo //no comment"},
    ]
    assert told["validationErrors"] == ["setupTasks[2] has no command", "tasks.bad has no command"]
    shown = {"id": "dev", "name": "Dev", "command": "true", "preview": {"port": 3000}, "runAtStart": False}
    assert told["tasks"] == {"dev": {**shown, "shell": None, "ports": []}}
    for text in ("{", "[]", '"x"', '{"tasks": []}', "[" * 5000):
        await configure(peer, text)
        told = await peer.call("task/list")
        assert told["tasks"] == {}
        assert len(told["validationErrors"]) == 1


async def test_a_task_runs_and_stops(world: World, sandbox: str, peer: Peer) -> None:
    port = free_port()
    await configure(peer, {"tasks": {"web": {"name": "Web", "command": f"echo begun; {LISTEN.format(port=port)}"}}})
    started = await peer.call("task/run", taskId="web")
    shell = started["shell"]["shellId"]
    assert (started["shell"]["status"], started["shell"]["shellType"]) == ("RUNNING", "COMMAND")
    await peer.output(shell, "begun")
    told = await until_told(peer, "task/update", lambda told: told["ports"])
    assert (told["id"], numbers(told["ports"])) == ("web", [port])
    async with world.connected(sandbox) as other:
        assert (await other.call("task/list"))["tasks"]["web"]["shell"]["shellId"] == shell
        assert "begun" in (await other.call("shell/open", shellId=shell, size=SIZE))["buffer"][0]
        again = await other.call("task/run", taskId="web")
        assert again["shell"]["shellId"] != shell
        await until_told(peer, "task/update", lambda told: told["shell"]["shellId"] == again["shell"]["shellId"])
        stopped = await other.call("task/stop", taskId="web")
        assert stopped["shell"]["status"] == "KILLED"
        await until_told(peer, "task/update", lambda told: told["shell"]["status"] == "KILLED")
    assert (await peer.call("task/stop", taskId="web"))["shell"]["status"] == "KILLED"


async def test_a_port_that_a_task_says_is_its_own_is_told_as_that_first(peer: Peer) -> None:
    """The SDK knows a task's ports from that alone, and waits for none that it does not know when it is asked."""
    port = free_port()
    task = {"name": "Web", "command": LISTEN.format(port=port), "preview": {"port": port}}
    await configure(peer, {"tasks": {"web": task}})
    await peer.call("task/run", taskId="web")
    await until_told(peer, "port/changed", lambda told: port in numbers(told["list"]))
    speaking = [
        name
        for name, told in peer.told
        if name in ("port/changed", "task/update") and port in numbers(told.get("list") or told.get("ports", []))
    ]
    assert speaking[0] == "task/update"
    await peer.call("task/stop", taskId="web")


async def test_a_port_that_opens_while_another_one_s_task_is_looked_for_is_the_task_s_too(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = free_port(), free_port()
    looking, opened = asyncio.Event(), asyncio.Event()

    async def look(agent: AgentClient, pid: int) -> int:
        looking.set()
        await opened.wait()
        return await session_of(agent, pid)

    monkeypatch.setattr("moonpool.dialects.codesandbox.pitcher.tasks.session_of", look)
    program = SERVE_ONE_AFTER_ANOTHER.format(first=first, second=second).encode()
    await peer.call("fs/writeFile", path="serve.py", content=program, create=True, overwrite=True)
    await configure(peer, {"tasks": {"web": {"name": "Web", "command": "exec python3 serve.py"}}})
    shell = (await peer.call("task/run", taskId="web"))["shell"]["shellId"]
    async with asyncio.timeout(PATIENCE):
        await looking.wait()
    await peer.call("shell/in", shellId=shell, input="\n", size=SIZE)
    await until_told(peer, "port/changed", lambda told: second in numbers(told["list"]))
    opened.set()
    await until_told(peer, "task/update", lambda told: set(numbers(told["ports"])) == {first, second})
    await peer.call("task/stop", taskId="web")


async def test_a_task_that_ends(peer: Peer) -> None:
    await configure(peer, {"tasks": {"one": {"command": "exit 7"}}})
    started = await peer.call("task/run", taskId="one")
    assert started["name"] == "one"
    assert (await peer.heard("shell/exit", shellId=started["shell"]["shellId"]))["exitCode"] == 7
    told = await until_told(peer, "task/update", lambda told: told["shell"]["status"] == "ERROR")
    assert told["shell"]["exitCode"] == 7


def restarting(**when: Any) -> dict[str, Any]:
    """Tasks of which one says in a file when it was started, and the other is never started again."""
    task = {"command": "echo begun >>begun; exec cat", "restartOn": when}
    return {"tasks": {"dev": task, "other": {"command": "exec cat"}}}


async def begun(peer: Peer, times: int) -> None:
    await until(peer, f'[ "$(wc -l <begun)" = {times} ]')


async def until(peer: Peer, condition: str) -> None:
    code, _ = await peer.run(f"until {condition}; do :; done")
    assert code == 0


async def test_what_starts_a_task_again_is_shown(peer: Peer) -> None:
    await configure(peer, restarting(files=["./package.json", "../x", "/etc/passwd"], resume=True, branch="yes"))
    told = await peer.call("task/list")
    assert told["tasks"]["dev"]["restartOn"] == {
        "files": ["package.json"], "branch": False, "clone": False, "resume": True
    }  # fmt: skip
    assert "restartOn" not in told["tasks"]["other"]
    assert told["validationErrors"] == ["tasks.dev.restartOn.files must be at most 32 paths in the workspace"]


async def test_files_and_branches_start_a_task_again(peer: Peer) -> None:
    await peer.run(
        "git init -q -b one . && git -c user.name=a -c user.email=a commit -q --allow-empty -m x; touch lock"
    )
    await configure(peer, restarting(files=["lock", "deep/lock"], branch=True))
    started = (await peer.call("task/run", taskId="dev"))["shell"]["shellId"]
    other = (await peer.call("task/run", taskId="other"))["shell"]["shellId"]
    await begun(peer, 1)
    await peer.run("echo changed >lock")
    await until_told(peer, "task/update", lambda told: told["id"] == "dev" and told["shell"]["shellId"] != started)
    await begun(peer, 2)
    await peer.run("git checkout -q -b two")
    await begun(peer, 3)
    await peer.call("task/stop", taskId="dev")
    await peer.run("echo changed again >lock; echo no >unlock")
    await peer.call("task/run", taskId="dev")
    await begun(peer, 4)
    assert (await peer.call("task/list"))["tasks"]["other"]["shell"]["shellId"] == other


async def test_a_hibernation_starts_a_task_again(world: World, sandbox: str) -> None:
    async with world.connected(sandbox) as peer:
        await configure(peer, restarting(resume=True))
        started = (await peer.call("task/run", taskId="dev"))["shell"]["shellId"]
        other = (await peer.call("task/run", taskId="other"))["shell"]["shellId"]
        await begun(peer, 1)
    async with world.connected(sandbox) as peer:
        await peer.call("setup/get")
        assert (await peer.call("task/list"))["tasks"]["dev"]["shell"]["shellId"] == started
    await world.core.sandboxes.pause(world.principal, sandbox)
    await world.core.sandboxes.resume(world.principal, sandbox)
    async with world.connected(sandbox) as peer:
        await peer.call("setup/get")
        await begun(peer, 2)
        assert (await peer.call("task/list"))["tasks"]["other"]["shell"]["shellId"] == other
    async with world.connected(sandbox) as peer:
        await peer.call("setup/get")
        assert (await peer.call("task/list"))["tasks"]["dev"]["shell"]["status"] == "RUNNING"
        await begun(peer, 2)


@pytest.mark.parametrize(
    ("when", "began", "again"),
    [
        (RestartOn(clone=True), ("another", "1"), True),
        (RestartOn(resume=True), ("another", "1"), False),
        (RestartOn(clone=True), ("this", "1"), False),
        (RestartOn(resume=True), ("this", "1"), True),
        (RestartOn(resume=True, clone=True), ("this", "2"), False),
        (RestartOn(resume=True, clone=True), None, False),
        (None, ("another", "1"), False),
    ],
)
async def test_copies_start_tasks_again(when: RestartOn | None, began: tuple[str, str] | None, again: bool) -> None:
    assert outdated(Task("dev", "dev", "cat", restart_on=when), began, ("this", "2")) is again


async def test_without_steps_the_setup_is_done(peer: Peer) -> None:
    told = await peer.call("setup/get")
    (step,) = told["steps"]
    assert (told["state"], told["currentStepIndex"], step["finishStatus"]) == ("FINISHED", 0, "SUCCEEDED")
    opened = await peer.call("shell/open", shellId=step["shellId"], size=SIZE)
    assert (opened["status"], opened["shellType"], opened["buffer"]) == ("FINISHED", "COMMAND", [])
    assert await peer.ask("setup/init", None) == told


async def test_setup(world: World, sandbox: str) -> None:
    steps = [{"name": "First", "command": "echo one >> log; pwd"}, {"name": "Second", "command": "echo two >> log"}]
    task = {"command": "echo three >> log; exec cat", "runAtStart": True}
    async with world.connected(sandbox) as peer:
        await configure(peer, {"setupTasks": steps, "tasks": {"dev": task}})
        told = await peer.call("setup/get")
        assert [step["finishStatus"] for step in told["steps"]] == ["SUCCEEDED", "SUCCEEDED"]
        assert told["state"] == "FINISHED"
        states = [params["state"] for name, params in peer.told if name == "setup/progress"]
        assert states[0] == "IN_PROGRESS"
        assert states[-1] == "FINISHED"
        first = await peer.call("shell/open", shellId=told["steps"][0]["shellId"], size=SIZE)
        assert (first["status"], first["buffer"]) == ("FINISHED", ["/project/workspace\r\n"])
        await until_log(peer, "one\ntwo\nthree\n")
    # It is done once for each disk, and its tasks run already.
    async with world.connected(sandbox) as peer:
        assert (await peer.call("setup/get"))["state"] == "FINISHED"
        assert (await peer.call("task/list"))["tasks"]["dev"]["shell"]["status"] == "RUNNING"
        assert (await peer.call("fs/readFile", path="log"))["content"] == b"one\ntwo\nthree\n"


async def until_log(peer: Peer, text: str) -> None:
    code, _ = await peer.run(f'until [ "$(cat log)" = "$(printf "{text}")" ]; do :; done'.replace("\n", "\\n"))
    assert code == 0


async def test_a_step_is_followed_while_it_runs(world: World, sandbox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonpool.dialects.codesandbox.pitcher.setup.PATIENCE", 0.0)
    async with world.connected(sandbox) as peer:
        await configure(peer, {"setupTasks": ["echo waiting; until [ -e go ]; do :; done", "echo last"]})
        told = await peer.call("setup/get")
        assert (told["state"], told["currentStepIndex"]) == ("IN_PROGRESS", 0)
        first, second = (step["shellId"] for step in told["steps"])
        pending = await peer.call("shell/open", shellId=second, size=SIZE)
        assert (pending["status"], pending["buffer"]) == ("RUNNING", [])
        await peer.call("shell/open", shellId=first, size=SIZE)
    # It goes on without anybody.
    async with world.connected(sandbox) as peer:
        assert (await peer.call("setup/get"))["state"] == "IN_PROGRESS"
        await peer.call("shell/open", shellId=second, size=SIZE)
        await peer.call("fs/writeFile", path="go", content=b"", create=True, overwrite=True)
        await until_told(peer, "setup/progress", lambda told: told["state"] == "FINISHED")
        assert await peer.output(second, "last") == "last\r\n"


async def test_a_step_that_fails(world: World, sandbox: str) -> None:
    async with world.connected(sandbox) as peer:
        await configure(peer, {"setupTasks": ["test -e there", "echo done > last"]})
        told = await peer.call("setup/get")
        assert told["state"] == "STOPPED"
        assert [step["finishStatus"] for step in told["steps"]] == ["FAILED", None]
        opened = await peer.call("shell/open", shellId=told["steps"][0]["shellId"], size=SIZE)
        assert (opened["status"], opened["exitCode"]) == ("ERROR", 1)
    async with world.connected(sandbox) as peer:
        assert (await peer.call("setup/get"))["state"] == "STOPPED"
        await peer.call("fs/writeFile", path="there", content=b"", create=True, overwrite=True)
        assert (await peer.ask("setup/init", None))["state"] == "IN_PROGRESS"
        await until_told(peer, "setup/progress", lambda told: told["state"] == "FINISHED")
        assert (await peer.call("fs/readFile", path="last"))["content"] == b"done\n"


async def test_a_reader_begins_no_setup(world: World, sandbox: str, peer: Peer) -> None:
    await configure(peer, {"setupTasks": ["true"]})
    async with world.connected(sandbox, world.token(sandbox, "read")) as reader:
        told = await reader.call("setup/get")
        assert (told["state"], len(told["steps"])) == ("IDLE", 1)
