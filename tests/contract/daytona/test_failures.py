"""What a client is told when something goes wrong on the server."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from moonpool.dialects.daytona import sandboxes
from moonpool.errors import AgentTimeout, EngineError, NoCapacity

Conforms = Callable[[str, Any], Any]


async def test_a_slow_start_is_answered_as_it_is(
    client: httpx.AsyncClient, machines: Any, conforms: Conforms, settled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandboxes, "ANSWER_WITHIN", 1.0)
    machines.may_start.clear()
    made = conforms("Sandbox", (await client.post("/api/sandbox", json={"name": "slow"})).json())
    assert (made["state"], made["desiredState"]) == ("creating", "started")
    for change in ("stop", "pause"):
        answer = await client.post(f"/api/sandbox/slow/{change}")
        assert answer.status_code in (200, 409), answer.text
    listed = (await client.get("/api/sandbox?states=creating")).json()["items"]
    assert [item["state"] for item in listed] == ["creating"]
    machines.may_start.set()
    await settled(made["id"])
    assert (await client.get("/api/sandbox/slow")).json()["state"] != "creating"


@pytest.mark.parametrize(
    ("failure", "status"),
    [(NoCapacity(), 503), (AgentTimeout(), 504), (EngineError("It broke"), 500), (RuntimeError("secret detail"), 500)],
    ids=str,
)
async def test_a_failed_create(client: httpx.AsyncClient, machines: Any, failure: Exception, status: int) -> None:
    machines.failure = failure
    answer = await client.post("/api/sandbox", json={"name": "failed"})
    assert answer.status_code == status
    assert answer.json()["statusCode"] == status
    assert "secret detail" not in answer.text
    assert answer.headers["x-daytona-api-version"]
    found = (await client.get("/api/sandbox/failed")).json()
    assert found["state"] == "error"
    assert found["errorReason"]
    assert "secret detail" not in found["errorReason"]


async def test_recover(client: httpx.AsyncClient, machines: Any, conforms: Conforms) -> None:
    machines.failure = EngineError("It broke")
    await client.post("/api/sandbox", json={"name": "failed"})
    found = conforms("Sandbox", (await client.get("/api/sandbox/failed")).json())
    assert (found["state"], found["errorReason"], found["recoverable"]) == ("error", "It broke", True)
    assert len((await client.get("/api/sandbox?isRecoverable=true")).json()["items"]) == 1
    machines.failure = None
    recovered = conforms("Sandbox", (await client.post("/api/sandbox/failed/recover")).json())
    assert recovered["state"] == "started"
    assert "errorReason" not in recovered


async def test_recover_without_a_start(client: httpx.AsyncClient, machines: Any, sandbox: dict[str, Any]) -> None:
    one = f"/api/sandbox/{sandbox['id']}"
    await client.post(f"{one}/stop")
    machines.failure = EngineError("It broke")
    assert (await client.post(f"{one}/start")).status_code == 500
    assert (await client.get(one)).json()["state"] == "error"
    assert (await client.post(f"{one}/recover?skipStart=true")).json()["state"] == "stopped"


async def test_unexpected_errors_tell_a_number(
    client: httpx.AsyncClient, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(running.core.snapshots, "list", broken)
    answer = await client.get("/api/snapshots", headers={"Origin": "https://app.example"})
    assert answer.status_code == 500
    assert answer.json()["message"].startswith("Internal server error (request ")
    assert "secret detail" not in answer.text
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-daytona-api-version"]
