"""OpenSSH's clients against the server: who is let in, and everything that they then do."""

import asyncio
import logging
import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from moonpool.errors import InvalidInput, SshAccessNotFound
from moonpool.guest.model import Port
from moonpool.sandboxes.model import SandboxState
from moonpool.ssh.hostkey import host_key
from moonpool.ssh.server import Slowness
from moonpool.store.tables import ssh_tokens
from tests.ports import free_port
from tests.unit.ssh.conftest import LIMIT, OPTIONS, Shells, finished

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_commands(shells: Shells) -> None:
    token = await shells.token()
    result = await shells.ssh(token, "cat; echo error >&2; exit 7", given=b"given\0bytes\xff")
    assert (result.code, result.output, result.errors) == (7, b"given\0bytes\xff", b"error\n")
    large = os.urandom(3 << 20)
    assert (await shells.ssh(token, "cat", given=large)).output == large
    assert (await shells.ssh(token, "kill -TERM $$")).code in (255, 143)


async def test_a_shell_without_a_terminal_reads_its_commands(shells: Shells) -> None:
    result = await shells.ssh(await shells.token(), given=b"echo one\necho two\nexit 3\n")
    assert (result.code, result.output) == (3, b"one\ntwo\n")


async def test_a_terminal(shells: Shells) -> None:
    commands = b"stty -echo; tty >/dev/null && echo a-tty; echo $TERM; stty size; exit 5\n"
    result = await shells.ssh(await shells.token(), given=commands, options=("-tt",))
    assert result.code == 5
    assert b"a-tty" in result.output
    assert b"xterm" in result.output
    assert b"24 80" in result.output  # The client has no screen here.


async def test_ctrl_c_and_the_end_of_input(shells: Shells) -> None:
    process = await shells.start(
        await shells.token(), "trap 'echo caught; exit 9' INT; echo up; sleep 60", options=("-tt",)
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT):
        assert b"up" in await process.stdout.readline()
        process.stdin.write(b"\x03")
        assert b"caught" in await process.stdout.read()
    assert await process.wait() == 9


async def test_a_client_that_goes_takes_its_program_along(shells: Shells) -> None:
    process = await shells.start(await shells.token(), "echo $$; exec sleep 300")
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT):
        pid = int(await process.stdout.readline())
        process.kill()
        await process.wait()
        async with shells.inside.sandboxes.session(shells.inside.owner, shells.sandbox.id) as session:
            ended = await session.agent.wait(pid, LIMIT)
    assert ended.signal == signal.SIGHUP


async def test_wrong_tokens_get_nothing_and_wait_longer_each_time(shells: Shells) -> None:
    assert (await shells.ssh("x" * 32, "true")).code == 255
    result = await shells.ssh("root", "true")
    assert (result.code, b"Permission denied" in result.errors) == (255, True)
    slowness = Slowness(shells.clock)
    waits = [slowness.delay("1.2.3.4") for _ in range(8)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 16, 16]
    assert slowness.delay("1.2.3.5") == 0.5
    shells.clock.advance(301)
    assert slowness.delay("1.2.3.4") == 0.5


async def test_a_token_ends(shells: Shells) -> None:
    first = await shells.token()
    second = await shells.token(minutes=1)
    assert (await shells.ssh(first, "true")).code == 255  # It was replaced.
    assert (await shells.ssh(second, "true")).code == 0
    shells.clock.advance(61)
    assert (await shells.ssh(second, "true")).code == 255
    with pytest.raises(InvalidInput):
        await shells.token(minutes=0)


async def test_a_revoked_token_ends_its_connections(shells: Shells) -> None:
    token = await shells.token()
    process = await shells.start(token, "echo up; exec sleep 300")
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT):
        await process.stdout.readline()
        with pytest.raises(SshAccessNotFound):
            await shells.inside.core.ssh.revoke(shells.inside.owner, shells.sandbox.id, "another")
        await shells.inside.core.ssh.revoke(shells.inside.owner, shells.sandbox.id, token)
        assert await process.wait() == 255


