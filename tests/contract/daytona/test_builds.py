"""Snapshots out of images and Dockerfiles, sandboxes of them, their logs; registries."""

from typing import Any

import httpx
import pytest

from tests.contract.daytona.conftest import Running

DOCKERFILE = "FROM debian:12\nCOPY <<A /a\nhello\nA\nENV X=1\n"
LOGIN = {"name": "mine", "url": "https://ghcr.io", "username": "me", "password": "hidden-word"}


async def built(client: httpx.AsyncClient, running: Running, **body: Any) -> dict[str, Any]:
    """The snapshot once its build has ended."""
    made = (await client.post("/api/snapshots", json=body)).raise_for_status().json()
    logs = await client.get(f"/api/snapshots/{made['id']}/build-logs", params={"follow": "true"})
    assert logs.status_code == 200
    found: dict[str, Any] = (await client.get(f"/api/snapshots/{made['id']}")).json()
    return found


class TestSnapshots:
    async def test_of_an_image(self, client: httpx.AsyncClient, running: Running) -> None:
        answer = await client.post(
            "/api/snapshots", json={"name": "p", "imageName": "python:3.12", "cpu": 2, "memory": 4}
        )
        assert (answer.status_code, answer.json()["state"]) == (200, "pulling")
        assert (answer.json()["imageName"], answer.json()["cpu"], answer.json()["mem"]) == ("python:3.12", 2, 4)
        logs = await client.get("/api/snapshots/p/build-logs", params={"follow": "true"})
        assert "Image python:3.12" in logs.text
        assert logs.headers["content-type"].startswith("text/plain")
        assert (await client.get("/api/snapshots/p")).json()["state"] == "active"

    async def test_of_a_dockerfile(self, client: httpx.AsyncClient, running: Running) -> None:
        found = await built(
            client, running, name="d", buildInfo={"dockerfileContent": DOCKERFILE}, entrypoint=["sleep"]
        )
        assert (found["state"], found["entrypoint"]) == ("active", ["sleep"])
        assert found["buildInfo"]["dockerfileContent"] == DOCKERFILE
        url = (await client.get("/api/snapshots/d/build-logs-url")).json()["url"]
        assert url == f"http://daytona.test/api/snapshots/{found['id']}/build-logs"
        text = (await client.get(url)).text
        assert "COPY <<A /a" in text
        assert text.rstrip().endswith("Done")

    async def test_arguments_a_stage_and_no_cache(self, client: httpx.AsyncClient, running: Running) -> None:
        text = "ARG BASE\nFROM $BASE AS one\nARG V\nENV GOT=$V\nFROM missing:1\n"
        info = {"dockerfileContent": text, "buildArgs": {"BASE": "debian:12", "V": "a b"}, "target": "one"}
        found = await built(client, running, name="d", buildInfo=info)
        assert found["state"] == "active", found
        again = await built(client, running, name="e", buildInfo={**info, "skipCache": True})
        assert again["state"] == "active", again
        sandbox = (await client.post("/api/sandbox", json={"snapshot": "d"})).json()["id"]
        assert running.machines.specs[sandbox].env["GOT"] == "a b"
        named = set()
        for change in ({}, {"buildArgs": {"BASE": "debian:12"}}, {"target": None, "buildArgs": {"BASE": "missing:1"}}):
            made = await client.post("/api/sandbox", json={"buildInfo": {**info, **change}})
            named.add(made.json()["snapshot"])
        assert len(named) == 3

    async def test_one_that_cannot_be_made(self, client: httpx.AsyncClient, running: Running) -> None:
        found = await built(client, running, name="x", imageName="missing:1")
        assert (found["state"], "There is no image" in found["errorReason"]) == ("error", True)
        found = await built(client, running, name="y", buildInfo={"dockerfileContent": "FROM missing:1\n"})
        assert found["state"] == "build_failed"
        assert found["errorReason"].startswith("Dockerfile line 1: There is no image")

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"name": "a"}, "Exactly one of"),
            ({"name": "a", "imageName": "b:1", "buildInfo": {"dockerfileContent": "FROM a"}}, "Exactly one of"),
            ({"name": "a", "imageName": "python"}, "specific tag"),
            ({"name": "a", "imageName": "python:latest"}, "specific tag"),
            ({"name": "a", "imageName": "a b:1"}, "Invalid image reference"),
            ({"name": "a", "buildInfo": {"dockerfileContent": "FROM a\nNO\n"}}, "line 2"),
            ({"name": "a", "buildInfo": {"dockerfileContent": ""}}, "dockerfileContent"),
            ({"name": "a", "buildInfo": {"dockerfileContent": "FROM a", "buildArgs": {"1": "x"}}}, "buildArgs"),
            ({"name": "a", "buildInfo": {"dockerfileContent": "FROM a", "target": "b"}}, "no stage 'b'"),
            ({"name": "a", "imageName": "b:1", "gpu": 1}, "no GPUs"),
            ({"name": "a", "imageName": "b:1", "memory": 60000}, "exceeds maximum"),
        ],
    )
    async def test_bad_requests_make_nothing(self, client: httpx.AsyncClient, body: Any, words: str) -> None:
        answer = await client.post("/api/snapshots", json=body)
        assert answer.status_code == 400
        assert words in answer.json()["message"]
        assert (await client.get("/api/snapshots/a")).status_code == 404

    async def test_a_name_is_taken_once(self, client: httpx.AsyncClient, running: Running) -> None:
        await built(client, running, name="n", imageName="a:1")
        assert (await client.post("/api/snapshots", json={"name": "n", "imageName": "a:1"})).status_code == 409

    async def test_another_teams_are_not_there(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, running: Running
    ) -> None:
        found = await built(client, running, name="n", imageName="a:1")
        for path in ("", "/build-logs", "/build-logs-url"):
            assert (await stranger.get(f"/api/snapshots/{found['id']}{path}")).status_code == 404

    async def test_logs_of_what_was_not_built(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/api/snapshots/daytona-small/build-logs")).status_code == 404
        assert (await client.get("/api/snapshots/daytona-small/build-logs-url")).status_code == 404


class TestSandboxes:
    async def test_one_waits_for_its_build(self, client: httpx.AsyncClient, running: Running) -> None:
        body = {"buildInfo": {"dockerfileContent": DOCKERFILE}, "cpu": 2, "memory": 2, "disk": 5}
        made = await client.post("/api/sandbox", json=body)
        assert (made.status_code, made.json()["state"]) == (200, "pending_build")
        sandbox = made.json()["id"]
        url = (await client.get(f"/api/sandbox/{sandbox}/build-logs-url")).json()["url"]
        assert "FROM debian:12" in (await client.get(url, params={"follow": "true"})).text
        await running.core.sandboxes.settled(await running.core.access.authenticate("contract-test-key"), sandbox)
        found = (await client.get(f"/api/sandbox/{sandbox}")).json()
        assert (found["state"], found["cpu"], found["memory"], found["user"]) == ("started", 2, 2, "root")
        spec = running.machines.specs[sandbox]
        assert spec.env["X"] == "1"
        assert spec.workdir == "/srv"
        again = await client.post("/api/sandbox", json=body)
        assert again.json()["state"] == "started"

    async def test_one_whose_build_fails(self, client: httpx.AsyncClient, running: Running) -> None:
        body = {"buildInfo": {"dockerfileContent": "FROM missing:1\n"}}
        sandbox = (await client.post("/api/sandbox", json=body)).json()["id"]
        await running.core.sandboxes.settled(await running.core.access.authenticate("contract-test-key"), sandbox)
        found = (await client.get(f"/api/sandbox/{sandbox}")).json()
        assert found["state"] == "build_failed"
        assert "There is no image" in found["errorReason"]
        assert (await client.delete(f"/api/sandbox/{sandbox}")).status_code == 200

    async def test_bad_requests(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/api/sandbox", json={"buildInfo": {"dockerfileContent": "FROM a\nNO\n"}})
        assert (answer.status_code, "line 2" in answer.json()["message"]) == (400, True)
        body = {"snapshot": "x", "buildInfo": {"dockerfileContent": "FROM a\n"}}
        assert (await client.post("/api/sandbox", json=body)).status_code == 400
        sandbox = (await client.post("/api/sandbox", json={})).json()["id"]
        assert (await client.get(f"/api/sandbox/{sandbox}/build-logs")).status_code == 404
        assert (await client.get(f"/api/sandbox/{sandbox}/build-logs-url")).status_code == 404


class TestRegistries:
    async def test_made_listed_changed_removed(self, client: httpx.AsyncClient) -> None:
        made = await client.post("/api/docker-registry", json=LOGIN)
        assert (made.status_code, made.json()["url"], made.json()["registryType"]) == (201, "ghcr.io", "organization")
        path = f"/api/docker-registry/{made.json()['id']}"
        assert (await client.get(path)).json() == made.json()
        assert [each["name"] for each in (await client.get("/api/docker-registry")).json()] == ["mine"]
        change = {"name": "ours", "url": "localhost:5000", "username": "us"}
        changed = await client.patch(path, json=change)
        assert {**changed.json(), **change} == changed.json()
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(path)).status_code == 404

    async def test_the_password_is_nowhere(self, client: httpx.AsyncClient, running: Running, tmp_path: Any) -> None:
        made = await client.post("/api/docker-registry", json=LOGIN)
        listed = await client.get("/api/docker-registry")
        assert "hidden-word" not in made.text + listed.text
        for path in tmp_path.glob("db.sqlite*"):
            assert b"hidden-word" not in path.read_bytes()
        team = (await running.core.access.authenticate("contract-test-key")).team_id
        assert [login.password for login in await running.core.registries.logins(team)] == ["hidden-word"]

    async def test_bad_requests(self, client: httpx.AsyncClient) -> None:
        await client.post("/api/docker-registry", json=LOGIN)
        assert (await client.post("/api/docker-registry", json=LOGIN)).status_code == 409
        assert (await client.post("/api/docker-registry", json={**LOGIN, "url": "a b"})).status_code == 400
        assert (await client.post("/api/docker-registry", json={"name": "x"})).status_code == 400
        for method in ("GET", "DELETE"):
            assert (await client.request(method, "/api/docker-registry/none")).status_code == 404
        change = {"name": "ours", "url": "localhost:5000", "username": "us"}
        assert (await client.patch("/api/docker-registry/none", json=change)).status_code == 404

    async def test_another_teams_are_not_there(self, client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
        made = (await client.post("/api/docker-registry", json=LOGIN)).json()
        assert (await stranger.get("/api/docker-registry")).json() == []
        assert (await stranger.get(f"/api/docker-registry/{made['id']}")).status_code == 404
        assert (await stranger.delete(f"/api/docker-registry/{made['id']}")).status_code == 404
