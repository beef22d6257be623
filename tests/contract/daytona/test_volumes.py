"""Volumes, and sandboxes that mount them."""

from collections.abc import Callable
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest

Conforms = Callable[[str, Any], Any]


async def create(client: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    answer = await client.post("/api/volumes", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_made_found_and_deleted(client: httpx.AsyncClient, conforms: Conforms, machines: Any) -> None:
    made = conforms("VolumeDto", await create(client, name="data"))
    assert sdk.VolumeDto.from_dict(made) is not None
    assert (made["name"], made["state"], made["errorReason"]) == ("data", "ready", "")
    for path in (made["id"], "data", "by-name/data"):
        assert (await client.get(f"/api/volumes/{path}")).json() == made
    assert (await client.get("/api/volumes")).json() == [made]
    answer = await client.delete(f"/api/volumes/{made['id']}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await client.get("/api/volumes")).json() == []
    (deleted,) = (await client.get("/api/volumes", params={"includeDeleted": "true"})).json()
    assert (deleted["id"], deleted["state"]) == (made["id"], "deleted")
    gone = await client.get("/api/volumes/by-name/data")
    assert (gone.status_code, gone.json()["message"]) == (404, "Volume with name data not found")
    assert machines.sizes == {}


async def test_a_volume_without_a_name_and_one_with_a_size(client: httpx.AsyncClient, machines: Any) -> None:
    nameless = await create(client, name="")
    assert nameless["name"] == nameless["id"]
    sized = await create(client, name="sized", sizeGib=3)
    assert (sized["sizeGib"], machines.sizes[sized["id"]]) == (3, 3 * 1024)


async def test_a_sandbox_with_volumes(client: httpx.AsyncClient, conforms: Conforms, machines: Any) -> None:
    made = await create(client, name="data")
    wanted = [
        {"volumeId": "data", "mountPath": "/data/"},
        {"volumeId": made["id"], "mountPath": "/home/daytona/part", "subpath": "a/b"},
    ]
    sandbox = conforms("Sandbox", (await client.post("/api/sandbox", json={"volumes": wanted})).json())
    assert sandbox["volumes"] == [
        {"volumeId": made["id"], "mountPath": "/data"},
        {"volumeId": made["id"], "mountPath": "/home/daytona/part", "subpath": "a/b"},
    ]
    assert [mount.subpath for mount in machines.specs[sandbox["id"]].mounts] == [None, "a/b"]
    assert (await client.get(f"/api/volumes/{made['id']}")).json()["lastUsedAt"]

    refused = await client.delete(f"/api/volumes/{made['id']}")
    assert refused.status_code == 409
    assert sandbox["name"] in refused.json()["message"]
    fork = (await client.post(f"/api/sandbox/{sandbox['id']}/fork", json={})).json()
    assert fork["volumes"] == sandbox["volumes"]
    for one in (fork, sandbox):
        await client.delete(f"/api/sandbox/{one['id']}")
    assert (await client.delete(f"/api/volumes/{made['id']}")).status_code == 200


@pytest.mark.parametrize(
    ("path", "subpath"),
    [
        ("data", None), ("/", None), ("/proc", None), ("/proc/sys", None), ("/sys", None), ("/dev/x", None),
        ("/etc", None), ("/.agent", None), ("/a/../etc", None), ("/a/./b", None), ("/a//b", None), ("", None),
        ("/x", "/a"), ("/x", ".."), ("/x", "a/../../b"), ("/x", "a//b"),
    ],
)  # fmt: skip
async def test_bad_mounts(client: httpx.AsyncClient, path: str, subpath: str | None) -> None:
    await create(client, name="data")
    body = {"volumes": [{"volumeId": "data", "mountPath": path, "subpath": subpath}]}
    answer = await client.post("/api/sandbox", json=body)
    assert (answer.status_code, answer.json()["statusCode"]) == (400, 400)
    assert (await client.get("/api/sandbox")).json()["items"] == []


async def test_mounts_in_each_others_way_and_of_nothing(client: httpx.AsyncClient) -> None:
    await create(client, name="data")

    async def asked(*mounts: tuple[str, str]) -> int:
        volumes = [{"volumeId": volume, "mountPath": path} for volume, path in mounts]
        return (await client.post("/api/sandbox", json={"volumes": volumes})).status_code

    assert await asked(("data", "/a"), ("data", "/a")) == 400
    assert await asked(("data", "/a/b"), ("data", "/a")) == 400
    assert await asked(("data", "/a"), ("data", "/ab")) == 200
    assert await asked(("nothing", "/a")) == 404
    assert await asked(*(("data", f"/m{number}") for number in range(17))) == 400


@pytest.mark.parametrize(
    "body", [{"name": "a/b"}, {"name": " x"}, {"name": 5}, {"name": "x" * 300}, {"name": "a", "sizeGib": 0},
             {"name": "a", "sizeGib": 900_000}, {"name": "a\x00"}, []]
)  # fmt: skip
async def test_bad_bodies(client: httpx.AsyncClient, body: object) -> None:
    answer = await client.post("/api/volumes", json=body)
    assert answer.status_code == 400
    assert answer.json()["path"] == "/api/volumes"
    assert (await client.get("/api/volumes")).json() == []


async def test_a_taken_name_is_a_bad_request(client: httpx.AsyncClient) -> None:
    await create(client, name="data")
    answer = await client.post("/api/volumes", json={"name": "data"})
    assert (answer.status_code, answer.json()["message"]) == (400, "Volume with name data already exists")


async def test_what_is_not_there(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    made = await create(client, name="data")
    assert (await client.get("/api/volumes/nothing")).status_code == 404
    assert (await client.delete("/api/volumes/nothing")).status_code == 404
    for path in (made["id"], "by-name/data"):
        assert (await stranger.get(f"/api/volumes/{path}")).status_code == 404
    assert (await stranger.delete(f"/api/volumes/{made['id']}")).status_code == 404
    assert (await stranger.get("/api/volumes")).json() == []
    body = {"volumes": [{"volumeId": made["id"], "mountPath": "/data"}]}
    assert (await stranger.post("/api/sandbox", json=body)).status_code == 404


async def test_keys_without_permission(client: httpx.AsyncClient, running: Any, api_key: str) -> None:
    made = await client.post(
        "/api/api-keys", json={"name": "narrow", "permissions": ["read:volumes", "write:sandboxes"]}
    )
    narrow = {"Authorization": f"Bearer {made.json()['value']}"}
    await create(client, name="data")
    assert (await client.get("/api/volumes", headers=narrow)).status_code == 200
    assert (await client.post("/api/volumes", json={"name": "more"}, headers=narrow)).status_code == 403
    assert (await client.delete("/api/volumes/data", headers=narrow)).status_code == 403
    body = {"volumes": [{"volumeId": "data", "mountPath": "/data"}]}
    assert (await client.post("/api/sandbox", json=body, headers=narrow)).status_code == 200
