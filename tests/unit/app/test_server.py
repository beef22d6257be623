import asyncio
import contextlib
import json
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from moonpool.app import build
from moonpool.config import Settings
from moonpool.dialects.common import bodies
from moonpool.dialects.common.protocol import MAX_HEADER_BYTES, BoundedHttpProtocol
from moonpool.errors import CheckpointRefused, EngineError, MachineUnfit
from moonpool.hosts.model import MachineState, Readiness
from tests.conftest import LOOPBACK
from tests.databases import prepare
from tests.unit.app.conftest import KEY, Running
from tests.unit.sandboxes.machines import MemoryMachines

AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


class TestRouting:
    async def test_health_needs_no_key_and_has_counts(self, running: Running) -> None:
        answer = await running.client.get("/healthz")
        assert answer.status_code == 200
        assert answer.json() == {"status": "ready", "ready": True, "warm": 4, "target": 4, "running": 0, "asleep": 0}

    async def test_health_while_the_pool_fills(self, running: Running) -> None:
        running.machines.warming = Readiness(ready=False, warm=1, target=4, running=0, asleep=0)
        answer = await running.client.get("/healthz")
        assert (answer.status_code, answer.json()["warm"]) == (503, 1)

    @pytest.mark.parametrize("path", ["/", "/nope", "/apix", "/healthz2", "//api", "/%00"])
    async def test_unknown_paths(self, running: Running, path: str) -> None:
        answer = await running.client.get(path, headers=AUTHORIZED)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")

    @pytest.mark.parametrize(
        ("path", "field"),
        [("/api/nope", "statusCode"), ("/v1/nope", "error"), ("/v1/vms/x/nope", "code"), ("/vm/x/nope", "errors")],
    )
    async def test_each_api_answers_in_its_own_words(self, running: Running, path: str, field: str) -> None:
        answer = await running.client.get(path, headers=AUTHORIZED)
        assert answer.status_code == 404
        assert field in answer.json()

    @pytest.mark.parametrize("path", ["/api/sandbox", "/v1/capsules", "/v1/vms", "/sandbox", "/metrics"])
    async def test_without_a_key_nothing_is_served(self, running: Running, path: str) -> None:
        assert (await running.client.get(path)).status_code == 401
        assert (await running.client.get(path, headers={"X-API-Key": "mp_wrong"})).status_code == 401
        assert (await running.client.get(path, headers={"X-API-Key": KEY})).status_code == 200
        assert (await running.client.get(path, headers=AUTHORIZED)).status_code == 200

    async def test_an_unknown_websocket(self, running: Running) -> None:
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{LOOPBACK}:{running.port}/nope", proxy=None)

    async def test_figures(self, running: Running) -> None:
        await running.client.get("/api/nope", headers=AUTHORIZED)
        text = (await running.client.get("/metrics", headers=AUTHORIZED)).text
        assert 'moonpool_sandboxes{state="running"} 0.0' in text
        assert 'moonpool_requests_total{api="api",status="404"} 1.0' in text

    async def test_figures_of_what_happened(self, running: Running) -> None:
        made = await running.client.post("/api/sandbox", json={"cpu": 2, "memory": 1, "disk": 3}, headers=AUTHORIZED)
        here = f"/api/sandbox/{made.json()['id']}"
        running.machines.fail("pause", CheckpointRefused())
        await running.client.post(f"{here}/pause", headers=AUTHORIZED)
        figures = figures_of((await running.client.get("/metrics", headers=AUTHORIZED)).text)
        assert figures['moonpool_operations_total{operation="create",outcome="ok"}'] == 1
        assert figures['moonpool_operation_seconds_count{operation="create"}'] == 1
        assert figures['moonpool_operations_total{operation="pause",outcome="checkpoint_refused"}'] == 1
        assert 'moonpool_operation_seconds_count{operation="pause"}' not in figures
        assert figures["moonpool_reserved_cpu_cores"] == 2
        assert figures["moonpool_reserved_memory_bytes"] == 1 << 30
        assert figures["moonpool_reserved_disk_bytes"] == 3 << 30
        assert figures['moonpool_transferred_bytes_total{api="api",direction="in"}'] >= len('{"cpu": 2}')
        assert figures['moonpool_transferred_bytes_total{api="api",direction="out"}'] >= len(made.content)
        assert figures["moonpool_disk_pool_free_bytes"] < figures["moonpool_disk_pool_bytes"]
        assert figures["moonpool_warm_machines_target"] == 4
        assert figures["moonpool_event_listeners"] == figures["moonpool_events_behind"] == 0
        assert figures["process_resident_memory_bytes"] > 0

    async def test_every_figure_is_in_the_operators_page(self, running: Running) -> None:
        page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
        await running.client.get("/api/nope", headers=AUTHORIZED)
        text = (await running.client.get("/metrics", headers=AUTHORIZED)).text
        named = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP moonpool_")}
        assert not {name for name in named if name.removesuffix("_total") not in page}


