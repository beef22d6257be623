"""Secrets: kept sealed, never told, and given to sandboxes as variables."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from moonpool.access.model import Scope
from tests.contract.daytona.conftest import KEY, Running, asking

VALUE = "sk-a-very-secret-value"


@pytest.fixture
async def secret(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/api/secret", json={"name": "openai", "value": VALUE, "description": "of ours"})
    assert answer.status_code == 201, answer.text
    assert VALUE not in answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_the_life_of_a_secret(client: httpx.AsyncClient, secret: dict[str, Any]) -> None:
    here = f"/api/secret/{secret['id']}"
    assert secret["placeholder"].startswith("dtn_secret_")
    assert (await client.get(here)).json() == secret
    assert (await client.get("/api/secret")).json() == [secret]
    changed = (await client.patch(here, json={"hosts": ["API.example.com", "*.example.com"]})).json()
    assert changed["hosts"] == ["api.example.com", "*.example.com"]
    assert (changed["description"], changed["placeholder"]) == ("of ours", secret["placeholder"])
    assert (await client.post("/api/secret", json={"name": "openai", "value": "x"})).status_code == 409
    assert (await client.delete(here)).status_code == 204
    assert (await client.get(here)).status_code == 404


async def test_pages(client: httpx.AsyncClient) -> None:
    for name in ("b", "a", "ab"):
        await client.post("/api/secret", json={"name": name, "value": "x"})
    query = {"sort": "name", "order": "asc", "limit": 2}
    first = (await client.get("/api/secret/paginated", params=query)).json()
    assert ([one["name"] for one in first["items"]], first["total"]) == (["a", "ab"], 3)
    second = (await client.get("/api/secret/paginated", params={**query, "cursor": first["nextCursor"]})).json()
    assert ([one["name"] for one in second["items"]], second["nextCursor"]) == (["b"], None)
    named = (await client.get("/api/secret/paginated", params={"name": "A"})).json()
    assert named["total"] == 2
    for wrong in ({"limit": 201}, {"sort": "value"}, {"cursor": "x"}, {"cursor": "WyJ4Il0"}):
        assert (await client.get("/api/secret/paginated", params=wrong)).status_code == 400


async def test_a_sandbox_gets_the_value_and_nobody_else(
    client: httpx.AsyncClient, secret: dict[str, Any], environment_of: Callable[[str], Mapping[str, str]]
) -> None:
    wanted = {"env": {"KEY": "hidden"}, "secrets": [{"KEY": "openai"}, {"OTHER": "openai"}]}
    made = await client.post("/api/sandbox", json=wanted)
    assert VALUE not in made.text
    here = f"/api/sandbox/{made.json()['id']}"
    inside = environment_of(made.json()["id"])
    assert (inside["KEY"], inside["OTHER"]) == (VALUE, VALUE)
    shown = await client.get(f"{here}/secrets")
    assert VALUE not in shown.text
    assert [one["env"] for one in shown.json()] == ["KEY", "OTHER"]
    assert {one["placeholder"] for one in shown.json()} == {secret["placeholder"]}
    await client.patch(f"/api/secret/{secret['id']}", json={"value": "another"})
    await client.post(f"{here}/stop")
    answer = await client.put(f"{here}/secrets", json={"secrets": [{"KEY": "openai"}]})
    assert answer.status_code == 200, answer.text
    await client.post(f"{here}/start")
    inside = environment_of(made.json()["id"])
    assert (inside["KEY"], "OTHER" in inside) == ("another", False)
    await client.delete(f"/api/secret/{secret['id']}")
    assert (await client.get(f"{here}/secrets")).json() == []
    await client.post(f"{here}/stop")
    await client.post(f"{here}/start")
    assert environment_of(made.json()["id"])["KEY"] == "hidden"


async def test_forks_have_them_too(
    client: httpx.AsyncClient, secret: dict[str, Any], environment_of: Callable[[str], Mapping[str, str]]
) -> None:
    source = (await client.post("/api/sandbox", json={"secrets": [{"KEY": "openai"}]})).json()
    fork = (await client.post(f"/api/sandbox/{source['id']}/fork", json={"name": "copy"})).json()
    assert len((await client.get(f"/api/sandbox/{fork['id']}/secrets")).json()) == 1


async def test_a_secret_for_some_hosts_alone_is_not_given(client: httpx.AsyncClient) -> None:
    body = {"name": "bound", "value": VALUE, "hosts": ["api.example.com"]}
    assert (await client.post("/api/secret", json=body)).status_code == 201
    refused = await client.post("/api/sandbox", json={"secrets": [{"KEY": "bound"}]})
    assert refused.status_code == 422
    assert "hosts" in refused.json()["message"]


async def test_they_are_sealed_in_the_database(
    client: httpx.AsyncClient, secret: dict[str, Any], running: Running, tmp_path: Any
) -> None:
    await client.post("/api/sandbox", json={"secrets": [{"KEY": "openai"}]})
    await running.core.audit.flush()
    for path in tmp_path.glob("db.sqlite*"):
        assert VALUE.encode() not in path.read_bytes()


async def test_who_may_not(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, secret: dict[str, Any], running: Running
) -> None:
    here = f"/api/secret/{secret['id']}"
    assert (await stranger.get(here)).status_code == 404
    assert (await stranger.delete(here)).status_code == 404
    assert (await stranger.post("/api/sandbox", json={"secrets": [{"KEY": "openai"}]})).status_code == 400
    admin = await running.core.access.authenticate(KEY)
    weak = (await running.core.access.create_key(admin, "weak", {Scope.SANDBOXES_WRITE})).secret
    async with asking(running.app, weak) as weaker:
        for method, path in (("POST", "/api/secret"), ("PATCH", here), ("DELETE", here)):
            answer = await weaker.request(method, path, json={"name": "x", "value": "x"})
            assert answer.status_code == 403


async def test_bad_input(client: httpx.AsyncClient, secret: dict[str, Any], sandbox: dict[str, Any]) -> None:
    good = {"name": "x", "value": "x"}
    for wrong in (
        {"name": "1x"},
        {"name": "a b"},
        {"name": "a" * 256},
        {"value": ""},
        {"value": "x" * 40_000},
        {"value": "\0"},
        {"value": 5},
        {"hosts": ["https://example.com"]},
        {"hosts": ["example.com:443"]},
        {"hosts": ["*"]},
        {"hosts": ["a.example.com"] * 51},
        {"description": "x" * 501},
    ):
        assert (await client.post("/api/secret", json={**good, **wrong})).status_code == 400, wrong
    here = f"/api/sandbox/{sandbox['id']}"
    for secrets in (
        [{"KEY": "none"}],
        [{"1KEY": "openai"}],
        [{"A B": "openai"}],
        [{"KEY": "openai"}, {"KEY": "openai"}],
        ["openai"],
        [{f"K{number}": "openai" for number in range(51)}],
    ):
        assert (await client.put(f"{here}/secrets", json={"secrets": secrets})).status_code == 400, secrets
    assert (await client.put(f"{here}/secrets", json={})).status_code == 400