async def test_tokens_are_stored_hashed_and_not_logged(shells: Shells, caplog: pytest.LogCaptureFixture) -> None:
    token = await shells.token()
    with caplog.at_level(logging.DEBUG):
        assert (await shells.ssh(token, "echo of-no-interest")).code == 0
    assert not any(told in caplog.text for told in (token, "of-no-interest"))
    async with shells.inside.core.ssh._store.reading() as connection:
        rows = [str(row) for row in await connection.execute(ssh_tokens.select())]
    assert len(rows) == 1
    assert token not in rows[0]


async def test_ports_are_forwarded(shells: Shells) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    inner, outer = server.sockets[0].getsockname()[1], free_port()
    token = await shells.token()
    process = await shells.start(token, "echo up; cat", options=("-L", f"127.0.0.1:{outer}:localhost:{inner}"))
    assert process.stdout is not None
    async with server, asyncio.timeout(LIMIT):
        await process.stdout.readline()
        reader, writer = await asyncio.open_connection("127.0.0.1", outer)
        sent = os.urandom(2 << 20)
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == sent
        writer.close()
        closed = await shells.ssh(token, options=("-W", f"localhost:{free_port()}"))
        elsewhere = await shells.ssh(token, options=("-W", "192.0.2.1:80"))
        process.terminate()
        await process.wait()
    assert (closed.code, elsewhere.code) == (255, 255)


async def test_a_port_inside_leads_to_the_client(shells: Shells) -> None:
    """On the sandbox's loopback, whatever address is named, for as long as the client stays."""

    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).swapcase())
        writer.close()

    server = await asyncio.start_server(upper, "127.0.0.1", 0)
    outer = server.sockets[0].getsockname()[1]
    inner = [free_port(), free_port()]
    wanted = (f"0:127.0.0.1:{outer}", *(f"0.0.0.0:{port}:127.0.0.1:{outer}" for port in inner))
    options = ("-v", *(part for one in wanted for part in ("-R", one)))
    process = await shells.start(await shells.token(), "echo up; cat", options=options)
    assert process.stdout is not None
    assert process.stderr is not None
    async with server, asyncio.timeout(LIMIT):
        confirmed, allocated = 0, 0
        while confirmed < len(wanted) or not allocated:
            told = await process.stderr.readline()
            confirmed += b"remote forward success" in told
            allocated = int(told.split()[2]) if told.startswith(b"Allocated port") else allocated
        await process.stdout.readline()
        for port in (allocated, *inner):
            listening = {one.address for one in await inside_ports(shells) if one.port == port}
            assert listening <= {"127.0.0.1", "::1"}
            assert listening
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            sent = os.urandom(1 << 20)
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == sent.swapcase()
            writer.close()
        process.terminate()
        await process.wait()
        session = shells.inside.sandboxes.session(shells.inside.owner, shells.sandbox.id)
        async with session as used, used.agent.watch_ports() as changes:
            async for ports in changes:
                if not {one.port for one in ports} & {allocated, *inner}:
                    break


async def inside_ports(shells: Shells) -> list[Port]:
    async with shells.inside.sandboxes.session(shells.inside.owner, shells.sandbox.id) as session:
        return await session.agent.ports()


async def test_a_port_that_cannot_be_listened_on(shells: Shells) -> None:
    options = ("-o", "ExitOnForwardFailure=yes", "-R")
    owner, identities = shells.inside.owner, shells.inside.core.identities
    made = await identities.create(owner)
    await identities.grant(owner, made.id, shells.sandbox.id, ("nobody",))
    nobody = f"{shells.sandbox.id}+nobody:{(await identities.create_token(owner, made.id)).secret}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for name, port in ((await shells.token(), taken.getsockname()[1]), (nobody, 81)):
            result = await shells.ssh(name, "true", options=(*options, f"{port}:localhost:80"))
            assert (result.code, b"forwarding failed" in result.errors) == (255, True)
    result = await shells.ssh(await shells.token(), "true", options=(*options, "/tmp/no-socket:localhost:80"))
    assert result.code == 255