class TestRequestId:
    async def test_a_clients_own_is_kept(self, running: Running) -> None:
        answer = await running.client.get("/healthz", headers={"X-Request-Id": "given-by-client"})
        assert answer.headers["x-request-id"] == "given-by-client"

    @pytest.mark.parametrize("given", ["", "short", "x" * 100, "with spaces in it", "a;b;c;d;e;f"])
    async def test_nonsense_is_replaced(self, running: Running, given: str) -> None:
        answer = await running.client.get("/healthz", headers={"X-Request-Id": given})
        assert answer.headers["x-request-id"] not in ("", given)

    async def test_every_answer_has_its_own(self, running: Running) -> None:
        answers = [await running.client.get("/healthz") for _ in range(3)]
        assert len({answer.headers["x-request-id"] for answer in answers}) == 3


async def exchange(port: int, *parts: bytes, half_close: bool = True) -> bytes:
    """Send all, then read until the server closes."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if half_close:
            writer.write_eof()
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


class TestHeaderLimit:
    START = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"

    @pytest.mark.parametrize(
        ("line", "times"),
        [
            (b"X: %b\r\n" % (b"a" * 100_000), 100),
            (b"X: 1234567890\r\n", 700_000),
            (b"X: 1", MAX_HEADER_BYTES),
            (b"a", 10_000_000),
            (b"X: %b\r\n" % (b"a" * MAX_HEADER_BYTES), 1),
        ],
        ids=["ten megabytes", "many", "one value", "one name", "just above"],
    )
    async def test_too_large(self, running: Running, line: bytes, times: int) -> None:
        headers = line * times
        answer = await exchange(running.port, self.START, headers, b"\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 ")
        assert json.loads(body)["error"]["code"] == "headers_too_large"

    async def test_a_long_path(self, running: Running) -> None:
        answer = await exchange(running.port, b"GET /" + b"a" * 10_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 431 ")

    async def test_just_below(self, running: Running) -> None:
        answer = await running.client.get("/healthz", headers={"X": "a" * (MAX_HEADER_BYTES - 1000)})
        assert answer.status_code == 200

    async def test_many_small_requests_on_one_connection(self, running: Running) -> None:
        request = self.START + b"X: " + b"a" * 40_000 + b"\r\n\r\n"
        last = self.START + b"Connection: close\r\n\r\n"
        answer = await exchange(running.port, request * 5 + last, half_close=False)
        assert answer.count(b"HTTP/1.1 200 ") == 6

    async def test_a_large_body_is_no_header(self, running: Running) -> None:
        answer = await running.client.post("/v1/nope", headers=AUTHORIZED, content=b"a" * 1_000_000)
        assert answer.status_code == 404

    async def test_trailers_without_end(self, running: Running) -> None:
        """The answer may be under way by then, so the connection ends, with 431 or without a word."""
        head = b"POST /v1/nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        with contextlib.suppress(ConnectionError):
            answer = await exchange(running.port, head, *[b"X: " + b"a" * 1000 + b"\r\n"] * 10_000)
            assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 404 "))

    @pytest.mark.parametrize(
        ("start", "status"),
        [(b"POST /v1/nope", b"404"), (b"GET /healthz", b"403"), (b"GET /metrics", b"403"), (b"GET /nope", b"403")],
    )
    async def test_websockets_where_there_are_none(self, running: Running, start: bytes, status: bytes) -> None:
        upgrade = (
            b" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        async with asyncio.timeout(10):
            assert (await exchange(running.port, start + upgrade)).startswith(b"HTTP/1.1 " + status)

    @pytest.mark.parametrize("path", [b"*", b"/", b"//", b"/%00", b"/api/../healthz", b"http://elsewhere/nope"])
    async def test_odd_paths(self, running: Running, path: bytes) -> None:
        request = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await exchange(running.port, request, half_close=False)
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 401 "))

    async def test_two_hosts(self, running: Running) -> None:
        """Whoever stands in front may have gone by the other one."""
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"
        assert (await exchange(running.port, request)).startswith(b"HTTP/1.1 400 ")

    async def test_nonsense_is_a_bad_request(self, running: Running) -> None:
        assert (await exchange(running.port, b"\x00\x01\x02\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


class TestSlowClients:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(BoundedHttpProtocol, "headers_timeout", 0.3)

    @pytest.mark.parametrize(
        "sent", [b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: y"], ids=["nothing", "a word", "headers"]
    )
    async def test_headers_that_do_not_come(self, running: Running, sent: bytes) -> None:
        async with asyncio.timeout(10):
            assert await exchange(running.port, sent, half_close=False) == b""

    async def test_a_body_that_does_not_come(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor one that comes a byte at a time."""
        monkeypatch.setattr(bodies, "SILENCE", 0.3)
        head = b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        async with asyncio.timeout(10):
            assert (await exchange(running.port, head, half_close=False)).startswith(b"HTTP/1.1 400 ")
        monkeypatch.setattr(bodies, "WHOLE", 0.0)
        async with asyncio.timeout(10):
            answer = await exchange(running.port, head, b" ", half_close=False)
        assert answer.startswith(b"HTTP/1.1 400 ")

    async def test_a_body_that_nobody_wanted(self, running: Running) -> None:
        head = b"POST /v1/capsules HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
        async with asyncio.timeout(10):
            answer = await exchange(running.port, head, half_close=False)
        assert answer.startswith(b"HTTP/1.1 401 ")

    async def test_answers_may_take_longer(self, running: Running) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, running.port)
        key = KEY.encode()
        head = b"GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nX-API-Key: " + key + b"\r\n\r\n"
        writer.write(head)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 1)
        writer.close()


