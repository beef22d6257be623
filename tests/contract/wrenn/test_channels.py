"""Notification channels."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from moonpool.config import Settings
from tests.contract.wrenn.conftest import KEY
from tests.receivers import LOOPBACK_NETWORK, HttpReceiver, http_receiver

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = ["capsule.create", "capsule.destroy", "template.snapshot.create"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data, key = tmp_path_factory.mktemp("data"), SecretStr(KEY)
    return Settings(data=data, api_key=key, on_exit="keep", webhook_networks=LOOPBACK_NETWORK)


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as receiver:
        yield receiver


@pytest_asyncio.fixture(loop_scope="module")
async def channel(api: Any, receiver: HttpReceiver) -> AsyncIterator[dict[str, Any]]:
    body = {"name": "hook", "provider": "webhook", "config": {"url": receiver.url}, "events": EVENTS}
    made = await api.call("createChannel", 201, json=body)
    yield made
    await api.http.delete(f"/v1/channels/{made['id']}")


async def test_the_life_of_a_channel(api: Any, channel: dict[str, Any], receiver: HttpReceiver) -> None:
    here = {"id": channel["id"]}
    secret = channel.pop("secret")
    assert secret.startswith("whsec_")
    assert await api.call("getChannel", 200, here) == channel
    assert await api.call("listChannels", 200) == [channel]
    changed = await api.call("updateChannel", 200, here, json={"name": "renamed", "events": ["capsule.pause"]})
    assert (changed["name"], changed["events"]) == ("renamed", ["capsule.pause"])
    rotated = await api.call("rotateChannelConfig", 200, here, json={"config": {"url": receiver.url + "/new"}})
    assert rotated["secret"] != secret
    await api.call("deleteChannel", 204, here)
    assert (await api.call("getChannel", 404, here))["code"] == "not_found"
    await api.call("deleteChannel", 404, here)


async def test_it_is_told_what_it_wants_to_know(api: Any, channel: dict[str, Any], receiver: HttpReceiver) -> None:
    capsule = await api.capsule()
    await api.call("pauseCapsule", 202, {"id": capsule})
    await api.call("destroyCapsule", 202, {"id": capsule})
    got = await receiver.wait(2)
    bodies = [json.loads(one.body) for one in got]
    assert [body["event"] for body in bodies] == ["capsule.create", "capsule.destroy"]
    assert {body["resource"]["id"] for body in bodies} == {capsule}
    assert all("webhook-signature" in one.headers for one in got)


async def test_templates_are_told_of(api: Any, channel: dict[str, Any], capsule: str, core: Any) -> None:
    async with core.events.subscribe(None) as told:
        await api.http.post("/v1/snapshots", json={"sandbox_id": capsule, "name": "kept"})
        async for event in told:
            if event.type == "snapshot.removed" or event.data.get("new_state") == "active":
                break
    async with api.http.stream("GET", "/v1/admin/events/stream", headers={"Last-Event-ID": "0"}) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("event: template.snapshot.create"):
                break


async def test_trying_one(api: Any, receiver: HttpReceiver) -> None:
    body = {"provider": "slack", "config": {"webhook_url": receiver.url}}
    assert await api.call("testChannel", 200, json=body) == {"status": "ok"}
    assert json.loads(receiver.got[0].body) == {"text": "[Moonpool] test"}
    receiver.status = 403
    assert "403" in (await api.call("testChannel", 400, json=body))["message"]


async def test_bad_input(api: Any, channel: dict[str, Any], receiver: HttpReceiver) -> None:
    good = {"name": "x", "provider": "slack", "config": {"webhook_url": receiver.url}, "events": EVENTS}
    for wrong in (
        {"name": ""},
        {"name": 5},
        {"provider": "pigeon"},
        {"config": {}},
        {"config": {"webhook_url": "https://10.0.0.1/"}},
        {"config": {"webhook_url": "https://metadata.google.internal./", "x": "y"}},
        {"config": {"webhook_url": 5}},
        {"events": []},
        {"events": ["capsule.dance"]},
    ):
        error = await api.call("createChannel", 400, json={**good, **wrong})
        assert receiver.url not in error["message"]
    await api.call("createChannel", 409, json={**good, "name": "hook"})
    await api.call("rotateChannelConfig", 400, {"id": channel["id"]}, json={"config": {"webhook_url": receiver.url}})
    await api.call("updateChannel", 404, {"id": "none"}, json={"name": "x", "events": EVENTS})
    await api.call("rotateChannelConfig", 404, {"id": "none"}, json={"config": {"url": receiver.url}})


async def test_who_may_not(api: Any, channel: dict[str, Any], reader_key: str, stranger_key: str) -> None:
    weak = {"headers": {"X-API-Key": reader_key}}
    assert (await api.call("listChannels", 403, **weak))["code"] == "forbidden"
    await api.call("deleteChannel", 403, {"id": channel["id"]}, **weak)
    foreign = {"headers": {"X-API-Key": stranger_key}}
    for operation in ("getChannel", "deleteChannel"):
        await api.call(operation, 404, {"id": channel["id"]}, **foreign)