async def test_a_listener_that_is_lost_ends_the_connection(shells: Shells) -> None:
    """Nothing else tells the client that its port is not there any more."""
    owner, sandboxes = shells.inside.owner, shells.inside.sandboxes
    process = await shells.start(await shells.token(), options=("-N", "-v", "-R", "0:localhost:80"))
    assert process.stderr is not None
    async with asyncio.timeout(LIMIT):
        while b"Allocated port" not in await process.stderr.readline():
            pass
        await sandboxes.pause(owner, shells.sandbox.id)
        assert await process.wait() == 255
    await sandboxes.start(owner, shells.sandbox.id)


async def test_the_clients_keys(shells: Shells, tmp_path: Path) -> None:
    """By a socket inside that leads to the client's own agent of keys, and goes with it."""
    key, path = tmp_path / "key", tmp_path / "agent"
    for command in (("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ours", "-f", key), ("chmod", "600", key)):
        assert await (await asyncio.create_subprocess_exec(*map(str, command))).wait() == 0
    agent = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", str(path), stdout=asyncio.subprocess.PIPE)
    try:
        assert agent.stdout is not None
        await agent.stdout.readline()
        environment = {"SSH_AUTH_SOCK": str(path)}
        adding = await asyncio.create_subprocess_exec("ssh-add", "-q", str(key), env={**os.environ, **environment})
        assert await adding.wait() == 0
        asked = "ssh-add -l; stat -c %a ${SSH_AUTH_SOCK%/*}; echo $SSH_AUTH_SOCK"
        token = await shells.token()
        process = await shells.start(token, f"{asked}; cat", options=("-A",), env=environment)
        assert process.stdout is not None
        session = shells.inside.sandboxes.session(shells.inside.owner, shells.sandbox.id)
        async with asyncio.timeout(LIMIT), session as used:
            listed, mode, socket_path = [(await process.stdout.readline()).decode().strip() for _ in range(3)]
            assert ("ours" in listed, mode) == (True, "700")
            async with used.agent.watch(os.path.dirname(socket_path)) as events:
                await process.communicate(b"")
                async for _ in events:  # until the folder is gone
                    pass
        assert b"ours" not in (await shells.ssh(token, asked, options=("-a",), env=environment)).output
    finally:
        agent.terminate()
        await agent.wait()


