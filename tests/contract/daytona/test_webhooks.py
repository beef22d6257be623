"""Webhooks: what the document has of them, our own operations beside it, and the seven events as they arrive."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest

from moonpool.access.model import Scope
from moonpool.config import Settings
from tests.contract.daytona.conftest import KEY, Running
from tests.receivers import LOOPBACK_NETWORK, HttpReceiver, http_receiver

Conforms = Callable[[str, Any], Any]

PAYLOADS = {
    "sandbox.created": "SandboxCreatedWebhook",
    "sandbox.state.updated": "SandboxStateUpdatedWebhook",
    "snapshot.created": "SnapshotCreatedWebhook",
    "snapshot.state.updated": "SnapshotStateUpdatedWebhook",
    "snapshot.removed": "SnapshotRemovedWebhook",
    "volume.created": "VolumeCreatedWebhook",
    "volume.state.updated": "VolumeStateUpdatedWebhook",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    networks = {"webhook_networks": LOOPBACK_NETWORK}
    return Settings(data=tmp_path, api_key=KEY, public_url="http://public.test:8080", on_exit="stop", **networks)


@pytest.fixture
async def path(client: httpx.AsyncClient) -> str:
    (organization,) = (await client.get("/api/organizations")).json()
    return f"/api/webhooks/organizations/{organization['id']}"


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as receiver:
        yield receiver


@pytest.fixture
async def endpoint(client: httpx.AsyncClient, path: str, receiver: HttpReceiver) -> dict[str, Any]:
    answer = await client.post(f"{path}/endpoints", json={"url": receiver.url, "description": "ours"})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_initialisation(client: httpx.AsyncClient, path: str, conforms: Conforms) -> None:
    assert (await client.get(f"{path}/initialization-status")).status_code == 404
    assert (await client.post(f"{path}/refresh-endpoints")).status_code == 404
    made = await client.post(f"{path}/initialize")
    assert made.status_code == 201
    again = conforms("WebhookInitializationStatus", (await client.get(f"{path}/initialization-status")).json())
    assert again == made.json()
    assert (again["svixApplicationId"], again["lastError"]) == (None, None)
    assert (await client.post(f"{path}/refresh-endpoints")).status_code == 204


async def test_the_portal(client: httpx.AsyncClient, path: str, conforms: Conforms) -> None:
    """What it leads to: tests/web/test_portal.py."""
    answer = await client.post(f"{path}/app-portal-access")
    assert answer.status_code == 200
    access = conforms("WebhookAppPortalAccess", answer.json())
    assert access["url"] == f"{client.base_url}/webhook-portal?token={access['token']}".replace("//webhook", "/webhook")


async def test_the_seven_events(
    client: httpx.AsyncClient, endpoint: dict[str, Any], receiver: HttpReceiver, conforms: Conforms, running: Running
) -> None:
    sandbox = (await client.post("/api/sandbox", json={"name": "box"})).json()
    await client.post(f"/api/sandbox/{sandbox['id']}/snapshot", json={"name": "kept"})
    principal = await running.core.access.authenticate(KEY)
    await running.core.sandboxes.settled(principal, sandbox["id"])
    await client.delete(f"/api/snapshots/{(await client.get('/api/snapshots/kept')).json()['id']}")
    await client.post("/api/volumes", json={"name": "disk"})
    told: dict[str, list[dict[str, Any]]] = {}
    count = 0
    while set(told) != set(PAYLOADS):
        count += 1
        got = (await receiver.wait(count))[count - 1]
        payload = json.loads(got.body)
        told.setdefault(payload["event"], []).append(payload)
        name = PAYLOADS[payload["event"]]
        assert getattr(sdk, name).from_dict(payload) is not None
        conforms(name, payload)
    assert told["sandbox.created"][0]["id"] == sandbox["id"]
    assert told["sandbox.created"][0]["organizationId"] == sandbox["organizationId"]
    assert told["volume.created"][0]["name"] == "disk"
    changes = [(one["oldState"], one["newState"]) for one in told["sandbox.state.updated"]]
    assert changes[0] == ("starting", "started")


async def test_the_life_of_an_endpoint(
    client: httpx.AsyncClient, path: str, endpoint: dict[str, Any], receiver: HttpReceiver
) -> None:
    here = f"{path}/endpoints/{endpoint['id']}"
    secret = endpoint.pop("secret")
    assert secret.startswith("whsec_")
    assert (await client.get(here)).json() == endpoint
    assert (await client.get(f"{path}/endpoints")).json() == [endpoint]
    assert sorted(endpoint["events"]) == sorted(PAYLOADS)
    changed = (await client.patch(here, json={"events": ["volume.created"], "enabled": False})).json()
    assert (changed["events"], changed["enabled"], changed["url"]) == (["volume.created"], False, receiver.url)
    assert (await client.patch(here, json={"enabled": True})).json()["disabledReason"] is None
    rotated = (await client.post(f"{here}/rotate-secret", json={})).json()
    assert rotated["secret"] not in ("", secret)
    tried = (await client.post(f"{here}/test")).json()
    assert (tried["status"], tried["error"]) == (200, None)
    assert (await client.delete(here)).status_code == 204
    assert (await client.get(here)).status_code == 404


async def test_the_log_and_replay(
    client: httpx.AsyncClient, path: str, endpoint: dict[str, Any], receiver: HttpReceiver, running: Running
) -> None:
    here = f"{path}/endpoints/{endpoint['id']}"
    receiver.status = 500
    await client.post("/api/volumes", json={"name": "disk"})
    await receiver.wait(1)
    while True:
        pending = (await client.get(f"{here}/deliveries", params={"state": "pending"})).json()["items"]
        if pending and pending[-1]["attempts"]:
            break
    (first, *_) = pending[::-1]
    assert (first["event"], first["attempts"][0]["status"]) == ("volume.created", 500)
    assert first["nextAttemptAt"] is not None
    shown = (await client.get(f"{here}/deliveries/{first['id']}")).json()
    assert json.loads(shown["payload"])["name"] == "disk"
    assert (await client.post(f"{here}/deliveries/{first['id']}/replay")).status_code == 400
    receiver.status = 200
    running.core.clock.advance(10)  # type: ignore[attr-defined]
    running.core.deliveries.wake()
    await receiver.wait(3)
    while not (done := (await client.get(f"{here}/deliveries", params={"state": "delivered"})).json()["items"]):
        pass
    again = await client.post(f"{here}/deliveries/{done[-1]['id']}/replay")
    assert (again.status_code, again.json()["messageId"]) == (201, done[-1]["messageId"])
    page = (await client.get(f"{here}/deliveries", params={"limit": 1})).json()
    following = await client.get(f"{here}/deliveries", params={"limit": 1, "cursor": page["nextCursor"]})
    assert int(following.json()["items"][0]["id"]) < int(page["items"][0]["id"])
    recovered = await client.post(f"{here}/recover", json={"since": "2026-01-01T00:00:00Z"})
    assert recovered.json() == {"messages": 0}


async def test_who_may_not(
    client: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    path: str,
    endpoint: dict[str, Any],
    running: Running,
) -> None:
    here = f"{path}/endpoints/{endpoint['id']}"
    assert (await stranger.get(here)).status_code == 404
    admin = await running.core.access.authenticate(KEY)
    weak = (await running.core.access.create_key(admin, "weak", {Scope.SANDBOXES_WRITE})).secret
    headers = {"Authorization": f"Bearer {weak}"}
    for method, where in (("GET", here), ("DELETE", here), ("POST", f"{path}/initialize"), ("POST", f"{here}/test")):
        assert (await client.request(method, where, headers=headers)).status_code == 403
    foreign = (await stranger.get("/api/organizations")).json()[0]["id"]
    other = f"/api/webhooks/organizations/{foreign}/endpoints/{endpoint['id']}"
    assert (await stranger.get(other)).status_code == 404


async def test_bad_input(client: httpx.AsyncClient, path: str, endpoint: dict[str, Any]) -> None:
    for body in (
        {},
        {"url": 5},
        {"url": "http://10.0.0.1/"},
        {"url": "https://169.254.169.254/"},
        {"url": "ftp://example.com"},
        {"url": "https://example.com", "events": ["sandbox.exploded"]},
        {"url": "https://example.com", "secret": "short"},
        {"url": "https://example.com", "description": "x" * 501},
    ):
        answer = await client.post(f"{path}/endpoints", json=body)
        assert answer.status_code == 400, body
        assert answer.json()["statusCode"] == 400
    here = f"{path}/endpoints/{endpoint['id']}"
    for query in ({"limit": 0}, {"cursor": "x"}, {"state": "lost"}):
        assert (await client.get(f"{here}/deliveries", params=query)).status_code == 400
    for wrong in ("x", "0", "9" * 30):
        assert (await client.get(f"{here}/deliveries/{wrong}")).status_code == 404
    assert (await client.post(f"{here}/recover", json={"since": "yesterday"})).status_code == 400
    assert (await client.post(f"{here}/recover", json={"since": "2026-01-01"})).status_code == 400
