"""What programs in a sandbox log and trace by OTLP, and where it goes on to."""

import asyncio
import gzip
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from moonpool.config import Settings
from moonpool.guest.model import Telemetry
from moonpool.hosts.model import MachineSample
from moonpool.telemetry.model import Target
from tests.contract.daytona.conftest import MemoryMachines, Running

Conforms = Callable[[str, Any], Any]
Settled = Callable[[str], Awaitable[None]]
COLLECTORS = "127.0.0.9"  # the one private address that teams may name
SECOND = 10**9
NOW = int(datetime.now(UTC).timestamp()) * SECOND
ALWAYS = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
TRACE, ROOT, CHILD = bytes(range(16)), bytes(range(8)), bytes(range(8, 16))


class Outbox:
    """The agent of a sandbox in which programs have left something."""

    def __init__(self) -> None:
        self.items: list[Telemetry] = []
        self._numbers = itertools.count(1)

    def put(self, signal: str, body: bytes, media_type: str = "application/x-protobuf", encoding: str = "") -> None:
        self.items.append(Telemetry(next(self._numbers), signal, media_type, encoding, body))

    async def take_telemetry(self, kept: int) -> list[Telemetry]:
        self.items = [item for item in self.items if item.number > kept]
        return list(self.items)


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("moonpool.telemetry.figures.EVERY", 0.05)
    return settings.model_copy(update={"webhook_networks": (f"{COLLECTORS}/32",)})


@pytest.fixture
def outbox(machines: MemoryMachines, sandbox: dict[str, Any]) -> Outbox:
    machines.agents[sandbox["id"]] = made = Outbox()
    return made


@pytest.fixture
def path(sandbox: dict[str, Any]) -> str:
    return f"/api/sandbox/{sandbox['id']}/telemetry"


def logs(*records: tuple[str, str, int]) -> bytes:
    """Of a body, a severity and how many seconds ago."""
    request = ExportLogsServiceRequest()
    part = request.resource_logs.add()
    part.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = part.scope_logs.add()
    for body, severity, ago in records:
        record = scope.log_records.add(time_unix_nano=NOW - ago * SECOND, severity_text=severity, trace_id=TRACE)
        record.body.string_value = body
        record.attributes.add(key="count").value.int_value = 3
    return bytes(request.SerializeToString())


def trace() -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    root = spans.add(
        trace_id=TRACE, span_id=ROOT, name="GET /", start_time_unix_nano=NOW, end_time_unix_nano=NOW + SECOND
    )
    root.status.code = 2
    spans.add(
        trace_id=TRACE,
        span_id=CHILD,
        parent_span_id=ROOT,
        name="query",
        start_time_unix_nano=NOW + 1000,
        end_time_unix_nano=NOW + 3000,
    )
    return bytes(request.SerializeToString())


async def test_logs(client: httpx.AsyncClient, outbox: Outbox, path: str, conforms: Conforms) -> None:
    outbox.put("logs", logs(("began", "INFO", 30), ("50% lost", "ERROR", 20)))
    outbox.put("logs", gzip.compress(logs(("ended", "info", 10))), encoding="gzip")
    page = conforms("PaginatedLogs", (await client.get(f"{path}/logs", params=ALWAYS)).json())
    known = sdk.PaginatedLogs.from_dict(page)
    assert known is not None
    assert [item.body for item in known.items] == ["ended", "50% lost", "began"]
    first = known.items[1]
    assert (first.service_name, first.severity_text, first.trace_id) == ("shop", "ERROR", TRACE.hex())
    assert (first.resource_attributes, first.log_attributes) == ({"service.name": "shop"}, {"count": "3"})


ASKED: list[tuple[dict[str, Any], list[str]]] = [
    ({"severities": ["info"]}, ["c", "a"]),
    ({"severities": "INFO,ERROR"}, ["c", "100%_B", "a"]),
    ({"search": "0%_b"}, ["100%_B"]),
    ({"search": "%"}, ["100%_B"]),
    ({"limit": 1, "page": 2}, ["100%_B"]),
    ({"limit": 2, "page": 9}, []),
    ({"from": datetime.fromtimestamp(NOW / SECOND - 25, UTC).isoformat()}, ["c", "100%_B"]),
    ({"to": datetime.fromtimestamp(NOW / SECOND - 25, UTC).isoformat()}, ["a"]),
]


