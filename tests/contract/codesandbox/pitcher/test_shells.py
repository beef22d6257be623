"""Shells: one client's, several clients', and what is left of them."""

import asyncio
from typing import Any

import msgpack
import pytest
from websockets.frames import Frame, Opcode

from tests.contract.codesandbox.pitcher.conftest import Peer, Refused, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = {"cols": 100, "rows": 30}
NOT_FOUND, CLOSED = 204, 201


async def terminal(peer: Peer, command: str = "bash --norc", **options: Any) -> str:
    made = await peer.call("shell/create", command=command, size=SIZE, type="TERMINAL", isSystemShell=True, **options)
    return str(made["shellId"])


async def test_command(peer: Peer) -> None:
    assert await peer.run("echo hi") == (0, "hi\n")
    assert await peer.run("echo no >&2; exit 3") == (3, "no\n")
    assert peer.order.index("shell/exit") > peer.order.index("shell/out") > peer.order.index("answer shell/create")


async def test_command_runs_in_the_workspace_as_its_user(peer: Peer) -> None:
    code, shown = await peer.run("pwd; id -un; echo $HOME; tty >/dev/null && echo tty")
    assert (code, shown.split()) == (0, ["/project/workspace", "root", "/root", "tty"])
    assert await peer.run("pwd", cwd="/usr") == (0, "/usr\n")


async def test_many_lines_come_in_few_pieces(peer: Peer) -> None:
    code, shown = await peer.run("seq 1000")
    assert code == 0
    assert [line for line in shown.split("\n") if line] == [str(number) for number in range(1, 1001)]
    assert sum(name == "shell/out" for name, _ in peer.told) < 100


async def test_characters_are_never_split(peer: Peer) -> None:
    code, shown = await peer.run("for i in $(seq 3000); do printf äöü€😀; done")
    assert (code, shown.replace("\n", "")) == (0, "äöü€😀" * 3000)


