"""The agent in a real sandbox, where its kernel differs from the one that unit tests run on."""

import asyncio
import io
import signal
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.files.service import FileService
from moonpool.guest.client import AgentClient
from moonpool.guest.model import TELEMETRY_PORT, FileEvent, Output, ProcessSpec, TerminalSize
from moonpool.guest.streams import LARGE
from moonpool.hosts.host import Host
from moonpool.hosts.model import MachineSpec, Resources
from moonpool.hosts.settings import HostSettings
from moonpool.ids import new_sandbox_id
from moonpool.processes.ports import PortService
from moonpool.sandboxes.model import Fork, NewSandbox
from moonpool.store.database import Store
from tests.data import data_folder

LIMIT = 60.0  # seconds that a test waits for anything
FOLDER = "/srv/watched"
Told = tuple[str, str]
SEND = "curl -s -o /dev/null -w '%{{http_code}}' -H 'Content-Type: application/json' -d {body} localhost:{port}/v1/logs"


@asynccontextmanager
async def running_host() -> AsyncIterator[tuple[Host, Path]]:
    with data_folder() as data:
        host = await Host.open(HostSettings(data=data, warm_pool=1))
        try:
            yield host, data
        finally:
            await host.close()


@asynccontextmanager
async def sandbox(host: Host) -> AsyncIterator[MachineSpec]:
    identifier = new_sandbox_id()
    resources = Resources(cpu=1.0, memory_mib=1024, disk_mib=3072)
    spec = MachineSpec(id=identifier, image="base", resources=resources, hostname=identifier, user="root")
    await host.create(spec)
    try:
        yield spec
    finally:
        await host.destroy(spec.id)


async def run(agent: AgentClient, command: str, user: str = "root") -> str:
    result = await agent.run(ProcessSpec(shell=command, user=user))
    assert result.exit_code == 0, result.stderr
    return result.stdout.decode()


async def until(events: AsyncIterator[FileEvent], *last: Told) -> list[Told]:
    told, missing = [], set(last)
    async with asyncio.timeout(LIMIT):
        while missing:
            event = await anext(events)
            told.append((event.kind, event.path.removeprefix(FOLDER)))
            missing.discard(told[-1])
    return told


async def changes_are_told(agent: AgentClient) -> None:
    async with agent.watch(FOLDER, recursive=True) as events:
        await run(agent, f"cd {FOLDER}; mkdir -p a/b; echo 1 > a/b/f")
        assert await until(events, ("created", "/a"), ("created", "/a/b"), ("created", "/a/b/f"))
        await run(agent, f"cd {FOLDER}; mv a z; echo 2 > z/b/g")
        assert ("moved", "/z") in await until(events, ("created", "/z/b/g"), ("modified", "/z/b/g"))
        await run(agent, f": > {FOLDER}/z/b/g")
        await until(events, ("modified", "/z/b/g"))
        await run(agent, f"chmod 600 {FOLDER}/z/b/g; rm {FOLDER}/z/b/f")
        await until(events, ("attributes", "/z/b/g"), ("deleted", "/z/b/f"))
        async with agent.write(f"{FOLDER}/own") as file:
            await file.write(b"1")
        assert await until(events, ("created", "/own")) == [("created", "/own")]
        async with agent.write(f"{FOLDER}/own") as file:
            await file.write(b"2")
        assert await until(events, ("modified", "/own")) == [("modified", "/own")]
        async with agent.write(f"{FOLDER}/large") as file:
            await file.write(bytes(2 * LARGE))
        told = await until(events, ("created", "/large"))
        # Of the file before, each write counts: one more may come.
        assert [event for event in told if event != ("modified", "/own")] == [("created", "/large")]
        await run(agent, f"rm -r {FOLDER}/z/b; mv {FOLDER}/z /tmp/; touch /tmp/z/unseen {FOLDER}/seen")
        assert ("created", "/unseen") not in await until(events, ("deleted", "/z"), ("created", "/seen"))


async def users_are_real(agent: AgentClient) -> None:
    await agent.ensure_group("crew", 4321)
    await agent.ensure_user("dev", groups=["crew"], sudo=True)
    assert await run(agent, "id -un; id -Gn; cd; pwd; echo $HOME", "dev") == "dev\ndev sudo crew\n" + 2 * "/home/dev\n"
    assert await run(agent, "sudo -n id -u; touch ~/mine; stat -c %U ~/.bashrc", "dev") == "0\ndev\n"
    assert await run(agent, "pwck -rq; grpck -rq; echo ok") == "ok\n"
    await agent.ensure_user("other")
    denied = await agent.run(ProcessSpec(shell="sudo -n id -u", user="other"))
    assert denied.exit_code != 0


async def terminals_end_whole(agent: AgentClient) -> None:
    spec = ProcessSpec(argv=("bash", "--norc", "-i"), tag="shell", terminal=TerminalSize(), env={"PS1": "$ "})
    await agent.start(spec)
    async with agent.attach("shell") as events, asyncio.timeout(LIMIT):
        await agent.write_stdin("shell", b"nohup sleep 1000 & echo st''arted\n")
        async for event in events:
            if isinstance(event, Output) and b"started" in event.data:
                break
    await agent.signal("shell", signal.SIGKILL)
    async with asyncio.timeout(LIMIT):
        await agent.wait_alone()