async def test_what_is_asked_of_logs(client: httpx.AsyncClient, outbox: Outbox, path: str) -> None:
    outbox.put("logs", logs(("a", "INFO", 30), ("100%_B", "ERROR", 20), ("c", "INFO", 10)))
    for query, bodies in ASKED:
        page = (await client.get(f"{path}/logs", params={**ALWAYS, **query})).json()
        assert [item["body"] for item in page["items"]] == bodies, query
        if "limit" in query:
            assert (page["total"], page["totalPages"], page["page"]) == (3, -(-3 // query["limit"]), query["page"])


async def test_traces(client: httpx.AsyncClient, outbox: Outbox, path: str, conforms: Conforms) -> None:
    outbox.put("traces", trace())
    page = conforms("PaginatedTraces", (await client.get(f"{path}/traces", params=ALWAYS)).json())
    (summary,) = page["items"]
    assert (summary["rootSpanName"], summary["durationMs"], summary["spanCount"]) == ("GET /", 1000, 2)
    assert (summary["traceId"], summary["statusCode"]) == (TRACE.hex(), "Error")
    spans = (await client.get(f"{path}/traces/{summary['traceId']}")).json()
    root, child = (conforms("TraceSpan", span) for span in spans)
    assert ("parentSpanId" in root, child["parentSpanId"], child["durationNs"]) == (False, ROOT.hex(), 2000)
    assert (await client.get(f"{path}/traces/{'f' * 32}")).status_code == 404


async def test_json_of_programs(client: httpx.AsyncClient, outbox: Outbox, path: str) -> None:
    record = {"timeUnixNano": str(NOW), "severityNumber": 17, "body": {"stringValue": "it"}, "traceId": TRACE.hex()}
    document = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    outbox.put("logs", json.dumps(document).encode(), "application/json")
    (item,) = (await client.get(f"{path}/logs", params=ALWAYS)).json()["items"]
    assert (item["severityText"], item["traceId"], item["serviceName"]) == ("ERROR", TRACE.hex(), "unknown_service")


async def test_what_cannot_be_read_is_passed_over(client: httpx.AsyncClient, outbox: Outbox, path: str) -> None:
    outbox.put("logs", b"\xff\xff\xff nonsense")
    outbox.put("logs", b"[1, 2]", "application/json")
    outbox.put("logs", b"[" * 10_000, "application/json")
    outbox.put("logs", b"not gzip", encoding="gzip")
    outbox.put("logs", gzip.compress(b"\0" * (40 << 20)), encoding="gzip")
    outbox.put("other", b"")
    outbox.put("logs", logs(("there", "INFO", 0)))
    page = (await client.get(f"{path}/logs", params=ALWAYS)).json()
    assert [item["body"] for item in page["items"]] == ["there"]


async def test_the_oldest_goes_where_there_is_too_much(
    client: httpx.AsyncClient, outbox: Outbox, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonpool.telemetry.files.MAX_BYTES", 256 << 10)
    filler = "x" * 20_000
    for number in range(40):
        outbox.put("logs", logs((f"{number} {filler}", "INFO", 1000 - number)))
        await client.get(f"{path}/logs", params={**ALWAYS, "limit": 1})
    page = (await client.get(f"{path}/logs", params=ALWAYS)).json()
    assert 0 < page["total"] < 20
    assert page["items"][0]["body"].startswith("39 ")


async def test_without_any(client: httpx.AsyncClient, path: str) -> None:
    for kind in ("logs", "traces"):
        page = (await client.get(f"{path}/{kind}", params=ALWAYS)).json()
        assert page == {"items": [], "total": 0, "page": 1, "totalPages": 0}


async def test_bad_questions(client: httpx.AsyncClient, path: str) -> None:
    times = [{}, {"from": "soon", "to": "later"}, {**ALWAYS, "to": "2000-01-01"}]
    for query in (*times, {**ALWAYS, "page": "0"}, {**ALWAYS, "limit": "100000"}):
        for kind in ("logs", "traces"):
            assert (await client.get(f"{path}/{kind}", params=query)).status_code == 400, query


async def test_another_teams(stranger: httpx.AsyncClient, outbox: Outbox, path: str) -> None:
    outbox.put("traces", trace())
    for rest in ("logs", "traces", f"traces/{TRACE.hex()}"):
        assert (await stranger.get(f"{path}/{rest}", params=ALWAYS)).status_code == 404


async def test_it_goes_with_its_sandbox(
    client: httpx.AsyncClient, running: Running, outbox: Outbox, path: str, settled: Settled, tmp_path: Path
) -> None:
    outbox.put("logs", logs(("here", "INFO", 0)))
    await client.get(f"{path}/logs", params=ALWAYS)
    assert list((tmp_path / "telemetry").iterdir())
    sandbox = path.split("/")[3]
    await client.delete(f"/api/sandbox/{sandbox}")
    await settled(sandbox)
    await running.core.telemetry.close()
    assert not list((tmp_path / "telemetry").iterdir())


# -- collectors --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def organization(client: httpx.AsyncClient) -> str:
    return f"/api/organizations/{(await client.get('/api/organizations')).json()[0]['id']}"


class Collector:
    """An OTLP collector on this machine's loopback, which answers with ``statuses`` one after the other, then 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.came: asyncio.Queue[tuple[str, dict[str, str], bytes]] = asyncio.Queue()
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        status = HTTPStatus(self.statuses.pop(0) if self.statuses else 200)
        writer.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()
        self.came.put_nowait((first.split()[1], headers, body))


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    server = await asyncio.start_server(collector.serve, COLLECTORS, 0)
    collector.address = f"http://{COLLECTORS}:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield collector


async def test_a_team_hands_on(
    client: httpx.AsyncClient, outbox: Outbox, path: str, organization: str, sandbox: dict[str, Any]
) -> None:
    async with collecting() as collector:
        config = {"endpoint": f"{collector.address}/otlp/", "headers": {"X-Api-Key": "for-the-collector"}}
        assert (await client.put(f"{organization}/otel-config", json=config)).status_code == 204
        told = sdk.OtelConfig.from_dict((await client.get(f"{organization}/otel-config")).json())
        assert told is not None
        assert told.headers == config["headers"]
        outbox.put("logs", logs(("sent", "INFO", 0)))
        await client.get(f"{path}/logs", params=ALWAYS)
        target, headers, body = await collector.came.get()
        assert (target, headers["x-api-key"]) == ("/otlp/v1/logs", "for-the-collector")
        came = ExportLogsServiceRequest.FromString(body).resource_logs[0].resource.attributes
        assert {pair.key: pair.value.string_value for pair in came}["sandbox.id"] == sandbox["id"]
    assert (await client.delete(f"{organization}/otel-config")).status_code == 204
    assert (await client.get(f"{organization}/otel-config")).status_code == 404


async def test_the_operators_collector(
    client: httpx.AsyncClient, outbox: Outbox, path: str, running: Running, sandbox: dict[str, Any]
) -> None:
    """It is told of all teams, at whatever address it has, and again where it cannot at once."""
    async with collecting() as collector:
        running.core.telemetry.targets.operators = Target(collector.address, {"Authorization": "Bearer operators"})
        collector.statuses = [503]
        outbox.put("traces", trace())
        await client.get(f"{path}/logs", params=ALWAYS)
        for _ in range(2):
            target, headers, body = await collector.came.get()
            assert (target, headers["authorization"]) == ("/v1/traces", "Bearer operators")
        (part,) = ExportTraceServiceRequest.FromString(body).resource_spans
        marks = {pair.key: pair.value.string_value for pair in part.resource.attributes}
        assert marks["sandbox.id"] == sandbox["id"]
        assert [span.name for span in part.scope_spans[0].spans] == ["GET /", "query"]


async def test_collectors_are_told_of_figures(
    client: httpx.AsyncClient,
    running: Running,
    organization: str,
    sandbox: dict[str, Any],
    machines: MemoryMachines,
) -> None:
    machines.samples[sandbox["id"]] = MachineSample(1_000_000, 64 << 20, 1 << 20, False)
    await running.core.metrics.sample()
    async with collecting() as collector:
        running.core.telemetry.targets.operators = Target(collector.address)
        config = {"endpoint": f"{collector.address}/team"}
        assert (await client.put(f"{organization}/otel-config", json=config)).is_success
        waited_for = {"/v1/metrics", "/team/v1/metrics"}
        while waited_for:
            target, _, body = await collector.came.get()
            waited_for.discard(target)
            (part,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
            marks = {pair.key: pair.value.string_value for pair in part.resource.attributes}
            assert (marks["sandbox.id"], marks["service.name"]) == (sandbox["id"], f"sandbox-{sandbox['id']}")
            told = {metric.name: metric for metric in part.scope_metrics[0].metrics}
            memory = told["daytona.sandbox.memory.usage"]
            assert (memory.unit, memory.gauge.data_points[0].as_double) == ("By", 64 << 20)
            assert {"daytona.sandbox.cpu.utilization", "daytona.sandbox.filesystem.available"} <= set(told)


async def test_headers_are_not_in_the_database(client: httpx.AsyncClient, organization: str, tmp_path: Path) -> None:
    config = {"endpoint": "https://collector.example.com", "headers": {"X-Api-Key": "for-the-collector"}}
    assert (await client.put(f"{organization}/otel-config", json=config)).status_code == 204
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("db.sqlite*"))
    assert b"collector.example.com" in kept
    assert b"for-the-collector" not in kept


BAD_COLLECTORS: list[dict[str, Any]] = [
    {},
    {"endpoint": "ftp://example.com"},
    {"endpoint": "https://127.0.0.1:4318"},
    {"endpoint": "https://169.254.169.254"},
    {"endpoint": "https://user:word@example.com"},
    {"endpoint": "https://example.com", "headers": {"Host": "x"}},
    {"endpoint": "https://example.com", "headers": {"X-A": "one\r\nX-B: two"}},
]


async def test_bad_collectors(client: httpx.AsyncClient, organization: str) -> None:
    for config in BAD_COLLECTORS:
        assert (await client.put(f"{organization}/otel-config", json=config)).status_code == 400, config
    assert (await client.get(f"{organization}/otel-config")).status_code == 404


async def test_who_may_configure(client: httpx.AsyncClient, stranger: httpx.AsyncClient, organization: str) -> None:
    config = {"endpoint": "https://collector.example.com"}
    assert (await stranger.put(f"{organization}/otel-config", json=config)).status_code == 404
    made = (await client.post("/api/api-keys", json={"name": "ci", "permissions": ["write:sandboxes"]})).json()
    plain = {"Authorization": f"Bearer {made['value']}"}
    assert (await client.put(f"{organization}/otel-config", json=config, headers=plain)).status_code == 403


async def test_whose_a_token_is(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, organization: str, sandbox: dict[str, Any]
) -> None:
    token = (await client.get(f"/api/sandbox/{sandbox['id']}/ports/80/preview-url")).json()["token"]
    identity = "/api/organizations/sandbox-identity/by-sandbox-auth-token"
    known = sdk.SandboxIdentity.from_dict((await client.get(f"{identity}/{token}")).json())
    assert known is not None
    assert (known.sandbox_id, known.organization_id) == (sandbox["id"], sandbox["organizationId"])
    config = {"endpoint": "https://collector.example.com", "headers": {"X-A": "b"}}
    by_token = f"/api/organizations/otel-config/by-sandbox-auth-token/{token}"
    assert (await client.get(by_token)).status_code == 404
    await client.put(f"{organization}/otel-config", json=config)
    assert (await client.get(by_token)).json() == {**config, "organizationId": sandbox["organizationId"]}
    for address in (f"{identity}/wrong", f"{identity}/{token}", by_token):
        assert (await stranger.get(address)).status_code == 404
