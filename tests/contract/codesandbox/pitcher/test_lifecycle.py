"""What becomes of clients and shells when the sandbox goes to rest, comes back, or the server does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from moonpool.sandboxes.model import SandboxState, Timers
from tests.contract.codesandbox.machines import AgentMachines
from tests.contract.codesandbox.pitcher.conftest import Peer, World, running_world
from tests.contract.codesandbox.pitcher.test_connection import refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = {"cols": 80, "rows": 24}


@pytest.mark.parametrize("end", ["pause", "stop", "destroy"])
async def test_clients_are_told_before_they_are_sent_away(world: World, end: str) -> None:
    sandbox = await world.sandbox()
    async with world.connected(sandbox) as first, world.connected(sandbox) as second:
        shell = (await first.call("shell/create", command="exec cat"))["shellId"]
        for method in (await second.call("fs/watch", path=".")).values():
            assert method
        await getattr(world.core.sandboxes, end)(world.principal, sandbox)
        for peer in (first, second):
            assert await peer.heard("system/hibernate") == {}
            await peer.heard("closed")
            assert peer.order.index("system/hibernate") < peer.order.index("closed")
            ended = [told for name, told in peer.told if name == "shell/terminate"]
            assert ended == ([] if end == "pause" else [{"shellId": shell, "author": "system"}])
            assert "shell/exit" not in peer.order
    await world.core.sandboxes.destroy(world.principal, sandbox)


async def test_who_was_told_goes_by_itself(world: World) -> None:
    """A browser would hear of the server's close before it has read the message, and come back."""
    sandbox = await world.sandbox()
    async with world.connected(sandbox) as peer:
        await world.core.sandboxes.pause(world.principal, sandbox)
        await peer.heard("system/hibernate")
        await peer.socket.send("")
        await peer.heard("pong")
        assert "closed" not in peer.order[: peer.order.index("pong")]
        await peer.close()
        assert peer.socket.protocol.close_rcvd_then_sent is False, "the client closed first"
    await world.core.sandboxes.destroy(world.principal, sandbox)


async def test_a_connected_client_does_not_keep_a_sandbox_awake(world: World) -> None:
    sandbox = await world.sandbox()
    async with world.connected(sandbox) as peer:
        await peer.call("shell/create", command="exec cat")
        await peer.call("fs/watch", path=".")
        found = await world.core.sandboxes.get(world.principal, sandbox)
        before = world.core.rules._activity.idle_since(found)
        assert world.core.rules._activity.idle_since(found) == before, "nothing is in use while nothing is asked"
        await peer.call("system/update")
        assert world.core.rules._activity.idle_since(found) > before
    await world.core.sandboxes.destroy(world.principal, sandbox)


async def test_shells_are_there_after_a_pause(world: World, sandbox: str) -> None:
    async with world.connected(sandbox) as peer:
        shell = (await peer.call("shell/create", command="echo before; exec cat"))["shellId"]
        await peer.output(shell, "before")
        await world.core.sandboxes.pause(world.principal, sandbox)
        await peer.heard("closed")
    await world.core.sandboxes.start(world.principal, sandbox)
    async with world.connected(sandbox) as peer:
        assert "before" in (await peer.call("shell/open", shellId=shell, size=SIZE))["buffer"][0]
        await peer.call("shell/in", shellId=shell, input="after\n", size=SIZE)
        await peer.output(shell, "after\r\nafter")


@pytest.mark.parametrize("wanted", [True, False])
async def test_wake_up(world: World, wanted: bool) -> None:
    data: dict[str, Any] = {"automatic_wakeup_config": {"http": not wanted, "websocket": wanted}}
    sandbox = await world.sandbox(dialect_data={"codesandbox": data})
    await world.core.sandboxes.pause(world.principal, sandbox)
    if wanted:
        async with world.connected(sandbox) as peer:
            assert await peer.call("shell/list") == {"shells": []}
        assert await world.state(sandbox) is SandboxState.RUNNING
    else:
        assert await refused(world, sandbox, world.token(sandbox)) == 409
        assert await world.state(sandbox) is SandboxState.PAUSED
    await world.core.sandboxes.destroy(world.principal, sandbox)
    assert await refused(world, sandbox, world.token(sandbox)) in (404, 409)


async def test_a_server_that_comes_back_finds_the_shells(tmp_path_factory: pytest.TempPathFactory) -> None:
    data: Path = tmp_path_factory.mktemp("data")
    machines = AgentMachines()
    try:
        async with running_world(data, machines) as world:
            sandbox = await world.sandbox(timers=Timers())
            token = world.token(sandbox)
            async with world.connected(sandbox) as peer:
                shell = (await peer.call("shell/create", command="echo from the first; exec cat"))["shellId"]
                await peer.call("shell/rename", shellId=shell, name="mine")
                await peer.output(shell, "first")
        async with running_world(data, machines) as world, world.connected(sandbox, token) as peer:
            (listed,) = (await peer.call("shell/list"))["shells"]
            assert (listed["shellId"], listed["name"], listed["status"]) == (shell, "mine", "RUNNING")
            assert "from the first" in (await peer.call("shell/open", shellId=shell, size=SIZE))["buffer"][0]
            await peer.call("shell/restart", shellId=shell)
            await peer.call("shell/in", shellId=shell, input="again\n", size=SIZE)
            await peer.output(shell, "again\r\nagain")
    finally:
        await machines.close()


async def test_many_clients_come_and_go(world: World, sandbox: str) -> None:
    async def visit(number: int) -> None:
        async with world.connected(sandbox) as peer:
            assert await peer.run(f"echo {number}") == (0, f"{number}\n")

    await asyncio.gather(*(visit(number) for number in range(20)))
    async with world.connected(sandbox) as peer:
        assert await alive(peer)


async def alive(peer: Peer) -> bool:
    return await peer.call("shell/list") == {"shells": []}
