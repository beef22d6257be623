"""VMs that somebody else asks for while they are set up: nobody is given half of one, and nobody takes it away."""

import asyncio
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from moonpool.dialects.freestyle import lookup
from tests.contract.freestyle.conftest import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMPTY = b"001e# service=git-upload-pack\n00000000"  # what git is told of a repository without commits
VMS = "/v1/vms"
LATER = 5  # requests

Ask = Callable[..., Awaitable["asyncio.Task[httpx.Response]"]]


@dataclass
class Repository:
    """Each clone of it waits until the test says whether it succeeds; once it is ``free`` they all do."""

    url: str = ""
    clones: "Queue[asyncio.Future[bool]]" = field(default_factory=Queue)
    free: bool = False

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        clone = asyncio.get_running_loop().create_future()
        self.clones.put_nowait(clone)
        status = b"200 OK" if self.free or await clone else b"500 Broken"
        kind = b"application/x-git-upload-pack-advertisement"
        writer.write(b"HTTP/1.1 %s\r\nContent-Type: %s\r\nConnection: close\r\n\r\n%s" % (status, kind, EMPTY))
        await writer.drain()
        writer.close()

    async def cloned(self) -> "asyncio.Future[bool]":
        """The next clone, once it waits."""
        return await self.clones.get()


@pytest_asyncio.fixture(loop_scope="module")
async def repository() -> AsyncIterator[Repository]:
    found = Repository()
    async with await asyncio.start_server(found.serve, "127.0.0.1", 0) as server:
        found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/empty"
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def ask(door: Door, owner: httpx.AsyncClient) -> AsyncIterator[Ask]:
    """Begins a request. When this returns it waits for something, or is done: later requests have been answered, and
    written to the database (which goes in turn), unless that is ``held``."""
    async with door.client(Authorization=f"Bearer {door.key}") as client:

        async def begin(
            path: str, body: dict[str, Any] | None = None, *, method: str = "POST", held: bool = False
        ) -> "asyncio.Task[httpx.Response]":
            asked = asyncio.create_task(client.request(method, path, json={} if body is None else body))
            for number in range(LATER):
                await owner.get(f"{VMS}/{door.vm}")
                if not held:
                    change = {"idleTimeoutSeconds": 300 + number}
                    (await owner.post(f"{VMS}/{door.vm}/start", json=change)).raise_for_status()
            return asked

        yield begin


@dataclass
class Making:
    """A VM that somebody creates, whose setting up waits for ``clone``."""

    request: "asyncio.Task[httpx.Response]"
    vm: str
    clone: "asyncio.Future[bool]"
    folder: Path

    @property
    def path(self) -> str:
        return f"{VMS}/{self.vm}"

    def end(self, repository: Repository, success: bool = True) -> None:
        """Whoever sets it up from now on has success."""
        repository.free = True
        self.clone.set_result(success)


@pytest_asyncio.fixture(loop_scope="module")
async def making(owner: httpx.AsyncClient, repository: Repository, ask: Ask, tmp_path: Path) -> AsyncIterator[Making]:
    folder = tmp_path / "last"  # The last thing that is made.
    repositories = [{"repo": repository.url, "path": str(tmp_path / "clone")}]
    request = await ask(VMS, {"recreate": True, "name": "mine", "gitRepos": repositories, "workdir": str(folder)})
    clone = await repository.cloned()
    (vm,) = (await owner.get(VMS, params={"vmState": "building"})).json()["vms"]
    made = Making(request, str(vm["id"]), clone, folder)
    yield made
    await owner.delete(made.path)