async def ports_are_told(agent: AgentClient) -> None:
    async with agent.watch_ports() as lists, asyncio.timeout(LIMIT):
        assert await anext(lists) == ()
        server = await agent.start(ProcessSpec(argv=("python3", "-m", "http.server", "8000")))
        assert [(port.port, port.pid) for port in await anext(lists)] == [(8000, server.pid)]
        await agent.forget(server.pid)
        assert await anext(lists) == ()


async def folders_are_packed(agent: AgentClient) -> None:
    async with agent.archive("/usr/lib/python3/dist-packages") as reader:
        archive = zipfile.ZipFile(io.BytesIO(b"".join([piece async for piece in reader])))
    assert archive.testzip() is None
    assert len(archive.namelist()) == int(await run(agent, "find /usr/lib/python3/dist-packages -mindepth 1 | wc -l"))


async def watching_keeps_nothing_awake_or_unsaved(host: Host, spec: MachineSpec) -> None:
    """A pause ends a watch with a clear error, and what was watched, even a deleted folder, can be saved."""
    async with host.session(spec.id) as agent:
        await agent.mkdir(f"{FOLDER}/new")
        async with agent.watch(FOLDER, recursive=True) as events, agent.watch(f"{FOLDER}/new") as gone:
            await agent.remove(f"{FOLDER}/new")
            await until(events, ("deleted", "/new"))
            await until(gone, ("deleted", "/new"))
            await host.pause(spec.id)
            with pytest.raises(errors.AgentUnavailable):
                await anext(events)
    await host.resume(spec)
    async with host.session(spec.id) as agent, agent.watch(FOLDER) as events:
        await run(agent, f"touch {FOLDER}/after")
        await until(events, ("created", "/after"))
    async with asyncio.timeout(LIMIT):
        await host.asleep(spec.id)


async def telemetry_is_told_and_taken(host: Host, spec: MachineSpec) -> None:
    """From any user's program, before and after a pause; and the endpoint is the programs' own."""
    told: asyncio.Queue[str] = asyncio.Queue()
    host.notices.listen(told.put_nowait)
    async with asyncio.timeout(LIMIT):
        async with host.session(spec.id) as agent:
            assert "200" in await run(agent, SEND.format(port=TELEMETRY_PORT, body='{\\"a\\":1}'), user="nobody")
            assert await told.get() == spec.id
            (first,) = await agent.take_telemetry(0)
            assert (first.signal, first.media_type, first.body) == ("logs", "application/json", b'{"a":1}')
            assert await agent.take_telemetry(first.number) == []
            assert TELEMETRY_PORT not in [port.port for port in await agent.ports()]
            with pytest.raises(errors.PortClosed):
                async with agent.dial(TELEMETRY_PORT):
                    pass
        await host.pause(spec.id)
        await host.resume(spec)
        async with host.session(spec.id) as agent:
            await run(agent, SEND.format(port=TELEMETRY_PORT, body='{\\"a\\":2}'), user="nobody")
            assert await told.get() == spec.id
            (second,) = await agent.take_telemetry(first.number)
            assert second.body == b'{"a":2}'


async def watching_goes_on_over_a_fork(host: Host, data: Path) -> None:
    """For a copy the agent's connections are closed for a moment; and who watches does not see the copy."""
    store = await Store.open(f"sqlite:///{data / 'db.sqlite'}")
    core = Core(Settings(data=data, on_exit="keep"), store, host, SystemClock())
    await core.start()
    owner = await core.access.local_principal()
    made = await core.sandboxes.create(owner, NewSandbox(user="root"))
    files, ports = FileService(core.sandboxes), PortService(core.sandboxes)
    async with (
        files.watch(owner, made.id, "/srv", recursive=True) as events,
        ports.watch(owner, made.id) as lists,
        asyncio.timeout(LIMIT),
    ):
        assert await anext(lists) == ()
        (copy,) = await core.sandboxes.fork(owner, made.id, [Fork()])
        async with core.sandboxes.session(owner, copy.id) as session:
            await session.agent.start(ProcessSpec(argv=("python3", "-m", "http.server", "8001"), cwd="/srv"))
            await session.agent.mkdir("/srv/of-the-copy")
        async with core.sandboxes.session(owner, made.id) as session:
            await session.agent.start(ProcessSpec(argv=("python3", "-m", "http.server", "8000"), cwd="/srv"))
            await session.agent.mkdir("/srv/of-the-source")
        while (event := await anext(events)).path != "/srv/of-the-source":
            assert event.kind == "overflow"
        while not (found := await anext(lists)):
            pass
        assert [port.port for port in found] == [8000]
    for one in (copy, made):
        await core.sandboxes.destroy(owner, one.id)
    await core.background.close(timeout=LIMIT)
    await core.stop()
    await store.close()


async def test_everything_inside() -> None:
    """In one sandbox, one after the other: starting a host takes longer than any of it."""
    async with running_host() as (host, data):
        async with sandbox(host) as spec:
            async with host.session(spec.id) as agent:
                await agent.mkdir(FOLDER)
                await ports_are_told(agent)
                await changes_are_told(agent)
                await users_are_real(agent)
                await terminals_end_whole(agent)
                await folders_are_packed(agent)
            await telemetry_is_told_and_taken(host, spec)
            await watching_keeps_nothing_awake_or_unsaved(host, spec)
        await watching_goes_on_over_a_fork(host, data)
