"""The files of builds, put there by S3's own client (what the SDK uses) and by hand where that would not."""

import asyncio
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from moonpool.dialects.daytona.storage import unchunked
from moonpool.errors import InvalidInput
from tests.contract.daytona.conftest import Running

EMPTY = hashlib.sha256(b"").hexdigest()


async def access(client: httpx.AsyncClient) -> dict[str, str]:
    answer = await client.get("/api/object-storage/push-access")
    assert answer.status_code == 200
    found: dict[str, str] = answer.json()
    return found


def signed(
    given: dict[str, str], method: str, path: str, query: str = "", content: bytes = b"", **changes: str
) -> dict[str, str]:
    """Headers as S3's clients make them, written down again from Amazon's description."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "host": "daytona.test",
        "x-amz-content-sha256": hashlib.sha256(content).hexdigest(),
        "x-amz-date": now,
        "x-amz-security-token": given["sessionToken"],
        **changes,
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{headers['x-amz-content-sha256']}"
    scope = f"{now[:8]}/local/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{given['secret']}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    value = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={given['accessKey']}/{scope}"
    return {**headers, "authorization": f"{credential}, SignedHeaders={names}, Signature={value}"}


class Storage:
    def __init__(self, client: httpx.AsyncClient, given: dict[str, str]) -> None:
        self._client, self.given = client, given

    async def ask(self, method: str, key: str, query: str = "", content: bytes = b"", **changes: str) -> httpx.Response:
        path = f"/api/object-storage/s3/{self.given['bucket']}" + (f"/{key}" if key else "")
        headers = signed(self.given, method, path, query, content, **changes)
        url = f"http://daytona.test{path}" + (f"?{query}" if query else "")
        return await self._client.request(method, url, headers=headers, content=content)

    def key(self, name: str) -> str:
        return f"{self.given['organizationId']}/{name}/context.tar"


@pytest.fixture
async def storage(client: httpx.AsyncClient) -> Storage:
    return Storage(client, await access(client))


class TestObjects:
    async def test_one_is_put_found_and_built_with(self, storage: Storage, client: httpx.AsyncClient) -> None:
        key = storage.key("abc123")
        assert (await storage.ask("HEAD", key)).status_code == 404
        put = await storage.ask("PUT", key, content=b"tar")
        assert (put.status_code, put.headers["etag"]) == (200, f'"{hashlib.md5(b"tar").hexdigest()}"')
        head = await storage.ask("HEAD", key)
        assert (head.status_code, head.headers["content-length"]) == (200, "3")
        listed = await storage.ask("GET", "", f"list-type=2&prefix={key.replace('/', '%2F')}")
        assert f"<Key>{key}</Key>" in listed.text
        assert "<KeyCount>0</KeyCount>" in (await storage.ask("GET", "", "list-type=2&prefix=x")).text
        build = {"dockerfileContent": "FROM debian:12\nCOPY a /a\n", "contextHashes": ["abc123"]}
        made = (await client.post("/api/snapshots", json={"name": "c", "buildInfo": build})).json()
        await client.get(f"/api/snapshots/{made['id']}/build-logs", params={"follow": "true"})
        assert (await client.get("/api/snapshots/c")).json()["state"] == "active"

    async def test_in_parts(self, storage: Storage, running: Running) -> None:
        key = storage.key("parts")
        begun = await storage.ask("POST", key, "uploads=")
        upload = begun.text.split("<UploadId>")[1].split("<")[0]
        for number, content in ((2, b"two"), (1, b"one")):
            query = f"partNumber={number}&uploadId={upload}"
            assert (await storage.ask("PUT", key, query, content)).status_code == 200
        listed = b"".join(b"<Part><PartNumber>%d</PartNumber></Part>" % number for number in (1, 2))
        done = await storage.ask("POST", key, f"uploadId={upload}", b"<C>" + listed + b"</C>")
        assert done.status_code == 200
        path = running.core.builds.contexts.path(storage.given["organizationId"], "parts")
        assert path.read_bytes() == b"onetwo"
        assert (await storage.ask("DELETE", key, f"uploadId={upload}")).status_code == 404

    async def test_a_build_without_its_files(self, client: httpx.AsyncClient) -> None:
        build = {"dockerfileContent": "FROM debian:12\nCOPY a /a\n", "contextHashes": ["never"]}
        made = (await client.post("/api/snapshots", json={"name": "c", "buildInfo": build})).json()
        await client.get(f"/api/snapshots/{made['id']}/build-logs", params={"follow": "true"})
        found = (await client.get("/api/snapshots/c")).json()
        assert (found["state"], "context never is not there" in found["errorReason"]) == ("build_failed", True)


class TestRefusals:
    async def test_another_teams_place(self, storage: Storage, running: Running, stranger: httpx.AsyncClient) -> None:
        theirs = (await access(stranger))["organizationId"]
        for key in (f"{theirs}/a/context.tar", storage.key("..") + "/x", storage.key("a").replace("context", "other")):
            assert (await storage.ask("PUT", key, content=b"x")).status_code == 403
        assert not list(running.core.builds.contexts.folder.glob("*/*"))

    async def test_names_lead_nowhere(self, storage: Storage) -> None:
        assert (await storage.ask("PUT", storage.key("a%20b"), content=b"x")).status_code == 400

    async def test_wrong_signatures(self, storage: Storage, client: httpx.AsyncClient) -> None:
        key = storage.key("a")
        given = storage.given
        token = given["sessionToken"]
        for change in ({"secret": "other"}, {"accessKey": "OTHER"}, {"sessionToken": token[:-1] + "x"}):
            other = Storage(client, {**given, **change})
            answer = await other.ask("PUT", key, content=b"x")
            assert (answer.status_code, "<Code>AccessDenied</Code>" in answer.text) == (403, True)
        path = f"http://daytona.test/api/object-storage/s3/{given['bucket']}/{key}"
        assert (await client.put(path, content=b"x")).status_code == 403
        old = {"x-amz-date": "20200101T000000Z"}
        assert (await storage.ask("PUT", key, content=b"x", **old)).status_code == 403

    async def test_they_end(self, storage: Storage, clock: Any) -> None:
        clock.advance(3700)
        assert (await storage.ask("HEAD", storage.key("a"))).status_code == 403

    async def test_other_content_than_was_signed(self, storage: Storage) -> None:
        wrong = {"x-amz-content-sha256": EMPTY}
        assert (await storage.ask("PUT", storage.key("a"), content=b"x", **wrong)).status_code == 400
        assert (await storage.ask("HEAD", storage.key("a"))).status_code == 404


async def framed(*pieces: bytes) -> bytes:
    async def stream() -> Any:
        for piece in pieces:
            await asyncio.sleep(0)
            yield piece

    return b"".join([data async for data in unchunked(stream())])


async def test_the_framing_of_s3_is_taken_off_wherever_it_is_cut() -> None:
    whole = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n"
    for size in (1, 2, 3, 7, len(whole)):
        assert await framed(*(whole[at : at + size] for at in range(0, len(whole), size))) == b"hello world"
    for broken in (b"5\r\nhel", b"zz\r\n", b"5\r\nhello\r\n", json.dumps("x" * 2000).encode()):
        with pytest.raises(InvalidInput):
            await framed(broken)
