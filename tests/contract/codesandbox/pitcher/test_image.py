"""A workspace's Dockerfile: built as a step of the setup, and in place from the next start on."""

from typing import Any

import httpx
import pytest

from moonpool.access.model import Scope
from moonpool.dialects.codesandbox.details import details_of
from tests.contract.codesandbox.conftest import KEY
from tests.contract.codesandbox.pitcher.conftest import Peer, World
from tests.contract.codesandbox.pitcher.test_workspace import SIZE, configure

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def dockerfile(peer: Peer, text: str, **files: bytes) -> None:
    for name, content in {"Dockerfile": text.encode(), **files}.items():
        path = f".codesandbox/{name}"
        await peer.call("fs/writeFile", path=path, content=content, create=True, overwrite=True)


def token(world: World, sandbox: str, key_id: str | None = None) -> str:
    return world.token(sandbox, key_id=key_id or world.principal.key_id or "")


async def shown(peer: Peer, step: dict[str, Any]) -> str:
    opened = await peer.call("shell/open", shellId=step["shellId"], size=SIZE)
    return "".join(opened["buffer"])


async def again(world: World, sandbox: str) -> None:
    """Shut down and started, as ``csb build`` does between its phases."""
    async with httpx.AsyncClient(base_url=world.base, headers={"X-API-Key": KEY}, trust_env=False) as client:
        for change in ("shutdown", "start"):
            (await client.post(f"/vm/{sandbox}/{change}", json={})).raise_for_status()


async def test_an_image_and_then_the_steps(world: World, sandbox: str) -> None:
    async with world.connected(sandbox, token(world, sandbox)) as peer:
        await dockerfile(peer, "FROM box\nCOPY tool /bin/tool\nENV KIND=built\n", tool=b"#!/bin/sh\n")
        await configure(peer, {"setupTasks": [{"name": "Prepare", "command": "echo prepared > prepared.txt"}]})
        told = await peer.call("setup/get")
        (step,) = told["steps"]
        assert (told["state"], step["name"], step["finishStatus"]) == ("FINISHED", "Image", "SUCCEEDED")
        log = await shown(peer, step)
        assert "COPY tool /bin/tool" in log
        assert "from its next start on" in log
    await again(world, sandbox)
    found = await world.core.sandboxes.get(world.principal, sandbox)
    image = details_of(found).image
    assert image is not None
    assert found.snapshot == image["snapshot"]
    snapshot = await world.core.snapshots.get(world.principal, image["snapshot"])
    assert world.machines.layers.rebased[-1] == (sandbox, snapshot.id, "/project/workspace")
    assert found.config is not None
    assert found.config.env["KIND"] == "built"
    async with world.connected(sandbox, token(world, sandbox)) as peer:
        told = await peer.call("setup/get")
        assert [(step["name"], step["finishStatus"]) for step in told["steps"]] == [
            ("Image", "SUCCEEDED"),
            ("Prepare", "SUCCEEDED"),
        ]
        assert (await peer.call("fs/readFile", path="prepared.txt"))["content"] == b"prepared\n"
    count = len(world.machines.layers.rebased)
    await again(world, sandbox)
    assert len(world.machines.layers.rebased) == count


async def test_one_that_cannot_be_built(world: World, sandbox: str) -> None:
    async with world.connected(sandbox, token(world, sandbox)) as peer:
        await dockerfile(peer, "FROM missing\n")
        await configure(peer, {"setupTasks": ["true"]})
        told = await peer.call("setup/get")
        assert (told["state"], told["steps"][0]["finishStatus"]) == ("STOPPED", "FAILED")
        assert "There is no image" in await shown(peer, told["steps"][0])
        await dockerfile(peer, "FROM box\nNONSENSE\n")
        assert "line 2" in await shown(peer, (await peer.call("setup/get"))["steps"][0])
        await dockerfile(peer, "FROM box\n", large=bytes(17 << 20))
        assert "more than" in await shown(peer, (await peer.call("setup/get"))["steps"][0])
        await peer.call("fs/remove", path=".codesandbox/large")
        assert (await peer.call("setup/get"))["state"] == "FINISHED"


async def test_a_snapshot_that_was_deleted_is_built_again(world: World, sandbox: str) -> None:
    async with world.connected(sandbox, token(world, sandbox)) as peer:
        await dockerfile(peer, "FROM box\n")
        await peer.call("setup/get")
    image = details_of(await world.core.sandboxes.get(world.principal, sandbox)).image
    assert image is not None
    await world.core.snapshots.delete(world.principal, image["snapshot"])
    await again(world, sandbox)
    async with world.connected(sandbox, token(world, sandbox)) as peer:
        assert (await peer.call("setup/get"))["state"] == "FINISHED"
    found = details_of(await world.core.sandboxes.get(world.principal, sandbox)).image
    assert found is not None
    assert found["snapshot"] != image["snapshot"]


async def test_who_may_not(world: World, sandbox: str) -> None:
    async with world.connected(sandbox, token(world, sandbox)) as peer:
        await dockerfile(peer, "FROM box\nRUN nobody may\n")
    reader = world.token(sandbox, "read", key_id=world.principal.key_id or "")
    async with world.connected(sandbox, reader) as peer:
        assert (await peer.call("setup/get"))["state"] == "IDLE"
    scopes = {Scope.SANDBOXES_READ, Scope.SANDBOXES_WRITE}
    key = (await world.core.access.create_key(world.principal, "no snapshots", scopes)).key
    async with world.connected(sandbox, token(world, sandbox, key.id)) as peer:
        told = await peer.call("setup/get")
        assert told["state"] == "STOPPED"
        assert "lacks the scope" in await shown(peer, told["steps"][0])
