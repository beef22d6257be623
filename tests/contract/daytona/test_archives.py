"""Archives and backups, in the vendor's words."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest

Conforms = Callable[[str, Any], Any]
Settled = Callable[[str], Awaitable[None]]


async def post(client: httpx.AsyncClient, path: str, status: int = 200) -> dict[str, Any]:
    answer = await client.post(f"/api/sandbox/given/{path}")
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_there_and_back(
    client: httpx.AsyncClient, sandbox: dict[str, Any], conforms: Conforms, settled: Settled
) -> None:
    assert (sandbox["backupState"], "backupCreatedAt" in sandbox) == ("None", False)
    await post(client, "stop")
    begun = conforms("Sandbox", await post(client, "archive"))
    assert (begun["state"], begun["desiredState"], begun["backupState"]) == ("archiving", "archived", "InProgress")
    await settled(sandbox["id"])
    archived = conforms("Sandbox", (await client.get("/api/sandbox/given")).json())
    assert (archived["state"], archived["backupState"]) == ("archived", "Completed")
    assert sdk.Sandbox.from_dict(archived) is not None
    assert archived["backupCreatedAt"] <= archived["updatedAt"]
    listed = (await client.get("/api/sandbox", params={"states": "archived"})).json()["items"]
    assert [item["id"] for item in listed] == [sandbox["id"]]
    assert (await post(client, "archive"))["state"] == "archived"
    started = conforms("Sandbox", await post(client, "start"))
    assert (started["state"], started["desiredState"], started["backupState"]) == ("started", "started", "Completed")


async def test_how_much_has_moved(client: httpx.AsyncClient, sandbox: dict[str, Any], running: Any) -> None:
    await post(client, "stop")
    begun = await post(client, "archive")
    assert begun["transferredBytes"] == 0
    assert (await client.delete("/api/sandbox/given")).status_code == 200


@pytest.mark.parametrize("verb", ["archive", "stop", "pause", "snapshot", "fork"])
async def test_what_is_refused(client: httpx.AsyncClient, sandbox: dict[str, Any], settled: Settled, verb: str) -> None:
    if verb != "archive":
        await post(client, "stop")
        await post(client, "archive")
        await settled(sandbox["id"])
    answer = await client.post(f"/api/sandbox/given/{verb}", json={"name": "x"})
    assert (answer.status_code, answer.json()["statusCode"]) == (400, 400), answer.text


async def test_an_ephemeral_one(client: httpx.AsyncClient) -> None:
    await client.post("/api/sandbox", json={"name": "given", "autoDeleteInterval": 0})
    assert (await post(client, "archive", 400))["statusCode"] == 400


async def test_a_store_that_cannot_be_used(
    client: httpx.AsyncClient, sandbox: dict[str, Any], settled: Settled, tmp_path: Path
) -> None:
    await post(client, "stop")
    (tmp_path / "archives").write_text("no folder")
    await post(client, "archive")
    await settled(sandbox["id"])
    left = (await client.get("/api/sandbox/given")).json()
    assert (left["state"], left["backupState"]) == ("stopped", "Error")
    assert "folder" in left["errorReason"]
    assert (await post(client, "start"))["state"] == "started"


async def test_a_backup(client: httpx.AsyncClient, sandbox: dict[str, Any], conforms: Conforms, running: Any) -> None:
    async with running.core.events.subscribe(None) as events:
        begun = conforms("Sandbox", await post(client, "backup"))
        assert (begun["state"], begun["backupState"]) == ("started", "InProgress")
        async with asyncio.timeout(30):
            while (await client.get("/api/sandbox/given")).json()["backupState"] != "Completed":
                await anext(events)
    await post(client, "pause")
    assert (await post(client, "backup"))["state"] == "paused"


async def test_after_its_interval(
    client: httpx.AsyncClient, sandbox: dict[str, Any], settled: Settled, running: Any, clock: Any
) -> None:
    await post(client, "autoarchive/5")
    await post(client, "stop")
    clock.advance(5 * 60)
    async with running.core.events.subscribe(None) as events, asyncio.timeout(30):
        running.core.rules.apply_due()
        while (await client.get("/api/sandbox/given")).json()["state"] != "archived":
            await anext(events)


async def test_who_may_not(client: httpx.AsyncClient, stranger: httpx.AsyncClient, sandbox: dict[str, Any]) -> None:
    for verb in ("archive", "backup"):
        assert (await stranger.post(f"/api/sandbox/{sandbox['id']}/{verb}")).status_code == 404