async def test_files_both_ways(shells: Shells, tmp_path: Path) -> None:
    """The agent of this test sees this machine's own files."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    content = os.urandom(5 << 20)
    (here / "up").write_bytes(content)
    (here / "up").chmod(0o640)
    token = await shells.token()
    result = await shells.sftp(
        token,
        f"""
        put -p {here}/up {there}/up
        get {there}/up {here}/down
        mkdir {there}/folder
        rename {there}/up {there}/folder/moved
        ln -s moved {there}/folder/link
        chmod 600 {there}/folder/moved
        ls -la {there}/folder
        -get {there}/missing {here}/missing
        -rmdir {there}/folder
        rm {there}/folder/link
        pwd
        """,
    )
    assert result.code == 0, result.errors
    assert (here / "down").read_bytes() == content
    assert stat.S_IMODE((there / "folder" / "moved").stat().st_mode) == 0o600
    assert os.listdir(there / "folder") == ["moved"]
    assert b"link" in result.output
    assert b"not found" in result.errors.lower() or b"no such file" in result.errors.lower()


async def test_large_files_come_as_fast_as_they_are_asked_for(shells: Shells, tmp_path: Path) -> None:
    """A piece that is cut short has OpenSSH's client ask for a few bytes at a time from then on."""
    content = os.urandom(3 << 20)
    (tmp_path / "there").write_bytes(content)
    source = f"{await shells.token()}@127.0.0.1:{tmp_path}/there"
    process = await asyncio.create_subprocess_exec(
        *("sftp", *OPTIONS, "-vvv", "-P", str(shells.port), source, str(tmp_path / "here")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    told = (await finished(process, b"")).errors
    assert (tmp_path / "here").read_bytes() == content
    assert told.count(b"Short data block") <= 1  # at the end


@pytest.mark.parametrize("options", [(), ("-O",)], ids=["by SFTP", "by its older protocol"])
async def test_scp(shells: Shells, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Files and folders, both ways; the folder that is there already is copied into."""
    here, there, back = (tmp_path / name for name in ("here", "there", "back"))
    (here / "folder").mkdir(parents=True), there.mkdir(), back.mkdir()
    content = os.urandom(300_000)
    (here / "folder" / "file").write_bytes(content)
    remote = f"{await shells.token()}@127.0.0.1:{there}"
    for source, target in ((str(here / "folder"), remote), (f"{remote}/folder", str(back))):
        process = await asyncio.create_subprocess_exec(
            *("scp", *OPTIONS, *options, "-r", "-P", str(shells.port), source, target), stdin=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(LIMIT):
            assert await process.wait() == 0
    assert (there / "folder" / "file").read_bytes() == content
    assert (back / "folder" / "file").read_bytes() == content


async def test_a_file_is_written_on_from_its_end_and_not_in_its_middle(shells: Shells, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"0123456789")
    (tmp_path / "whole").write_bytes(b"0123456789abcdef")
    result = await shells.sftp(await shells.token(), f"reput {tmp_path}/whole {tmp_path}/part\n")
    assert result.code == 0, result.errors
    assert (tmp_path / "part").read_bytes() == b"0123456789abcdef"


async def test_a_paused_sandbox_is_woken_and_a_stopped_one_is_not(shells: Shells) -> None:
    owner, sandboxes = shells.inside.owner, shells.inside.sandboxes
    token = await shells.token()
    await sandboxes.pause(owner, shells.sandbox.id)
    assert (await shells.ssh(token, "echo awake")).output == b"awake\n"
    await sandboxes.stop(owner, shells.sandbox.id)
    result = await shells.ssh(token, "true")
    assert (result.code, b"stopped" in result.errors) == (255, True)
    await sandboxes.start(owner, shells.sandbox.id)
    assert (await sandboxes.get(owner, shells.sandbox.id)).state is SandboxState.RUNNING


async def test_the_host_key_stays(tmp_path: Path) -> None:
    first = host_key(tmp_path)
    assert host_key(tmp_path).export_public_key() == first.export_public_key()
    assert stat.S_IMODE((tmp_path / "ssh_host_key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["ssh_host_key"]


async def test_an_identity_comes_as_one_of_its_users(shells: Shells) -> None:
    identities, owner = shells.inside.core.identities, shells.inside.owner
    made = await identities.create(owner)
    secret = (await identities.create_token(owner, made.id)).secret
    vm = shells.sandbox.id
    assert (await shells.ssh(f"{vm}:{secret}", "true")).code == 255  # No permission yet.
    await identities.grant(owner, made.id, vm, ("nobody",))
    for separator in ":,":
        result = await shells.ssh(f"{vm}+nobody{separator}{secret}", "id -un")
        assert (result.code, result.output) == (0, b"nobody\n")
    assert (await shells.ssh(f"{vm}+root:{secret}", "true")).code == 255
    assert (await shells.ssh(f"{vm}+nobody:wrong", "true")).code == 255
    process = await shells.start(f"{vm}+nobody:{secret}", "echo in; sleep 1000")
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT):
        assert await process.stdout.readline() == b"in\n"
        await identities.revoke(owner, made.id, vm)
        assert await process.wait() == 255
