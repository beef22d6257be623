"""What must not be answered with success, and how it is answered instead."""

from typing import Any

import httpx

TOO_LARGE = b'{"name": "' + b"x" * (10 * 1024 * 1024) + b'"}'
ENVELOPE = {"path", "timestamp", "statusCode", "error", "message", "source"}


def check(answer: httpx.Response, status: int, *parts: str) -> None:
    assert answer.status_code == status, (answer.request.url, answer.text)
    body = answer.json()
    assert set(body) == ENVELOPE
    assert body["statusCode"] == status
    for part in parts:
        assert part in body["message"]
    assert answer.headers["x-daytona-api-version"].startswith("v0.")


# One server for a whole table: a new one for each line would take most of the time.
BAD_BODIES = [
    (b"{", "Invalid JSON"),
    (b"\xff\xfe", "Invalid JSON"),
    (b"[" * 100_000, "Invalid JSON"),
    (b"[]", "object"),
    (b"null", "object"),
    (b'{"name": 5}', "name"),
    (b'{"name": ""}', "name"),
    (b'{"name": "' + b"x" * 256 + b'"}', "name"),
    (b'{"name": "a\\u0000b"}', "NUL"),
    (b'{"env": {"A": "\\u0000"}}', "NUL"),
    (b'{"labels": {"\\u0000": "a"}}', "NUL"),
    (b'{"name": "\\ud800"}', "Invalid JSON"),
    (b'{"env": {"A": 5}}', "env.A"),
    (b'{"env": ["A"]}', "env"),
    (b'{"labels": {"a": null}}', "labels.a"),
    (b'{"public": "true"}', "public"),
    (b'{"cpu": -1}', "cpu"),
    (b'{"cpu": 1.5}', "cpu"),
    (b'{"memory": "1"}', "memory"),
    (b'{"memory": 1e99}', "memory"),
    (b'{"disk": 99999999999999999999999999}', "disk"),
    (b'{"autoStopInterval": -1}', "autoStopInterval"),
    (b'{"autoStopInterval": 5256001}', "autoStopInterval"),
    (b'{"autoArchiveInterval": -1}', "autoArchiveInterval"),
    (b'{"ttlMinutes": -5}', "ttlMinutes"),
    (b'{"queueTimeout": 0}', "queueTimeout"),
    (b'{"autoStopInterval": 5, "autoPauseInterval": 5}', "mutually exclusive"),
    (b'{"autoDeleteInterval": 0, "autoPauseInterval": 5}', "Ephemeral"),
    (b'{"snapshot": "nowhere"}', "Snapshot nowhere not found"),
    (b'{"snapshot": "daytona-small", "cpu": 2}', "resources"),
    (b'{"snapshot": "daytona-small", "buildInfo": {"dockerfileContent": "FROM x"}}', "build info"),
    (b'{"networkAllowList": "10.0.0.1"}', "networkAllowList"),
    (b'{"networkAllowList": "::/0"}', "networkAllowList"),
    (b'{"networkAllowList": "1.2.3.0/24,nonsense"}', "networkAllowList"),
    (b'{"domainAllowList": "*"}', "domainAllowList"),
    (b'{"domainAllowList": "*.com"}', "domainAllowList"),
    (b'{"domainAllowList": "a.*.example.com"}', "domainAllowList"),
    (b'{"domainAllowList": "https://example.com"}', "domainAllowList"),
    (b'{"domainAllowList": "example.com,"}', "domainAllowList"),
    (b'{"domainAllowList": "203.0.113.7"}', "domainAllowList"),
    (b'{"domainAllowList": "example.com\\nx.com"}', "domainAllowList"),
    (b'{"domainAllowList": "' + b"a" * 64 + b'.com"}', "domainAllowList"),
    (b'{"domainAllowList": "' + b"a.com," * 10 + b'a.com"}', "at most 10"),
    (b'{"networkAllowList": "' + b"1.2.3.0/24," * 10 + b'1.2.3.0/24"}', "at most 10"),
]


async def test_bad_create(client: httpx.AsyncClient) -> None:
    for body, part in BAD_BODIES:
        check(await client.post("/api/sandbox", content=body), 400, part)
    assert (await client.get("/api/sandbox")).json()["items"] == []


UNSUPPORTED: list[dict[str, Any]] = [
    {"gpu": 1},
    {"kvm": True},
    {"spot": True},
    {"linkedSandbox": "x"},
    {"outboundProxyUrl": "http://proxy"},
    {"otelEndpointOverride": "http://collector"},
]


async def test_unsupported_fields_are_refused(client: httpx.AsyncClient) -> None:
    for body in UNSUPPORTED:
        check(await client.post("/api/sandbox", json=body), 422, next(iter(body)))


async def test_unsupported_fields_that_ask_for_nothing_are_taken(client: httpx.AsyncClient) -> None:
    body = {"volumes": [], "secrets": [], "gpu": 0, "kvm": False, "spot": False, "domainAllowList": "", "env": {}}
    assert (await client.post("/api/sandbox", json=body)).status_code == 200


async def test_too_large_bodies(client: httpx.AsyncClient) -> None:
    check(await client.post("/api/sandbox", content=TOO_LARGE), 413, "10 MiB")

    async def chunks() -> Any:
        for start in range(0, len(TOO_LARGE), 1 << 20):
            yield TOO_LARGE[start : start + (1 << 20)]

    check(await client.post("/api/sandbox", content=chunks()), 413, "10 MiB")


