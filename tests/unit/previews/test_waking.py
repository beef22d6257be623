"""Requests to sandboxes that do not run, pages that say what is the matter, and protocols that change."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from moonpool.errors import NoCapacity
from moonpool.sandboxes.model import NewSandbox, Sandbox, SandboxState, Timers
from tests.conftest import ManualClock
from tests.unit.previews.apps import LIMIT, Answer, App, Client, Request, running_app, saying
from tests.unit.previews.conftest import Previews, Served, previewing, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

UPGRADE = (
    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"
)


async def paused(previews: Previews, new: NewSandbox) -> Sandbox:
    sandbox = await previews.create(new)
    return await previews.core.sandboxes.pause(previews.admin, sandbox.id)


async def ask(previews: Previews, sandbox: Sandbox, *headers: str) -> Answer:
    return await previews.ask("/", *headers, host=previews.host(sandbox=sandbox))


async def upgraded(client: Client, previews: Previews, sandbox: Sandbox | None = None) -> bytes:
    client.send(f"GET /ws HTTP/1.1\r\nHost: {previews.host(sandbox=sandbox)}\r\n{UPGRADE}\r\n".encode())
    async with asyncio.timeout(LIMIT):
        return await client.reader.readuntil(b"\r\n\r\n")


async def echoing(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Own: 1\r\n\r\nfirst"
    )
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def test_many_requests_wake_a_paused_sandbox_once(previews: Previews) -> None:
    sandbox = await paused(previews, NewSandbox(public=True))
    gate = previews.machines.hold("resume")
    asking = [asyncio.create_task(ask(previews, sandbox)) for _ in range(20)]
    await gate.reached.wait()
    gate.open()
    assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
    assert [call for call in previews.machines.calls if call[1] == sandbox.id and call[0] == "resume"] == [
        ("resume", sandbox.id)
    ]


async def test_nobody_without_a_token_wakes_anything(previews: Previews) -> None:
    sandbox = await paused(previews, NewSandbox())
    assert (await ask(previews, sandbox)).status == 401
    assert previews.machines.states[sandbox.id].value == "paused"


async def test_a_stopped_sandbox_stays_stopped(previews: Previews) -> None:
    sandbox = await previews.create(NewSandbox(public=True))
    await previews.core.sandboxes.stop(previews.admin, sandbox.id)
    answer = await ask(previews, sandbox)
    assert (answer.status, b"sandbox_not_running" in answer.body) == (503, True)
    assert answer.header("retry-after") is not None


@pytest.mark.parametrize(("http", "websocket"), [(True, False), (False, True)])
async def test_who_wakes_a_codesandbox_sandbox_is_its_owner_s_to_say(
    previews: Previews, http: bool, websocket: bool
) -> None:
    data = {"codesandbox": {"automatic_wakeup_config": {"http": http, "websocket": websocket}}}
    sandbox = await paused(previews, NewSandbox(public=True, dialect_data=data))
    previews.app.behave = echoing if websocket else previews.app.behave
    async with previews.client() as client:
        said = await upgraded(client, previews, sandbox)
    assert said.startswith(b"HTTP/1.1 101" if websocket else b"HTTP/1.1 503")
    if not websocket:
        assert (await ask(previews, sandbox)).status == 200


async def test_what_an_operator_says_of_waking(tmp_path: Path) -> None:
    for policy, statuses in (("never", (503, 503)), ("stopped", (200, 200))):
        clock = ManualClock()
        async with (
            serving(tmp_path / policy, clock, preview_wakes=policy) as (application, machines, port),
            previewing(Served(application, machines, port, clock)) as previews,
        ):
            sandbox = await paused(previews, NewSandbox(public=True))
            stopped = await previews.create(NewSandbox(public=True))
            await previews.core.sandboxes.stop(previews.admin, stopped.id)
            assert ((await ask(previews, sandbox)).status, (await ask(previews, stopped)).status) == statuses


async def test_a_sandbox_that_is_just_starting_is_waited_for(previews: Previews) -> None:
    gate = previews.machines.hold("create")
    sandbox = await previews.core.sandboxes.create(previews.admin, NewSandbox(public=True), wait=False)
    asking = asyncio.create_task(ask(previews, sandbox))
    await gate.reached.wait()
    gate.open()
    assert (await asking).status == 200


async def test_a_wake_up_that_fails_says_so(previews: Previews) -> None:
    sandbox = await paused(previews, NewSandbox(public=True))
    previews.machines.fail("resume", NoCapacity("full"))
    answer = await ask(previews, sandbox)
    assert (answer.status, b"no_capacity" in answer.body) == (503, True)


async def test_a_pause_ends_the_connections_that_were_kept(previews: Previews) -> None:
    await previews.ask()
    await previews.core.sandboxes.pause(previews.admin, previews.sandbox.id)
    async with asyncio.timeout(LIMIT):
        await previews.app.closed.wait()
    assert (await previews.ask()).status == 200


async def test_an_open_connection_is_use(previews: Previews) -> None:
    """Idle rules wait for it."""
    previews.app.behave = echoing
    sandbox = await previews.create(NewSandbox(public=True, timers=Timers(auto_pause=60)))
    async with previews.client() as client:
        await upgraded(client, previews, sandbox)
        previews.clock.advance(600)
        previews.core.rules.apply_due()
        client.send(b"still here")
        assert await client.reader.readexactly(15) == b"firststill here"
        assert (await previews.core.sandboxes.get(previews.admin, sandbox.id)).state is SandboxState.RUNNING
    async with asyncio.timeout(LIMIT):
        await previews.app.closed.wait()


async def test_a_changed_protocol_goes_through_byte_for_byte(previews: Previews) -> None:
    previews.app.behave = echoing
    async with previews.client() as client:
        said = await upgraded(client, previews)
        assert b"x-own: 1" in said.lower()
        assert await client.reader.readexactly(5) == b"first"
        sent = bytes(range(256)) * 4096
        client.send(sent)
        async with asyncio.timeout(LIMIT):
            assert await client.reader.readexactly(len(sent)) == sent
    [request] = previews.app.requests
    assert (request.header("upgrade"), request.header("connection")) == ("websocket", "Upgrade")
    async with asyncio.timeout(LIMIT):
        await previews.app.closed.wait()


async def test_the_end_of_either_side_ends_the_other(previews: Previews) -> None:
    async def farewell(app: App, reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbye")
        await writer.drain()
        writer.close()

    previews.app.behave = farewell
    async with previews.client() as client:
        await upgraded(client, previews)
        assert await client.rest() == b"bye"


async def test_an_app_may_refuse_to_change_the_protocol(previews: Previews) -> None:
    previews.app.behave = saying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    async with previews.client() as client:
        said = await upgraded(client, previews)
        assert said.startswith(b"HTTP/1.1 403")
        assert b"close" in said.lower()
        assert await client.rest() == b"no"


async def test_other_protocols_are_not_changed_to(previews: Previews) -> None:
    answer = await previews.ask("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
    assert answer.body == b"hello"
    assert previews.app.requests[0].header("upgrade") is None


@pytest.mark.parametrize("accept", ["text/html,*/*", "application/json"])
async def test_a_closed_port_is_explained(previews: Previews, accept: str) -> None:
    answer = await previews.ask("/", f"Accept: {accept}", host=previews.host(1))
    assert (answer.status, answer.header("cache-control")) == (502, "no-store")
    assert (b"<h1>Nothing listens on port 1 in the sandbox</h1>" in answer.body) == accept.startswith("text")
    assert (b'"code": "port_closed"' in answer.body) == accept.startswith("app")


async def test_the_end_of_the_server_ends_changed_protocols(tmp_path: Path) -> None:
    clock = ManualClock()
    async with AsyncExitStack() as outer:
        app = await outer.enter_async_context(running_app(echoing))
        async with serving(tmp_path, clock) as (application, machines, port):
            assert application.core is not None
            admin = await application.core.access.local_principal()
            sandbox = await application.core.sandboxes.create(admin, NewSandbox(public=True))
            previews = Previews(application, application.core, machines, admin, port, clock, app, sandbox)
            client = await outer.enter_async_context(previews.client())
            await upgraded(client, previews)
        assert await client.rest() == b"first"
