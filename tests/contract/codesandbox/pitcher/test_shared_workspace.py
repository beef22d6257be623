"""Sessions that may write change each other's files, whoever made them and by which way."""

from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.contract.codesandbox.pitcher.conftest import KEY, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def session_token(world: World, sandbox: str, name: str) -> str:
    async with httpx.AsyncClient(base_url=world.base, trust_env=False, timeout=60) as http:
        body = {"session_id": name, "permission": "write"}
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = await http.post(f"/vm/{sandbox}/sessions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["pitcher_token"])


async def make(peer: Any, name: str) -> None:
    """A file and a folder by the protocol, and both by a command."""
    await peer.call("fs/writeFile", path=f"{name}-file", content=b"made\n", create=True, overwrite=True)
    await peer.call("fs/mkdir", path=f"{name}-folder")
    assert await peer.run(f"mkdir {name}-shell && echo made > {name}-shell/file") == (0, "")


async def change(peer: Any, name: str) -> None:
    await peer.call("fs/writeFile", path=f"{name}-file", content=b"changed\n", create=True, overwrite=True)
    await peer.call("fs/writeFile", path=f"{name}-folder/new", content=b"new\n", create=True, overwrite=True)
    command = f"echo more >> {name}-file && echo more >> {name}-folder/new && echo more >> {name}-shell/file"
    assert await peer.run(command) == (0, "")
    await peer.call("fs/remove", path=f"{name}-shell", recursive=True)


async def test_everybody_changes_what_the_others_made(world: World, sandbox: str) -> None:
    tokens = {name: await session_token(world, sandbox, name) for name in ("anna", "bert")}
    async with AsyncExitStack() as stack:
        peers = {"root": await stack.enter_async_context(world.connected(sandbox))}
        for name, token in tokens.items():
            peers[name] = await stack.enter_async_context(world.connected(sandbox, token))
        for name, peer in peers.items():
            assert (await peer.run("id -un"))[1].strip() == ("root" if name == "root" else f"csb-{name}")
            await make(peer, name)
        for maker, changer in (("root", "anna"), ("anna", "bert"), ("bert", "root")):
            await change(peers[changer], maker)
        assert (await peers["anna"].call("fs/readFile", path="root-file"))["content"] == b"changed\nmore\n"


async def test_a_session_stays_out_of_the_others_homes(world: World, sandbox: str) -> None:
    await session_token(world, sandbox, "anna")
    token = await session_token(world, sandbox, "bert")
    async with world.connected(sandbox, token) as bert:
        for path in ("/home/csb-anna/x", "/root/x", "/etc/x"):
            code, _ = await bert.run(f"touch {path} 2>/dev/null")
            assert code == 1, path


async def test_every_home_has_a_place_for_secrets(world: World, sandbox: str) -> None:
    tokens = {"root": world.token(sandbox), "csb-carl": await session_token(world, sandbox, "carl")}
    for user, token in tokens.items():
        async with world.connected(sandbox, token) as peer:
            await peer.call("setup/get")  # as the SDK does it while it connects
            assert await peer.run('stat -c "%a %U" ~/.private') == (0, f"700 {user}\n")
            assert await peer.run("echo export WORD=secret > ~/.private/.env") == (0, "")
            assert await peer.run("echo $WORD") == (0, "secret\n")


async def test_one_repository_for_all(world: World, sandbox: str) -> None:
    """Also for a user whose own configuration of git is not the one that the session was made with."""
    begin = "rm -f ~/.gitconfig && git init -q && git config user.name A && git config user.email a@b.test"
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(world.connected(sandbox))
        anna, bert = [
            await stack.enter_async_context(world.connected(sandbox, await session_token(world, sandbox, name)))
            for name in ("anna", "bert")
        ]
        for number, peer in enumerate((anna, bert, root)):
            commit = (
                f"echo {number} > file && git add file && git commit -qm {number} && git --no-pager log --format=%s -1"
            )
            assert await peer.run(f"{begin} && {commit}" if peer is anna else commit) == (0, f"{number}\n")