def told(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


def calls(door: Door) -> list[str]:
    return [operation for operation, _ in door.inside.machines.calls]


async def state(owner: httpx.AsyncClient, path: str) -> str:
    return str((await owner.get(path)).json()["state"])


@pytest.mark.parametrize("named", [False, True], ids=["by id", "by name"])
async def test_a_start_waits_for_the_creation(
    owner: httpx.AsyncClient, door: Door, repository: Repository, making: Making, ask: Ask, named: bool
) -> None:
    before = calls(door)
    starting = await ask(f"{VMS}/{'mine' if named else making.vm}/start")
    assert not starting.done()
    making.end(repository)
    made, started = await making.request, await starting
    assert (told(made), told(started)) == ((200, None), (200, None)), (made.text, started.text)
    assert started.json()["domains"] == made.json()["domains"]
    assert calls(door) == before
    assert await state(owner, making.path) == "running"


async def test_a_start_makes_anew_what_could_not_be_created(
    owner: httpx.AsyncClient, repository: Repository, making: Making, ask: Ask
) -> None:
    starting = await ask(f"{making.path}/start")
    making.end(repository, False)
    assert told(await making.request) == (500, "VM_SETUP_FAILED")
    assert told(await starting) == (200, None)
    assert await state(owner, making.path) == "running"
    assert making.folder.is_dir()


async def test_a_start_makes_anew_what_was_deleted_meanwhile(
    owner: httpx.AsyncClient, repository: Repository, making: Making, ask: Ask
) -> None:
    """Whoever was at it first takes nothing of it away."""
    assert told(await owner.delete(making.path)) == (200, None)
    starting = await ask(f"{making.path}/start")
    assert not starting.done()
    making.end(repository, False)
    assert not (await making.request).is_success
    assert told(await starting) == (200, None)
    assert await state(owner, making.path) == "running"


@pytest.mark.parametrize("named", [False, True], ids=["by id", "by name"])
async def test_starts_of_one_that_is_made_anew(
    owner: httpx.AsyncClient, door: Door, repository: Repository, making: Making, ask: Ask, named: bool
) -> None:
    """It is made once, and again where that has failed."""
    making.clone.set_result(False)
    await making.request
    first = await ask(f"{making.path}/start")
    clone = await repository.cloned()
    before = calls(door)
    others = [await ask(f"{VMS}/{'mine' if named else making.vm}/start") for _ in range(2)]
    assert calls(door) == before
    repository.free = True
    clone.set_result(False)
    assert told(await first) == (500, "VM_SETUP_FAILED")
    assert [told(await other) for other in others] == [(200, None), (200, None)]
    assert calls(door)[len(before) :].count("create") == 1
    assert await state(owner, making.path) == "running"


async def test_one_that_was_made_anew_stays(owner: httpx.AsyncClient, door: Door) -> None:
    path = f"{VMS}/{(await owner.post(VMS, json={'recreate': True})).json()['id']}"
    await owner.delete(path)
    await owner.post(f"{path}/start", json={"idleTimeoutSeconds": 60})
    found = door.inside.sandboxes.peek(path.removeprefix(f"{VMS}/"))
    assert found is not None
    assert (found.expires_at, found.timers.ttl, found.timers.auto_pause) == (None, None, 60)
    await owner.delete(path)


async def test_one_that_was_cut_off_has_its_domain_again(owner: httpx.AsyncClient, door: Door) -> None:
    """As when the server is ended: nothing is written of how it went."""
    made = (await owner.post(VMS, json={"recreate": True})).json()
    path = f"{VMS}/{made['id']}"
    await owner.delete(path)
    door.inside.machines.fail("create", asyncio.CancelledError())
    assert not (await owner.post(f"{path}/start", json={})).is_success
    assert await state(owner, path) == "starting"
    start = {"waitForReadySignal": False}
    assert (await owner.post(f"{path}/start", json=start)).json()["domains"] == made["domains"]
    await owner.delete(path)


async def test_nothing_is_made_for_who_has_left(owner: httpx.AsyncClient, door: Door, making: Making, ask: Ask) -> None:
    async with door.client(Authorization=f"Bearer {door.key}") as client:
        await client.get(making.path)
        leaving = asyncio.create_task(client.post(f"{making.path}/start", json={}))
        staying = await ask(f"{making.path}/stop")
        leaving.cancel()
        await asyncio.wait({leaving})
    await staying
    making.clone.set_result(False)
    assert not (await making.request).is_success
    assert told(await owner.get(making.path)) == (410, "VM_DELETED")


async def test_commands_wait_until_it_is_whole(
    owner: httpx.AsyncClient, repository: Repository, making: Making, ask: Ask
) -> None:
    command = await ask(f"{making.path}/exec-await", {"command": "pwd"})
    making.end(repository)
    assert (await command).json().get("stdout") == f"{making.folder}\n"
    assert told(await making.request) == (200, None)


async def test_forks_are_of_the_whole(
    owner: httpx.AsyncClient, door: Door, repository: Repository, making: Making, ask: Ask
) -> None:
    forking = await ask(f"{making.path}/fork")
    making.end(repository)
    (fork,) = (await forking).json()["forks"]
    found = door.inside.sandboxes.peek(fork["id"])
    assert found is not None
    assert found.expires_at is None
    assert await state(owner, f"{VMS}/{fork['id']}") == "running"
    await owner.delete(f"{VMS}/{fork['id']}")


@pytest.mark.parametrize("verb", ["suspend", "snapshot", "optimize"])
async def test_what_keeps_it_waits(
    owner: httpx.AsyncClient, door: Door, repository: Repository, making: Making, ask: Ask, verb: str
) -> None:
    before = calls(door)
    keeping = await ask(f"{making.path}/{verb}")
    assert calls(door) == before
    making.end(repository)
    assert (told(await making.request), told(await keeping)) == ((200, None), (200, None))
    assert await state(owner, making.path) == ("running" if verb == "snapshot" else "suspended")


@pytest.mark.parametrize("verb", ["exec-await", "fork"])
async def test_a_wait_has_an_end(
    repository: Repository, making: Making, ask: Ask, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(lookup, "SETTLE_TIMEOUT", 0)
    asked = await ask(f"{making.path}/{verb}", {"command": "pwd"} if verb == "exec-await" else None)
    assert told(await asked) == (409, "CONFLICT")
    making.end(repository)
    assert told(await making.request) == (200, None)


@pytest.mark.parametrize("verb", ["stop", "kill"])
async def test_what_is_ended_meanwhile_is_made_anew(
    owner: httpx.AsyncClient, repository: Repository, making: Making, ask: Ask, verb: str
) -> None:
    assert told(await owner.post(f"{making.path}/{verb}")) == (200, None)
    making.end(repository, False)
    assert not (await making.request).is_success
    assert told(await owner.post(f"{making.path}/start", json={})) == (200, None)
    assert await state(owner, making.path) == "running"


@pytest.mark.parametrize("rests", ["suspend", "stop"])
async def test_starts_at_once_all_succeed(owner: httpx.AsyncClient, door: Door, ask: Ask, rests: str) -> None:
    """Also while the first one's change is not written yet."""
    path = f"{VMS}/{(await owner.post(VMS, json={})).json()['id']}"
    await owner.post(f"{path}/{rests}")
    start = ("start", {"waitForReadySignal": False})
    requests: list[tuple[str, dict[str, Any]]] = [start, start, ("fork", {})]
    if rests == "suspend":
        requests.append(("exec-await", {"command": "true"}))
    async with door.inside.core.access._store.transaction():
        asked = [await ask(f"{path}/{verb}", body, held=True) for verb, body in requests]
    assert [told(await one) for one in asked] == [(200, None)] * len(asked)
    for vm in (await owner.get(VMS)).json()["vms"]:
        if vm["id"] != door.vm:
            await owner.delete(f"{VMS}/{vm['id']}")


async def test_a_delete_that_is_under_way_comes_first(owner: httpx.AsyncClient, door: Door, ask: Ask) -> None:
    """A start that is asked for after it makes the VM anew; one of a VM that does not come back is told so."""
    again, plain = [(await owner.post(VMS, json={"recreate": kind})).json()["id"] for kind in (True, False)]
    for vm, expected in ((again, (200, None)), (plain, (410, "VM_DELETED"))):
        async with door.inside.core.access._store.transaction():
            deleting = await ask(f"{VMS}/{vm}", method="DELETE", held=True)
            starting = await ask(f"{VMS}/{vm}/start", held=True)
        assert told(await deleting) == (200, None)
        assert told(await starting) == expected
    assert await state(owner, f"{VMS}/{again}") == "running"
    await owner.delete(f"{VMS}/{again}")


async def test_a_delete_comes_after_a_start_that_is_under_way(owner: httpx.AsyncClient, door: Door, ask: Ask) -> None:
    path = f"{VMS}/{(await owner.post(VMS, json={'recreate': True})).json()['id']}"
    await owner.delete(path)
    gate = door.inside.machines.hold("create")
    starting = await ask(f"{path}/start")
    await gate.reached.wait()
    deleting = await ask(path, method="DELETE")
    gate.open()
    assert told(await deleting) == (200, None)
    assert told(await starting) in ((200, None), (404, "VM_NOT_FOUND"))
    assert told(await owner.get(path)) == (410, "VM_DELETED")
    domains = (await owner.get("/domains/v1/mappings")).json()
    assert [mapping for mapping in domains if mapping["vmId"] in path] == []
