"""Who may come in, what is a message, and who must go."""

import asyncio
from typing import Any

import msgpack
import pytest
import websockets

from moonpool.dialects.codesandbox.pitcher import outbox
from moonpool.dialects.codesandbox.pitcher.shells import MAX_SHELLS
from tests.contract.codesandbox.pitcher.conftest import PATIENCE, WORKSPACE, Peer, Refused, World, shared

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEATURE_UNAVAILABLE, NO_ACCESS, RATE_LIMIT, INVALID_ID = 1, 2, 3, 100
JOIN = {
    "clientInfo": {"protocolVersion": "0.367.10", "appId": "sdk"},
    "asyncProgress": True,
    "subscriptions": {"shell": {"status": True}},
}
MUTATING: list[tuple[str, dict[str, Any]]] = [
    ("setup/init", {}),
    ("shell/create", {"command": "true"}),
    ("shell/in", {"shellId": "x", "input": "x"}),
    ("shell/rename", {"shellId": "x", "name": "x"}),
    ("shell/restart", {"shellId": "x"}),
    ("shell/terminate", {"shellId": "x"}),
    ("fs/writeFile", {"path": "x", "content": b"", "create": True}),
    ("fs/mkdir", {"path": "x"}),
    ("fs/remove", {"path": "x"}),
    ("fs/rename", {"from": "x", "to": "y"}),
    ("fs/copy", {"from": "x", "to": "y"}),
    ("task/run", {"taskId": "x"}),
    ("task/stop", {"taskId": "x"}),
]


@shared
async def sandbox(world: World) -> str:
    """One for all tests of this file."""
    return await world.sandbox()


NO_MESSAGES = [
    b"",
    msgpack.packb({"method": "shell/list", "id": 1})[:-3],
    msgpack.packb([1, 2, 3]),
    msgpack.packb({"id": 1}),
    msgpack.packb({"method": 7, "id": 1}),
    msgpack.packb({"method": "shell/list", "id": "one"}),
    msgpack.packb({"method": "shell/list", "id": -1}),
    b"\xc1" * 100,
    b"\x91" * 100_000,
    b"\xdf\xff\xff\xff\xff",
]


async def test_both_addresses(world: World, sandbox: str) -> None:
    async with world.connected(sandbox, slash="") as peer:
        await peer.ask("client/join", JOIN)
    async with world.connected(sandbox, slash="/") as peer:
        assert peer.socket.protocol.extensions, "compression is offered"
        told = await peer.ask("client/join", JOIN)
        assert told["client"]["username"] == "root"
        assert told["client"]["appId"] == "sdk"
        assert told["workspacePath"] == WORKSPACE
        assert told["reconnectToken"]
        assert set(told) == {
            *("client", "workspacePath", "version", "protocolVersion", "latestPitcherVersion", "capabilities"),
            *("permissions", "isProtected", "reconnectToken"),
        }


async def refused(world: World, sandbox: str, token: str) -> int:
    with pytest.raises(websockets.InvalidStatus) as failure:
        async with world.connected(sandbox, token):
            pass
    return failure.value.response.status_code


async def test_wrong_tokens(world: World, sandbox: str) -> None:
    good = world.token(sandbox)
    other = await world.sandbox()
    for token in ("nonsense", good[:-1], f"{good}x", world.token(other), good.split(".")[0] + ".", "ä.ö"):
        assert await refused(world, sandbox, token) == 401
    assert await refused(world, sandbox, world.token(sandbox, team_id="another")) == 404
    assert await refused(world, "nobody", world.token("nobody")) == 404


