"""Making, finding and ending sandboxes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import daytona_api_client as sdk
import httpx

Conforms = Callable[[str, Any], Any]

CREATE = {"env": {"A": "b"}, "labels": {"code-toolbox-language": "python"}, "volumes": []}


async def test_create_answers_started(client: httpx.AsyncClient, conforms: Conforms) -> None:
    answer = await client.post("/api/sandbox", json=CREATE)
    assert answer.status_code == 200
    body = conforms("Sandbox", answer.json())
    known = sdk.Sandbox.from_dict(body)
    assert known is not None
    assert known.state is sdk.SandboxState.STARTED
    assert known.desired_state is sdk.SandboxDesiredState.STARTED
    assert known.name == known.id
    assert known.user == "daytona"
    assert known.env == {"A": "b"}
    assert known.labels == {"code-toolbox-language": "python"}
    assert (known.cpu, known.memory, known.disk, known.gpu) == (1, 1, 3, 0)
    assert (known.auto_stop_interval, known.auto_pause_interval) == (15, 0)
    assert (known.auto_archive_interval, known.auto_delete_interval) == (10080, -1)
    assert known.snapshot == "daytona-small"
    assert known.target == "local"
    assert known.sandbox_class == "container"
    assert known.toolbox_proxy_url == "http://daytona.test/toolbox"
    assert set(body) - set(known.to_dict()) == set()


async def test_create_without_a_body(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/sandbox")).json()["state"] == "started"


async def test_create_with_everything(client: httpx.AsyncClient, conforms: Conforms) -> None:
    asked = {
        "name": "all-of-it",
        "snapshot": "daytona-medium",
        "user": "user",
        "public": True,
        "target": "us",
        "networkAllowList": "203.0.113.7/24, 198.51.100.0/24",
        "domainAllowList": "example.com,*.example.org",
        "autoStopInterval": 0,
        "autoArchiveInterval": 0,
        "autoDeleteInterval": 30,
        "ttlMinutes": 90,
        "queueTimeout": 3,
    }
    body = conforms("Sandbox", (await client.post("/api/sandbox", json=asked)).json())
    assert body["name"] == "all-of-it"
    assert (body["cpu"], body["memory"], body["disk"], body["class"]) == (2, 4, 8, "medium")
    assert body["user"] == "user"
    assert body["public"] is True
    assert body["networkBlockAll"] is False
    assert body["networkAllowList"] == "203.0.113.0/24,198.51.100.0/24"
    assert body["domainAllowList"] == "example.com,*.example.org"
    assert (body["autoStopInterval"], body["autoArchiveInterval"], body["autoDeleteInterval"]) == (0, 43200, 30)
    assert body["autoDestroyAt"] > body["createdAt"]
    assert body["queueTimeout"] == 3
    assert (await client.get("/api/sandbox/all-of-it")).json() == body


async def test_create_from_a_snapshot_id(client: httpx.AsyncClient) -> None:
    snapshot = (await client.get("/api/snapshots/daytona-large")).json()
    body = (await client.post("/api/sandbox", json={"snapshot": snapshot["id"]})).json()
    assert body["snapshot"] == "daytona-large"
    assert body["cpu"] == 4


async def test_create_with_own_resources(client: httpx.AsyncClient) -> None:
    body = (await client.post("/api/sandbox", json={"cpu": 2, "memory": 2, "disk": 5})).json()
    assert (body["cpu"], body["memory"], body["disk"]) == (2, 2, 5)


async def test_create_with_automatic_pause(client: httpx.AsyncClient) -> None:
    body = (await client.post("/api/sandbox", json={"autoPauseInterval": 30})).json()
    assert (body["autoStopInterval"], body["autoPauseInterval"]) == (0, 30)


async def test_create_blocked_from_the_network(client: httpx.AsyncClient) -> None:
    body = (await client.post("/api/sandbox", json={"networkBlockAll": True, "networkAllowList": "1.1.1.0/24"})).json()
    assert body["networkBlockAll"] is True
    assert "networkAllowList" not in body


async def test_the_sandbox_knows_itself(
    client: httpx.AsyncClient, environment_of: Callable[[str], dict[str, str]]
) -> None:
    body = (await client.post("/api/sandbox", json={"env": {"A": "b", "DAYTONA_SANDBOX_ID": "mine"}})).json()
    assert body["env"] == {"A": "b"}
    assert environment_of(body["id"]) == {
        "A": "b",
        "DAYTONA_SANDBOX_ID": body["id"],
        "DAYTONA_SANDBOX_SNAPSHOT": "daytona-small",
        "DAYTONA_SANDBOX_USER": "daytona",
        "DAYTONA_ORGANIZATION_ID": body["organizationId"],
        "DAYTONA_REGION_ID": "local",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:49984",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }


async def test_get_by_id_and_by_name(client: httpx.AsyncClient, conforms: Conforms) -> None:
    made = (await client.post("/api/sandbox", json={"name": "findme"})).json()
    for key in (made["id"], "findme"):
        found = (await client.get(f"/api/sandbox/{key}?verbose=true")).json()
        assert conforms("Sandbox", found)["id"] == made["id"]


async def test_the_toolbox_url_follows_the_address_used(client: httpx.AsyncClient, sandbox: dict[str, Any]) -> None:
    cases = [
        ({"Host": "127.0.0.1:9000"}, "http://127.0.0.1:9000/toolbox"),
        ({"Host": "[::1]:9000"}, "http://[::1]:9000/toolbox"),
        (
            {"Host": "inner", "X-Forwarded-Host": "outer.example", "X-Forwarded-Proto": "https"},
            "https://outer.example/toolbox",
        ),
        ({"Host": "evil/<script>"}, "http://public.test:8080/toolbox"),
        ({"Host": "x", "X-Forwarded-Proto": "javascript"}, "http://x/toolbox"),
    ]
    for headers, url in cases:
        found = (await client.get(f"/api/sandbox/{sandbox['id']}", headers=headers)).json()
        assert found["toolboxProxyUrl"] == url
        answer = await client.get(f"/api/sandbox/{sandbox['id']}/toolbox-proxy-url", headers=headers)
        assert answer.json() == {"url": url}


async def test_stop_and_start(client: httpx.AsyncClient, conforms: Conforms, sandbox: dict[str, Any]) -> None:
    one = f"/api/sandbox/{sandbox['id']}"
    stopped = conforms("Sandbox", (await client.post(f"{one}/stop?force=true")).json())
    assert (stopped["state"], stopped["desiredState"]) == ("stopped", "stopped")
    started = conforms("Sandbox", (await client.post(f"{one}/start")).json())
    assert (started["state"], started["desiredState"]) == ("started", "started")
    assert (await client.post(f"{one}/start")).status_code == 200


async def test_pause_and_start(client: httpx.AsyncClient, conforms: Conforms, sandbox: dict[str, Any]) -> None:
    one = f"/api/sandbox/{sandbox['id']}"
    paused = conforms("Sandbox", (await client.post(f"{one}/pause")).json())
    assert (paused["state"], paused["desiredState"]) == ("paused", "paused")
    assert (await client.post(f"{one}/start")).json()["state"] == "started"


async def test_delete(client: httpx.AsyncClient, conforms: Conforms, settled: Callable[[str], Awaitable[None]]) -> None:
    made = (await client.post("/api/sandbox", json={"name": "again"})).json()
    answer = await client.delete("/api/sandbox/again")
    assert conforms("Sandbox", answer.json())["desiredState"] == "destroyed"
    assert (await client.post("/api/sandbox", json={"name": "again"})).status_code == 200
    await settled(made["id"])
    assert (await client.get(f"/api/sandbox/{made['id']}")).status_code == 404


async def test_two_deletes_at_once(
    client: httpx.AsyncClient, sandbox: dict[str, Any], settled: Callable[[str], Awaitable[None]]
) -> None:
    url = f"/api/sandbox/{sandbox['id']}"
    answers = await asyncio.gather(client.delete(url), client.delete(url))
    assert {answer.status_code for answer in answers} <= {200, 404, 409}
    assert 200 in {answer.status_code for answer in answers}
    await settled(sandbox["id"])
    assert (await client.get(url)).status_code == 404


async def test_ephemeral_ones_go_at_the_stop(client: httpx.AsyncClient) -> None:
    made = (await client.post("/api/sandbox", json={"autoDeleteInterval": 0})).json()
    assert made["autoDeleteInterval"] == 0
    assert (await client.post(f"/api/sandbox/{made['id']}/stop")).json()["state"] in ("destroying", "destroyed")


async def test_recover_only_what_failed(client: httpx.AsyncClient, sandbox: dict[str, Any]) -> None:
    answer = await client.post(f"/api/sandbox/{sandbox['id']}/recover")
    assert answer.status_code == 400
    assert "not in an error state" in answer.json()["message"]


async def test_browsers_may_ask_from_anywhere(client: httpx.AsyncClient) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization,x-daytona-source"
    preflight = await client.options("/api/sandbox", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    answer = await client.get("/api/sandbox", headers={"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
