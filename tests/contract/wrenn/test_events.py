"""Server-sent events."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moonpool.errors import CheckpointRefused

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def blocks(answer: Any) -> AsyncIterator[dict[str, str]]:
    """Each event's lines as ``name: value``; a comment has the name ''."""
    block: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            block[name] = value.strip()
        elif block:
            yield block
            block = {}


async def actions(api: Any, wanted: str, since: str | None = None) -> list[dict[str, str]]:
    """What comes up to an event of the kind ``wanted``."""
    found = []
    headers = {} if since is None else {"Last-Event-ID": since}
    async with api.http.stream("GET", "/v1/events/stream", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for block in blocks(answer):
            found.append(block)
            if block.get("event") == wanted:
                return found
    raise AssertionError(found)


async def test_the_life_of_a_capsule(api: Any, capsule: str) -> None:
    here = {"id": capsule}
    await api.call("pauseCapsule", 202, here)
    await api.call("resumeCapsule", 202, here)
    await api.call("destroyCapsule", 202, here)
    told = await actions(api, "capsule.destroy", since="0")
    assert told[0]["event"] == "connected"
    bodies = [json.loads(block["data"]) for block in told]
    assert [block["event"] for block in told] == [body["event"] for body in bodies]
    ours = [body for body in bodies if body.get("resource") == {"id": capsule, "type": "capsule"}]
    assert [body["event"] for body in ours if body["event"] != "capsule.state.changed"] == [
        "capsule.create",
        "capsule.pause",
        "capsule.resume",
        "capsule.destroy",
    ]
    changes = [(body["metadata"]["from"], body["metadata"]["to"]) for body in ours if "metadata" in body]
    assert changes == [
        ("starting", "running"),
        ("running", "pausing"),
        ("pausing", "paused"),
        ("paused", "resuming"),
        ("resuming", "running"),
        ("running", "stopping"),
        ("stopping", "stopped"),
    ]
    assert all(body["sandbox"]["id"] == capsule for body in ours)
    assert all(body.get("outcome", "success") == "success" for body in ours)


async def test_resuming_after_an_event(api: Any, capsule: str) -> None:
    told = await actions(api, "capsule.create", since="0")
    last = told[-1]["id"]
    await api.call("pauseCapsule", 202, {"id": capsule})
    later = await actions(api, "capsule.pause", since=last)
    assert all(int(block["id"]) > int(last) for block in later if "id" in block)
    assert "capsule.create" not in [block["event"] for block in later]


async def test_a_refused_pause_is_told(api: Any, capsule: str, machines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(machine_id: str) -> None:
        raise CheckpointRefused("/tmp/deleted is deleted and still open")

    monkeypatch.setattr(machines, "pause", refuse)
    error = await api.call("pauseCapsule", 409, {"id": capsule})
    assert "deleted" in error["message"]
    assert (await api.call("getCapsule", 200, {"id": capsule}))["status"] == "running"
    told = await actions(api, "capsule.pause", since="0")
    while json.loads(told[-1]["data"])["resource"]["id"] != capsule:
        told = await actions(api, "capsule.pause", since=told[-1]["id"])
    assert json.loads(told[-1]["data"])["outcome"] == "error"


async def test_keepalives(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonpool.dialects.wrenn.events.KEEPALIVE_INTERVAL", 0.01)
    async with api.http.stream("GET", "/v1/events/stream") as answer:
        found = []
        async for block in blocks(answer):
            found.append(block)
            if len(found) == 3:
                break
    assert found[1:] == [{"": "keepalive"}, {"": "keepalive"}]


async def test_a_revoked_key_ends_its_stream(api: Any, core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonpool.dialects.wrenn.events.KEEPALIVE_INTERVAL", 0.01)
    admin = await core.access.local_principal()
    made = await core.access.create_key(admin, "to be revoked")
    async with api.http.stream("GET", "/v1/events/stream", headers={"X-API-Key": made.secret}) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: connected"
        await core.access.revoke_key(admin, made.key.id)
        async for _ in lines:
            pass