BAD_LISTS = [
    "limit=0",
    "limit=201",
    "limit=-1",
    "limit=x",
    "limit=99999999999999999999999",
    "cursor=nonsense",
    "labels=nonsense",
    "labels=[]",
    'labels={"a":1}',
    "labels=" + "[" * 50_000,
    'labels={"a":"\\u0000"}',
    "states=nonsense",
    "sandboxClasses=nonsense",
    "minCpu=0",
    "minCpu=nan",
    "maxCpu=inf",
    "minMemoryGiB=-1",
    "isPublic=perhaps",
    "createdAtAfter=yesterday",
    "sort=nonsense",
    "order=sideways",
    "name=%00",
]


async def test_bad_lists(client: httpx.AsyncClient) -> None:
    for query in BAD_LISTS:
        check(await client.get(f"/api/sandbox?{query}"), 400)


async def test_bad_pages(client: httpx.AsyncClient) -> None:
    for query in ("page=0", "page=-1", "limit=0", "page=99999999999999999999", "sort=nonsense", "order=sideways"):
        check(await client.get(f"/api/sandbox/paginated?{query}"), 400)
        check(await client.get(f"/api/snapshots?{query}"), 400)


BAD_SETTINGS = [
    "autostop/-1",
    "autostop/x",
    "autostop/1.5",
    "autostop/99999999999999999999",
    "autoarchive/-1",
    "autopause/-1",
    "autodelete/99999999999999999999",
    "ttl/-1",
    "public/perhaps",
]


async def test_bad_settings(client: httpx.AsyncClient, sandbox: dict[str, Any]) -> None:
    for path in BAD_SETTINGS:
        check(await client.post(f"/api/sandbox/{sandbox['id']}/{path}"), 400)
    assert (await client.get(f"/api/sandbox/{sandbox['id']}")).json() == sandbox


ONE_SANDBOX: list[tuple[str, str, object]] = [
    ("GET", "", None),
    ("DELETE", "", None),
    ("POST", "/start", None),
    ("POST", "/stop", None),
    ("POST", "/pause", None),
    ("POST", "/recover", None),
    ("PUT", "/labels", {"labels": {}}),
    ("POST", "/autostop/5", None),
    ("POST", "/autopause/5", None),
    ("POST", "/autoarchive/5", None),
    ("POST", "/autodelete/5", None),
    ("POST", "/ttl/5", None),
    ("POST", "/public/true", None),
    ("POST", "/last-activity", None),
    ("POST", "/network-settings", {"networkBlockAll": True}),
    ("POST", "/resize", {"cpu": 2}),
    ("GET", "/toolbox-proxy-url", None),
]


async def test_who_may_not(client: httpx.AsyncClient, stranger: httpx.AsyncClient, sandbox: dict[str, Any]) -> None:
    """No sandbox of that name, no key, a wrong key: and another team's sandbox does not exist."""
    for method, path, body in ONE_SANDBOX:
        own = f"/api/sandbox/{sandbox['id']}{path}"
        check(await client.request(method, f"/api/sandbox/nowhere{path}", json=body), 404, "not found")
        check(await stranger.request(method, own, json=body), 404, "not found")
        check(await stranger.request(method, f"/api/sandbox/{sandbox['name']}{path}", json=body), 404, "not found")
        for authorization in ("", "Bearer", "Bearer wrong", "Basic eDp5", "Bearer " + "x" * 5000):
            headers = {"Authorization": authorization}
            check(await client.request(method, own, json=body, headers=headers), 401, "Invalid credentials")
    assert (await client.get(f"/api/sandbox/{sandbox['id']}")).json()["state"] == "started"


async def test_a_key_without_the_scope(client: httpx.AsyncClient, sandbox: dict[str, Any]) -> None:
    made = (await client.post("/api/api-keys", json={"name": "reader", "permissions": []})).json()
    headers = {"Authorization": f"Bearer {made['value']}"}
    one = f"/api/sandbox/{sandbox['id']}"
    assert (await client.get(one, headers=headers)).status_code == 200
    check(await client.post("/api/sandbox", json={}, headers=headers), 403)
    check(await client.post(f"{one}/stop", headers=headers), 403)
    check(await client.delete(one, headers=headers), 403)
    check(await client.get("/api/api-keys", headers=headers), 403)


async def test_unknown_paths_and_methods(client: httpx.AsyncClient) -> None:
    check(await client.get("/api/nowhere"), 404, "Cannot GET /api/nowhere")
    check(await client.get("/api"), 404)
    check(await client.get("/api/sandbox/x/y/z/nowhere"), 404)
    check(await client.patch("/api/sandbox"), 405, "Cannot PATCH")


async def test_taken_name(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/sandbox", json={"name": "one"})).status_code == 200
    check(await client.post("/api/sandbox", json={"name": "one"}), 409)


async def test_path_tricks_find_nothing(client: httpx.AsyncClient) -> None:
    for name in ("..%2f..%2fetc", "%00", "a%2500b", "%ff%fe", "x" * 5000):
        check(await client.get(f"/api/sandbox/{name}"), 404)