async def test_what_is_told_of_a_new_shell_waits_for_its_client(
    world: World, sandbox: str, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.connected(sandbox) as other:
        await other.call("shell/list")
        monkeypatch.setattr("moonpool.dialects.codesandbox.pitcher.client.HOLD", 3600.0)
        made = await peer.call("shell/create", command="echo at once", type="COMMAND")
        assert (made["status"], made["buffer"], "exitCode" in made) == ("RUNNING", [], False)
        assert (made["shellType"], made["startCommand"]) == ("COMMAND", "echo at once")
        assert (await other.heard("shell/exit", shellId=made["shellId"]))["exitCode"] == 0
        await peer.call("shell/list")
        assert not any(name.startswith("shell/") for name, _ in peer.told)
        await peer.call("shell/rename", shellId=made["shellId"], name="known now")
        await peer.heard("shell/exit", shellId=made["shellId"])
        assert [name for name, _ in peer.told if name.startswith("shell/")] == ["shell/out", "shell/exit"]
        assert not any(name == "shell/out" for name, _ in other.told)


class Unread:
    """Makes a client one that has not read yet what was sent to it: it answers no ping."""

    def __init__(self, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
        self._peer = peer
        self._send = peer.socket.protocol.send_frame
        self._marks: list[bytes] = []
        self._patch = monkeypatch
        monkeypatch.setattr(peer.socket.protocol, "send_frame", self._hold_back)

    def _hold_back(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self._marks.append(bytes(frame.data))
        else:
            self._send(frame)

    async def read(self) -> None:
        """Only the last ping is answered, which clients may do."""
        self._patch.setattr(self._peer.socket.protocol, "send_frame", self._send)
        await self._peer.socket.pong(self._marks[-1])


async def test_what_is_told_of_a_new_shell_waits_for_a_client_that_is_slow(
    world: World, sandbox: str, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonpool.dialects.codesandbox.pitcher.client.HOLD", 0.0)
    async with world.connected(sandbox) as other:
        await other.call("shell/list")
        client = Unread(peer, monkeypatch)
        made = [await peer.call("shell/create", command="echo at once", type="COMMAND") for _ in range(2)]
        for one in made:
            await other.heard("shell/exit", shellId=one["shellId"])
        await peer.call("shell/list")
        assert not any(name.startswith("shell/") for name, _ in peer.told)
        await client.read()
        for one in made:
            assert (await peer.heard("shell/exit", shellId=one["shellId"]))["exitCode"] == 0


@pytest.mark.parametrize("limit", ["time", "size"])
async def test_a_client_that_never_says_what_it_has_read_is_told_all_the_same(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr("moonpool.dialects.codesandbox.pitcher.client.HOLD", 0.0)
    if limit == "time":
        monkeypatch.setattr("moonpool.dialects.codesandbox.pitcher.client.LONGEST", 0.0)
    Unread(peer, monkeypatch)
    command = "echo at once" if limit == "time" else "head -c 3000000 /dev/zero | tr '\\0' x"
    made = await peer.call("shell/create", command=command, type="COMMAND")
    assert (await peer.heard("shell/exit", shellId=made["shellId"]))["exitCode"] == 0


async def test_a_client_that_says_nothing_is_told_a_little_later(peer: Peer) -> None:
    made = await peer.call("shell/create", command="echo at once", type="COMMAND")
    assert (await peer.heard("shell/exit", shellId=made["shellId"]))["exitCode"] == 0
    assert peer.order.index("answer shell/create") < peer.order.index("shell/out") < peer.order.index("shell/exit")


async def test_terminal(peer: Peer) -> None:
    shell = await terminal(peer)
    await peer.call("shell/in", shellId=shell, input="stty size; echo $((6 * 7))\n", size=SIZE)
    assert "30 100\r\n42\r\n" in await peer.output(shell, "42")
    await peer.call("shell/in", shellId=shell, input="stty size\n", size={"cols": 91, "rows": 17})
    await peer.output(shell, "17 91")
    (listed,) = (await peer.call("shell/list"))["shells"]
    assert listed == {
        "shellId": shell,
        "name": "bash --norc",
        "status": "RUNNING",
        "shellType": "TERMINAL",
        "ownerUsername": "root",
        "isSystemShell": True,
    }
    await peer.call("shell/in", shellId=shell, input="exit 4\n", size=SIZE)
    assert await peer.heard("shell/exit") == {"shellId": shell, "shellType": "TERMINAL", "exitCode": 4}
    assert (await peer.call("shell/list"))["shells"] == []
    opened = await peer.call("shell/open", shellId=shell, size=SIZE)
    assert (opened["status"], opened["exitCode"]) == ("ERROR", 4)
    assert "42" in opened["buffer"][0]
    with pytest.raises(Refused, match=str(CLOSED)):
        await peer.call("shell/in", shellId=shell, input="x", size=SIZE)


async def test_without_a_command_it_is_a_login_shell(peer: Peer) -> None:
    made = await peer.call("shell/create", size=SIZE)
    await peer.call("shell/in", shellId=made["shellId"], input="shopt login_shell\n", size=SIZE)
    await peer.output(made["shellId"], "on\r\n")


async def test_shells_are_shared(world: World, sandbox: str, peer: Peer) -> None:
    shell = await terminal(peer, "echo before; exec cat")
    await peer.output(shell, "before")
    async with world.connected(sandbox) as other:
        assert [one["shellId"] for one in (await other.call("shell/list"))["shells"]] == [shell]
        await peer.call("shell/in", shellId=shell, input="unseen\n", size=SIZE)
        await peer.output(shell, "unseen\r\nunseen")
        opened = await other.call("shell/open", shellId=shell, size=SIZE)
        assert "before" in opened["buffer"][0]
        assert opened["buffer"][0].count("unseen") == 2
        await other.call("shell/in", shellId=shell, input="seen\n", size=SIZE)
        await other.output(shell, "seen\r\nseen")
        await peer.output(shell, "seen\r\nseen")
        assert not any(name == "shell/out" and "unseen" in told["out"] for name, told in other.told)
        killed = await other.call("shell/terminate", shellId=shell)
        assert killed["status"] == "KILLED"
        for told in (peer, other):
            assert await told.heard("shell/terminate") == {"shellId": shell, "author": "root"}
            assert not any(name == "shell/exit" for name, _ in told.told)
        with pytest.raises(Refused, match=str(NOT_FOUND)):
            await peer.call("shell/open", shellId=shell, size=SIZE)


async def test_shells_outlive_their_clients(world: World, sandbox: str) -> None:
    async with world.connected(sandbox) as first:
        shell = await terminal(first, "echo kept; exec cat")
        await first.call("shell/rename", shellId=shell, name="mine")
        await first.output(shell, "kept")
    async with world.connected(sandbox) as second:
        (listed,) = (await second.call("shell/list"))["shells"]
        assert (listed["shellId"], listed["name"]) == (shell, "mine")
        assert "kept" in (await second.call("shell/open", shellId=shell, size=SIZE))["buffer"][0]
        await second.call("shell/in", shellId=shell, input="again\n", size=SIZE)
        await second.output(shell, "again\r\nagain")


async def test_restart(peer: Peer) -> None:
    shell = await terminal(peer, "echo $$ started; exec cat")
    first = await peer.output(shell, "started")
    await peer.call("shell/restart", shellId=shell)
    await peer.heard("shell/restart", shellId=shell)
    async with asyncio.timeout(60):
        while (await peer.output(shell, "started")).count("started") < 2:
            async with peer.news:
                await peer.news.wait()
    (listed,) = (await peer.call("shell/list"))["shells"]
    assert (listed["shellId"], listed["status"]) == (shell, "RUNNING")
    assert not any(name in ("shell/exit", "shell/terminate") for name, _ in peer.told)
    assert (await peer.call("shell/open", shellId=shell, size=SIZE))["buffer"][0] != first


async def test_killing_takes_the_whole_group(world: World, sandbox: str, peer: Peer) -> None:
    shell = await terminal(peer, "sleep 1234.5 & echo $!; wait")
    pid = int((await peer.output(shell, "\n")).split()[0])
    await peer.call("shell/terminate", shellId=shell)
    code, _ = await peer.run(f"while kill -0 {pid} 2>/dev/null; do :; done")
    assert code == 0


@pytest.mark.parametrize("method", ["shell/open", "shell/in", "shell/rename", "shell/restart", "shell/terminate"])
async def test_unknown_shell(peer: Peer, method: str) -> None:
    with pytest.raises(Refused, match=str(NOT_FOUND)):
        await peer.call(method, shellId="nobody", input="x", name="x", size=SIZE)


async def test_wrong_folder_and_no_command(peer: Peer) -> None:
    with pytest.raises(Refused):
        await peer.call("shell/create", command="true", cwd="/nowhere")
    with pytest.raises(Refused, match="NUL"):
        await peer.call("shell/create", command="a\0b")
    with pytest.raises(Refused, match="type"):
        await peer.call("shell/create", command="true", type="WINDOW")
    assert (await peer.call("shell/list"))["shells"] == []


async def test_a_client_that_goes_at_once_leaves_nothing_unknown(world: World, sandbox: str, peer: Peer) -> None:
    async def hasty() -> None:
        async with world.connected(sandbox) as other:
            for number in range(5):
                request = {"method": "shell/create", "params": {"command": "exec cat"}, "id": number}
                await other.socket.send(msgpack.packb(request))
            other.socket.transport.abort()

    await asyncio.gather(*(hasty() for _ in range(5)))
    await peer.call("shell/list")
    async with world.core.sandboxes.session(world.principal, sandbox) as session:
        running = [info.tag or "" for info in await session.agent.processes() if info.running]
    shells = [one["shellId"] for one in (await peer.call("shell/list"))["shells"]]
    assert all(any(shell in tag for shell in shells) for tag in running)


async def test_a_command_of_any_length(peer: Peer) -> None:
    text = "x" * 300_000
    made = await peer.call("shell/create", command=f"echo {text} | wc -c", type="COMMAND")
    assert await peer.output(made["shellId"], "\n") == "300001\r\n"
