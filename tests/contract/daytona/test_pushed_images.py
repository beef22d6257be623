"""The server's own registry, spoken to by hand where its clients would not, and snapshots of what was pushed."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from moonpool.config import Settings
from moonpool.dialects import registry
from moonpool.engine.images.oci import Stored
from tests.contract.daytona.conftest import KEY, Running

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
NOWHERE = "sha256:" + "0" * 64


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def described(content: bytes, kind: str = "application/octet-stream") -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}


def manifest_of(empty: bytes, *layers: bytes, **more: Any) -> bytes:
    parts = {"config": described(empty), "layers": [described(layer) for layer in layers]}
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, **parts, **more}).encode()


class Registry:
    """A client with the push access of one team."""

    def __init__(self, client: httpx.AsyncClient, given: dict[str, str]) -> None:
        self.client, self.given = client, given
        self.name = f"{given['project']}/app"

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        auth = (self.given["username"], self.given["secret"])
        url = path if path.startswith("/v2/") else f"/v2/{self.name}/{path}"
        return await self.client.request(method, url, **{"auth": auth, **options})

    async def push(self, content: bytes) -> str:
        """In two pieces and an end."""
        begun = await self.ask("POST", "blobs/uploads/")
        assert begun.status_code == 202, begun.text
        place, half = begun.headers["location"], len(content) // 2
        first = await self.ask("PATCH", place, content=content[:half])
        assert (first.status_code, first.headers["range"]) == (202, f"0-{max(0, half - 1)}")
        done = await self.ask("PUT", f"{place}?digest={digest_of(content)}", content=content[half:])
        assert (done.status_code, done.headers["docker-content-digest"]) == (201, digest_of(content)), done.text
        return digest_of(content)

    async def push_image(self, tag: str = "1", layer: bytes = b"a layer") -> bytes:
        for part in (b"{}", layer):
            await self.push(part)
        content = manifest_of(b"{}", layer)
        put = await self.put(content, tag)
        assert put.status_code == 201, put.text
        return content

    async def put(self, content: bytes, reference: str, kind: str = MANIFEST) -> httpx.Response:
        return await self.ask("PUT", f"manifests/{reference}", content=content, headers={"content-type": kind})


async def access(client: httpx.AsyncClient) -> dict[str, str]:
    answer = await client.get("/api/docker-registry/registry-push-access")
    assert answer.status_code == 200, answer.text
    found: dict[str, str] = answer.json()
    return found


@pytest.fixture
async def speaking(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(registry.create_app(running.core.services))
    async with httpx.AsyncClient(transport=transport, base_url="http://daytona.test") as client:
        yield client


@pytest.fixture
async def ours(client: httpx.AsyncClient, speaking: httpx.AsyncClient) -> Registry:
    return Registry(speaking, await access(client))


@pytest.fixture
async def theirs(stranger: httpx.AsyncClient, speaking: httpx.AsyncClient) -> Registry:
    return Registry(speaking, await access(stranger))


def code_of(answer: httpx.Response) -> str:
    errors: list[dict[str, str]] = answer.json()["errors"]
    assert errors[0]["message"]
    return errors[0]["code"]


class TestAccess:
    async def test_what_is_given(self, client: httpx.AsyncClient, conforms: Any) -> None:
        given = conforms("RegistryPushAccessDto", await access(client))
        assert given["registryUrl"] == "daytona.test"
        assert given["project"] == (await client.get("/api/object-storage/push-access")).json()["organizationId"]
        path = "/api/docker-registry/registry-push-access"
        assert (await client.get(path, params={"regionId": "moon"})).status_code == 404
        without_a_dot = await client.get(path, headers={"host": "pool"})  # Else it would be a part of Docker Hub.
        assert without_a_dot.json()["registryUrl"] == "pool:80"
        key = (await client.post("/api/api-keys", json={"name": "reader", "permissions": ["write:sandboxes"]})).json()
        denied = await client.get(path, headers={"authorization": f"Bearer {key['value']}"})
        assert denied.status_code == 403

    async def test_wrong_credentials(self, ours: Registry, theirs: Registry) -> None:
        answer = await ours.client.get("/v2/")
        assert (answer.status_code, code_of(answer)) == (401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert (await ours.ask("GET", "/v2/")).status_code == 200
        username, secret = ours.given["username"], ours.given["secret"]
        text, _, seal = secret.partition(".")
        for wrong in (
            "",
            "x",
            secret[:-1] + ("0" if secret[-1] != "0" else "1"),
            f"{text}A.{seal}",
            secret.upper(),
            theirs.given["secret"],
            "é" * 2000,
        ):
            answer = await ours.ask("GET", "/v2/", auth=(username, wrong))
            assert (answer.status_code, code_of(answer)) == (401, "UNAUTHORIZED"), wrong
        assert (await ours.ask("GET", "/v2/", auth=("other", secret))).status_code == 401
        for header in ("Basic ???", "Bearer " + KEY, "Basic", "Basic /w=="):
            answer = await ours.client.get("/v2/", headers={"authorization": header})
            assert answer.status_code == 401

    async def test_it_ends(self, ours: Registry, clock: Any) -> None:
        clock.advance(3590)
        assert (await ours.ask("GET", "/v2/")).status_code == 200
        clock.advance(20)
        answer = await ours.ask("GET", "/v2/")
        assert (answer.status_code, "expired" in answer.text) == (401, True)

    async def test_it_ends_with_the_key(
        self, client: httpx.AsyncClient, speaking: httpx.AsyncClient, running: Running
    ) -> None:
        body = {"name": "ci", "permissions": ["write:snapshots"]}
        key = (await client.post("/api/api-keys", json=body)).json()["value"]
        given = await access_by(client, key)
        pushing = Registry(speaking, given)
        await pushing.push_image()
        assert (await pushing.ask("DELETE", "manifests/1")).status_code == 403  # The key may not.
        assert (await client.delete("/api/api-keys/ci")).status_code == 204
        assert (await pushing.ask("GET", "tags/list")).status_code == 401


async def access_by(client: httpx.AsyncClient, key: str) -> dict[str, str]:
    headers = {"authorization": f"Bearer {key}"}
    found: dict[str, str] = (
        (await client.get("/api/docker-registry/registry-push-access", headers=headers)).raise_for_status().json()
    )
    return found


class TestImages:
    async def test_in_and_out(self, ours: Registry) -> None:
        content = await ours.push_image("1")
        for reference in ("1", digest_of(content)):
            got = await ours.ask("GET", f"manifests/{reference}")
            assert (got.content, got.headers["content-type"]) == (content, MANIFEST)
            head = await ours.ask("HEAD", f"manifests/{reference}")
            assert (head.status_code, head.headers["content-length"]) == (200, str(len(content)))
            assert head.headers["docker-content-digest"] == digest_of(content)
        layer = f"blobs/{digest_of(b'a layer')}"
        assert (await ours.ask("GET", layer)).content == b"a layer"
        assert (await ours.ask("HEAD", layer)).headers["content-length"] == "7"
        part = await ours.ask("GET", layer, headers={"range": "bytes=2-"})
        assert (part.status_code, part.content) == (206, b"layer")

    async def test_lists_and_indexes(self, ours: Registry) -> None:
        for tag in ("b", "a", "c"):
            await ours.push_image(tag)
        assert (await ours.ask("GET", "tags/list")).json() == {"name": ours.name, "tags": ["a", "b", "c"]}
        page = await ours.ask("GET", "tags/list?n=2")
        assert page.json()["tags"] == ["a", "b"]
        following = page.headers["link"].partition("<")[2].partition(">")[0]
        assert (await ours.ask("GET", following)).json()["tags"] == ["c"]
        assert (await ours.ask("GET", "/v2/_catalog")).json() == {"repositories": [ours.name]}
        content = await ours.push_image()
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [described(content, MANIFEST)]})
        assert (await ours.put(index.encode(), "all", INDEX)).status_code == 201
        other = json.dumps({"schemaVersion": 2, "manifests": [{**described(content), "digest": NOWHERE}]}).encode()
        answer = await ours.put(other, "none", INDEX)
        assert (answer.status_code, code_of(answer)) == (400, "MANIFEST_BLOB_UNKNOWN")

    async def test_manifests_that_cannot_be(self, ours: Registry) -> None:
        await ours.push_image()
        good = manifest_of(b"{}", b"a layer")
        wrong: list[tuple[bytes, str, str]] = [
            (b"{", MANIFEST, "MANIFEST_INVALID"),
            (b"[" * 100_000, MANIFEST, "MANIFEST_INVALID"),
            (b'{"schemaVersion": 1}', MANIFEST, "MANIFEST_INVALID"),
            (good, INDEX, "MANIFEST_INVALID"),
            (good, "text/plain", "MANIFEST_INVALID"),
            (manifest_of(b"{}", b"a layer", layers="x"), MANIFEST, "MANIFEST_INVALID"),
            (
                manifest_of(b"{}", b"a layer", config={"digest": "sha256:../../x", "size": 1}),
                MANIFEST,
                "MANIFEST_INVALID",
            ),
            (manifest_of(b"{}", b"never pushed"), MANIFEST, "MANIFEST_BLOB_UNKNOWN"),
            (manifest_of(b"{}", config={**described(b"{}"), "size": 3}), MANIFEST, "MANIFEST_BLOB_UNKNOWN"),
        ]
        for content, kind, code in wrong:
            answer = await ours.put(content, "2", kind)
            assert (answer.status_code, code_of(answer)) == (400, code), content[:80]
        assert code_of(await ours.put(good, NOWHERE)) == "DIGEST_INVALID"
        assert (await ours.ask("PUT", "manifests/2", content=b" " * (5 << 20))).status_code == 413
        assert (await ours.ask("GET", "tags/list")).json()["tags"] == ["1"]

    async def test_deleting(self, ours: Registry) -> None:
        content = await ours.push_image("1")
        await ours.push_image("2")
        layer = f"blobs/{digest_of(b'a layer')}"
        in_use = await ours.ask("DELETE", layer)
        assert (in_use.status_code, code_of(in_use)) == (405, "UNSUPPORTED")
        assert (await ours.ask("DELETE", "manifests/1")).status_code == 202
        assert (await ours.ask("GET", "manifests/2")).status_code == 200
        assert (await ours.ask("DELETE", f"manifests/{digest_of(content)}")).status_code == 202
        assert code_of(await ours.ask("GET", "manifests/2")) == "MANIFEST_UNKNOWN"
        assert code_of(await ours.ask("DELETE", "manifests/2")) == "MANIFEST_UNKNOWN"
        assert (await ours.ask("DELETE", layer)).status_code == 202
        assert code_of(await ours.ask("DELETE", layer)) == "BLOB_UNKNOWN"

    async def test_names_lead_nowhere(self, ours: Registry, tmp_path: Path) -> None:
        project = ours.given["project"]
        for name in (f"{project}/..", f"{project}/a/../../x", f"{project}/A", f"{project}/_tags", f"{project}//a"):
            answer = await ours.ask("POST", f"/v2/{name.replace('..', '%2e%2e')}/blobs/uploads/")
            assert (answer.status_code, code_of(answer)) == (400, "NAME_INVALID"), name
        assert (await ours.ask("POST", f"/v2/{project}/{'a/' * 150}b/blobs/uploads/")).status_code == 400
        for digest in ("sha256:..%2f..%2fsigning.key", "sha256:ABC", "md5:1", "x"):
            assert code_of(await ours.ask("GET", f"blobs/{digest}")) in ("DIGEST_INVALID", "UNSUPPORTED")
        assert code_of(await ours.ask("GET", "manifests/%2e%2e")) == "MANIFEST_INVALID"
        assert code_of(await ours.ask("GET", "blobs/uploads/%2e%2e")) == "BLOB_UPLOAD_UNKNOWN"
        assert code_of(await ours.ask("GET", "elsewhere")) == "UNSUPPORTED"
        assert not list((tmp_path / "registry").glob("*"))


class TestUploads:
    async def test_one_goes_on_where_it_ended(self, ours: Registry) -> None:
        content = bytes(range(256)) * 8000
        place = (await ours.ask("POST", "blobs/uploads/")).headers["location"]
        ranged = {"content-range": "0-999999"}
        assert (await ours.ask("PATCH", place, content=content[:1_000_000], headers=ranged)).status_code == 202
        for begins in (0, 2_000_000):
            ranged = {"content-range": f"{begins}-{begins + 9}"}
            answer = await ours.ask("PATCH", place, content=b"0123456789", headers=ranged)
            assert (answer.status_code, answer.headers["range"]) == (416, "0-999999")
        status = await ours.ask("GET", place)
        assert (status.status_code, status.headers["range"]) == (204, "0-999999")

        async def cut_off() -> AsyncIterator[bytes]:
            yield content[1_000_000:1_600_000]
            raise ConnectionError

        with pytest.raises(ConnectionError):
            await ours.ask("PATCH", place, content=cut_off())
        there = int((await ours.ask("GET", place)).headers["range"].partition("-")[2]) + 1
        assert there in (1_000_000, 1_600_000)
        assert (await ours.ask("PATCH", place, content=content[there:])).status_code == 202
        assert (await ours.ask("PUT", f"{place}?digest={digest_of(content)}")).status_code == 201
        assert (await ours.ask("GET", f"blobs/{digest_of(content)}")).content == content
        assert code_of(await ours.ask("GET", place)) == "BLOB_UPLOAD_UNKNOWN"

    async def test_all_at_once_and_from_another_repository(self, ours: Registry) -> None:
        done = await ours.ask("POST", f"blobs/uploads/?digest={digest_of(b'whole')}", content=b"whole")
        assert (done.status_code, done.headers["location"]) == (201, f"/v2/{ours.name}/blobs/{digest_of(b'whole')}")
        assert (await ours.ask("GET", done.headers["location"])).content == b"whole"
        path = f"/v2/{ours.given['project']}/other/blobs/uploads/"
        mounted = await ours.ask("POST", f"{path}?mount={digest_of(b'whole')}&from={ours.name}")
        assert mounted.status_code == 201
        assert (await ours.ask("GET", mounted.headers["location"])).content == b"whole"
        assert (await ours.ask("POST", f"{path}?mount={NOWHERE}&from={ours.name}")).status_code == 202

    async def test_what_is_not_what_its_digest_says(self, ours: Registry, tmp_path: Path) -> None:
        place = (await ours.ask("POST", "blobs/uploads/")).headers["location"]
        answer = await ours.ask("PUT", f"{place}?digest={digest_of(b'this')}", content=b"that")
        assert (answer.status_code, code_of(answer)) == (400, "DIGEST_INVALID")
        assert (await ours.ask("HEAD", f"blobs/{digest_of(b'this')}")).status_code == 404
        assert code_of(await ours.ask("GET", place)) == "BLOB_UPLOAD_UNKNOWN"
        assert [path for path in (tmp_path / "registry").rglob("*") if path.is_file()] == []

    async def test_requests_that_cannot_be(self, ours: Registry) -> None:
        place = (await ours.ask("POST", "blobs/uploads/")).headers["location"]
        assert code_of(await ours.ask("PUT", place)) == "DIGEST_INVALID"
        for ranged in ("x", "5-1", "0-9"):
            answer = await ours.ask("PATCH", place, content=b"abc", headers={"content-range": ranged})
            assert (answer.status_code, code_of(answer)) == (400, "BLOB_UPLOAD_INVALID")
        assert (await ours.ask("DELETE", place)).status_code == 204
        assert code_of(await ours.ask("DELETE", place)) == "BLOB_UPLOAD_UNKNOWN"


class TestTeams:
    async def test_nothing_of_anothers_is_told(self, ours: Registry, theirs: Registry) -> None:
        content = await ours.push_image("1")
        place = (await ours.ask("POST", "blobs/uploads/")).headers["location"]
        there = [
            ("GET", f"/v2/{ours.name}/manifests/1"),
            ("HEAD", f"/v2/{ours.name}/blobs/{digest_of(b'a layer')}"),
            ("GET", f"/v2/{ours.name}/tags/list"),
            ("DELETE", f"/v2/{ours.name}/manifests/{digest_of(content)}"),
            ("POST", f"/v2/{ours.name}/blobs/uploads/"),
            ("PATCH", place),
        ]
        for method, path in there:
            answer = await theirs.ask(method, path)
            nothing = await theirs.ask(method, path.replace("/app/", "/none/"))
            assert (answer.status_code, answer.content) == (403, nothing.content), path
        own = f"/v2/{theirs.name}"
        assert (await theirs.ask("HEAD", f"{own}/blobs/{digest_of(b'a layer')}")).status_code == 404
        mount = f"{own}/blobs/uploads/?mount={digest_of(b'a layer')}&from={ours.name}"
        assert (await theirs.ask("POST", mount)).status_code == 202
        assert code_of(await theirs.ask("GET", place.replace(ours.name, theirs.name))) == "BLOB_UPLOAD_UNKNOWN"
        assert code_of(await theirs.put(content, "1")) == "MANIFEST_BLOB_UNKNOWN"
        assert (await theirs.ask("GET", "/v2/_catalog")).json() == {"repositories": []}


class TestRoom:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data=tmp_path, api_key=KEY, max_registry_mib=1, image_max_bytes=1 << 20, on_exit="stop")

    async def test_a_team_has_so_much_and_no_more(self, ours: Registry, theirs: Registry, clock: Any) -> None:
        await ours.push_image(layer=b"x" * 600_000)
        place = (await ours.ask("POST", "blobs/uploads/")).headers["location"]
        answer = await ours.ask("PATCH", place, content=b"y" * 600_000)
        assert (answer.status_code, code_of(answer)) == (403, "DENIED")
        await theirs.push_image(layer=b"x" * 600_000)
        assert (await ours.ask("DELETE", "manifests/1")).status_code == 202
        await ours.ask("DELETE", place)
        content = manifest_of(b"{}", b"x" * 600_000)
        assert (await ours.ask("DELETE", f"manifests/{digest_of(content)}")).status_code == 202
        assert (await ours.ask("DELETE", f"blobs/{digest_of(b'x' * 600_000)}")).status_code == 202
        clock.advance(61)  # From then on it is looked at again.
        await ours.push(b"y" * 600_000)

    async def test_a_part_is_too_large(self, ours: Registry) -> None:
        place = (await ours.ask("POST", "blobs/uploads/")).headers["location"]
        answer = await ours.ask("PATCH", place, content=b"y" * ((1 << 20) + 1))
        assert (answer.status_code, code_of(answer)) == (413, "SIZE_INVALID")


class TestWhatNobodyNeeds:
    async def test_it_goes(self, ours: Registry, running: Running, clock: Any, tmp_path: Path) -> None:
        kept = await ours.push_image("1", b"kept")
        await ours.push_image("2", b"replaced")
        await ours.push_image("2", b"newer")
        await ours.push(b"of no image")
        place = (await ours.ask("POST", "blobs/uploads/")).headers["location"]
        await running.core.images.prune()
        assert (await ours.ask("HEAD", f"blobs/{digest_of(b'of no image')}")).status_code == 200
        clock.advance(15 * 24 * 3600)
        await running.core.images.prune()
        (team,) = (tmp_path / "registry").iterdir()
        contents = {path.read_bytes() for path in (team / "blobs").iterdir()}
        assert contents == {b"{}", b"kept", b"newer", kept, manifest_of(b"{}", b"newer")}
        assert not list((team / "uploads").iterdir()), place

    async def test_a_team_that_leaves(self, ours: Registry, running: Running, tmp_path: Path) -> None:
        await ours.push_image()
        await running.core.images.delete_all(await running.core.access.authenticate(KEY))
        assert not list((tmp_path / "registry").iterdir())


class TestSnapshots:
    async def test_of_what_was_pushed(self, ours: Registry, client: httpx.AsyncClient, running: Running) -> None:
        content = await ours.push_image("1")
        fetched: list[Any] = []
        fetch = running.machines.layers.fetch

        async def noting(source: Any, *rest: Any) -> Any:
            fetched.append(source)
            return await fetch(source, *rest)

        running.machines.layers.fetch = noting  # type: ignore[method-assign]
        for name, host, reference in (("a", "daytona.test", ":1"), ("b", "other.test:80", f"@{digest_of(content)}")):
            image = f"{host}/{ours.name}{reference}"
            await client.post("/api/snapshots", json={"name": name, "imageName": image})
            await client.get(f"/api/snapshots/{name}/build-logs", params={"follow": "true"})
            found = (await client.get(f"/api/snapshots/{name}")).json()
            assert (found["state"], found["imageName"]) == ("active", image)
        assert [type(source) for source in fetched] == [Stored, Stored]
        assert fetched[0].digest == hashlib.sha256(content).hexdigest()

    async def test_of_what_was_not(self, ours: Registry, client: httpx.AsyncClient) -> None:
        image = f"daytona.test/{ours.name}:none"
        await client.post("/api/snapshots", json={"name": "a", "imageName": image})
        await client.get("/api/snapshots/a/build-logs", params={"follow": "true"})
        found = (await client.get("/api/snapshots/a")).json()
        assert (found["state"], f"There is no image {image}" in found["errorReason"]) == ("error", True)