async def test_a_token_expires(world: World, sandbox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonpool.dialects.codesandbox.pitcher.tokens.LIFETIME", -1.0)
    assert await refused(world, sandbox, world.token(sandbox)) == 401


async def test_heartbeat(peer: Peer) -> None:
    await peer.socket.send("not empty")
    await peer.socket.send("")
    await peer.heard("pong")
    assert [told for name, told in peer.told if name == "pong"] == [""]


async def test_unknown_methods(peer: Peer) -> None:
    for method in ("git/status", "shell/resize", "", "client/list"):
        with pytest.raises(Refused, match=str(FEATURE_UNAVAILABLE)):
            await peer.call(method)
    with pytest.raises(Refused, match="an earlier SDK's"):
        await peer.call("fs/read")
    assert (await peer.call("shell/list")) == {"shells": []}


async def test_what_is_no_message_ends_the_connection(world: World, sandbox: str) -> None:
    for frame in NO_MESSAGES:
        async with world.connected(sandbox) as peer:
            await peer.socket.send(frame)
            await peer.heard("closed")
            assert peer.socket.close_code == 1007, frame[:20]
    async with world.connected(sandbox) as another:
        await another.call("shell/list")


async def test_wrong_parameters(peer: Peer) -> None:
    with pytest.raises(Refused, match=str(INVALID_ID)):
        await peer.call("shell/open", shellId=7)
    for size in ({"cols": "a", "rows": 1}, {"cols": 1}, 7, {"cols": 10**9, "rows": 1}):
        with pytest.raises(Refused, match="size"):
            await peer.call("shell/create", command="true", size=size)
    assert await peer.ask("shell/list", None) == {"shells": []}
    assert await peer.ask("shell/list", [1]) == {"shells": []}


async def test_a_message_without_an_id_gets_no_answer(peer: Peer) -> None:
    await peer.socket.send(msgpack.packb({"method": "shell/list", "params": {}}))
    assert (await peer.call("shell/list")) == {"shells": []}


async def test_a_reader_changes_nothing(world: World, sandbox: str) -> None:
    async with world.connected(sandbox, world.token(sandbox, "read", session_id="guest")) as reader:
        for method, params in MUTATING:
            with pytest.raises(Refused) as failure:
                await reader.ask(method, params)
            assert failure.value.code == NO_ACCESS, method


async def test_a_reader_looks_on(world: World, sandbox: str, peer: Peer) -> None:
    made = await peer.call("shell/create", command="cat")
    await peer.call("fs/writeFile", path="file", content=b"content", create=True, overwrite=True)
    async with world.connected(sandbox, world.token(sandbox, "read", session_id="guest")) as reader:
        assert (await reader.ask("client/join", JOIN))["client"]["name"] == "guest"
        assert (await reader.call("setup/get"))["state"] == "FINISHED"
        assert (await reader.call("fs/readFile", path="file"))["content"] == b"content"
        await reader.call("shell/open", shellId=made["shellId"], size={"cols": 10, "rows": 10})
        await peer.call("shell/in", shellId=made["shellId"], input="shown\n")
        await reader.output(made["shellId"], "shown\r\nshown")
    await peer.call("shell/terminate", shellId=made["shellId"])


async def test_shells_have_a_limit(world: World, sandbox: str, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_SHELLS <= 1000
    monkeypatch.setattr("moonpool.dialects.codesandbox.pitcher.shells.MAX_SHELLS", 10)
    asked = await asyncio.gather(
        *(peer.call("shell/create", command="exec cat") for _ in range(200)), return_exceptions=True
    )
    errors = [error for error in asked if isinstance(error, Refused)]
    assert (len(asked) - len(errors), {error.code for error in errors}) == (10, {RATE_LIMIT})
    made = [shell["shellId"] for shell in asked if not isinstance(shell, BaseException)]
    await asyncio.gather(*(peer.call("shell/terminate", shellId=shell) for shell in made))
    assert await peer.run("echo room again") == (0, "room again\n")


async def test_a_client_that_never_reads_is_given_up(
    world: World, sandbox: str, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "STALL", 0.5)
    made = await peer.call("shell/create", command="exec yes the same line again and again")
    address = world.address(sandbox)
    async with websockets.connect(address, proxy=None, max_queue=1, ping_interval=None) as deaf:
        await deaf.send(msgpack.packb({"method": "shell/open", "params": {"shellId": made["shellId"]}, "id": 0}))
        await deaf.recv()
        deaf.transport.pause_reading()
        # For its sake the shell has to wait, and with it the others; but not for long.
        async with asyncio.timeout(PATIENCE), peer.news:
            await peer.news.wait_for(lambda: sum(len(told["out"]) for _, told in outputs(peer)) > 20 << 20)
        deaf.transport.abort()
    await peer.call("shell/terminate", shellId=made["shellId"])


def outputs(peer: Peer) -> list[tuple[str, Any]]:
    return [(name, told) for name, told in peer.told if name == "shell/out"]