class TestLifespan:
    async def test_a_failed_start_takes_down_what_was_up(self, tmp_path: Path) -> None:
        async def no_host(_settings: object) -> MemoryMachines:
            raise EngineError("no runsc")

        application = build(Settings(data=tmp_path, log_level="error"), open_host=no_host)
        with pytest.raises(EngineError):
            await application.start()
        await application.stop()

    @pytest.mark.parametrize(
        ("on_exit", "state"),
        [("pause", MachineState.PAUSED), ("stop", MachineState.STOPPED), ("keep", MachineState.RUNNING)],
    )
    async def test_what_becomes_of_running_sandboxes(self, tmp_path: Path, on_exit: str, state: MachineState) -> None:
        machines = MemoryMachines()

        async def open_host(_settings: object) -> MemoryMachines:
            return machines

        for expected in (state, MachineState.STOPPED):
            settings = Settings(data=tmp_path, api_key=KEY, on_exit=on_exit, log_level="error")
            application = build(settings, open_host=open_host)
            await application.start()
            transport = httpx.ASGITransport(application.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=AUTHORIZED) as client:
                if not machines.states:
                    answer = await client.post("/api/sandbox", json={"name": "one"})
                    assert answer.status_code == 200, answer.text
                if expected is not state:
                    await client.post("/api/sandbox/one/stop")
            await application.stop()
            assert set(machines.states.values()) == {expected}
            assert machines.closed is (on_exit == "keep")

    async def test_a_database_has_one_server(self, tmp_path: Path) -> None:
        """To another one all of its sandboxes would seem lost."""
        database = f"sqlite:///{prepare(tmp_path / 'apart')}"
        machines = MemoryMachines()

        async def open_host(_settings: object) -> MemoryMachines:
            return machines

        for folder in ("first", "first", "second"):
            settings = Settings(data=tmp_path / folder, database_url=database, api_key=KEY, log_level="error")
            application = build(settings, open_host=open_host)
            if folder == "second":
                with pytest.raises(MachineUnfit, match="another data folder"):
                    await application.start()
                return
            await application.start()
            await application.stop()

    async def test_the_database_is_the_owners_alone(self, running: Running, tmp_path: Path) -> None:
        assert (tmp_path / "db.sqlite").stat().st_mode & 0o077 == 0


def figures_of(text: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}
