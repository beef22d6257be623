"""The agent's OTLP endpoint: what it takes, what it refuses, and how the host is given it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from moonpool.guest.agent import telemetry as agent_telemetry
from moonpool.guest.agent.request import Request
from moonpool.guest.agent.telemetry import Telemetry
from moonpool.telemetry.model import Signal
from moonpool.telemetry.otlp import read, spans_of

HEAD = "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture
def told() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def telemetry(told: asyncio.Event) -> AsyncIterator[Telemetry]:
    made = Telemetry(told.set, port=0)
    server = await made.listen()
    yield made
    server.close()


async def said(telemetry: Telemetry, text: str | bytes) -> bytes:
    """What is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", telemetry.port)
    writer.write(text.encode() if isinstance(text, str) else text)
    answer = await reader.read()
    writer.close()
    return answer


async def taken(telemetry: Telemetry, kept: int = 0) -> list[tuple[dict[str, Any], bytes]]:
    message = await telemetry.take_telemetry(None, Request({"kept": kept}, b""))  # type: ignore[arg-type]
    found, start = [], 0
    for item in message.document["items"]:
        found.append((item, message.body[start : start + item["size"]]))
        start += item["size"]
    return found


async def test_what_a_program_sends_waits_until_it_is_taken(telemetry: Telemetry, told: asyncio.Event) -> None:
    body = json.dumps({"resourceLogs": []})
    whole = f"{HEAD}Content-Length: {len(body)}\r\n"
    both = f"{whole}\r\n{body}{whole}Connection: close\r\n\r\n{body}"
    answer = await said(telemetry, both)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    await told.wait()
    (first, content), (second, _) = await taken(telemetry)
    assert (first["signal"], first["type"], content) == ("logs", "application/json", body.encode())
    assert len(await taken(telemetry, first["number"])) == 1
    assert await taken(telemetry, second["number"]) == []


async def test_pieces_are_put_together(telemetry: Telemetry) -> None:
    head = (
        HEAD.replace("logs", "traces").replace("json", "x-protobuf") + "Content-Encoding: gzip\r\nConnection: close\r\n"
    )
    answer = await said(
        telemetry,
        f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\n\x1f\x8bc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n".encode("latin-1"),
    )
    assert answer.startswith(b"HTTP/1.1 200")
    ((item, content),) = await taken(telemetry)
    assert (item["signal"], item["encoding"], content) == ("traces", "gzip", b"\x1f\x8bcde")


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET /v1/logs HTTP/1.1\r\n\r\n", 405),
        ("POST /v2/logs HTTP/1.1\r\n\r\n", 404),
        ("POST /v1/logs HTTP/1.0\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("POST /v1/logs HTTP/1.1\r\nContent-Type: text/html\r\n\r\n", 415),
        (f"{HEAD}Content-Encoding: br\r\n\r\n", 415),
        (f"{HEAD}Content-Length: 99999999\r\n\r\n", 413),
        (f"{HEAD}Content-Length: -1\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (f"{HEAD}Transfer-Encoding: gzip\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 8\r\n\r\nnot json", 400),
        (f"{HEAD}Content-Length: 2\r\n\r\n[]", 400),
        (f"{HEAD}Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{{}}", 400),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\nffffff\r\n", 413),
    ],
)
async def test_what_is_refused(telemetry: Telemetry, request_text: str, status: int) -> None:
    assert (await said(telemetry, request_text)).startswith(f"HTTP/1.1 {status} ".encode())
    assert await taken(telemetry) == []


async def test_who_is_refused_comes_again(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_telemetry, "MAX_WAITING", 10)
    request = f"{HEAD}Connection: close\r\nContent-Length: 8\r\n\r\n{{      }}"
    assert (await said(telemetry, request)).startswith(b"HTTP/1.1 200")
    full = await said(telemetry, request)
    assert full.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 5" in full
    ((item, _),) = await taken(telemetry)
    assert await taken(telemetry, item["number"]) == []
    assert (await said(telemetry, request)).startswith(b"HTTP/1.1 200")


async def test_another_sandbox_has_none_of_it(telemetry: Telemetry) -> None:
    await said(telemetry, f"{HEAD}Connection: close\r\nContent-Length: 2\r\n\r\n{{}}")
    telemetry.forget()
    assert await taken(telemetry) == []


async def test_opentelemetrys_own_exporter(telemetry: Telemetry) -> None:
    """What the library that programs use sends is what the server reads."""
    address = f"http://127.0.0.1:{telemetry.port}/v1/traces"
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(
        SimpleSpanProcessor(OTLPSpanExporter(endpoint=address, compression=Compression.Gzip, timeout=10))
    )

    def work() -> None:
        with provider.get_tracer("test").start_as_current_span("outer") as span:
            span.set_attribute("count", 3)
        provider.shutdown()

    await asyncio.to_thread(work)
    ((item, content),) = await taken(telemetry)
    export = read(Signal(item["signal"]), item["type"], item["encoding"], content)
    (span,) = spans_of(export, 0)  # type: ignore[arg-type]
    assert (span.name, span.service, span.attributes, span.parent_id) == ("outer", "shop", {"count": "3"}, None)
    assert span.duration > 0
