"""Requests that are wrong in every way that a request can be: each is refused in words, and nothing else happens."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.faults.answers import accepted, refused
from tests.faults.sandboxes import Sandbox, create
from tests.servers import Server, open_client

MEGABYTE = 1 << 20
DEEP = 100_000  # levels of JSON
NUMBERS = ("1e308", "-1e308", "1e999", "NaN", "Infinity", str(10**30), str(-(10**30)), "-1", "1.5", "9" * 10_000)
OTHER_TYPES = ('"5"', "true", "[]", "{}", "[1]", '{"a": 1}')
NOT_JSON = (b"", b"{", b'{"a": }', b"nonsense", b"\xff\xfe", b"[1, 2", b"{'a': 1}", b'"text"', b"1", b"[]", b"null")


@dataclass(frozen=True)
class Call:
    """``field`` is the one that is spoilt, ``body`` what stands beside it."""

    method: str
    path: str
    field: str
    body: dict[str, Any] = field(default_factory=dict)

    def send(self, client: httpx.Client, sandbox: Sandbox, value: str) -> httpx.Response:
        """``value`` is JSON, or what passes for it."""
        rest = "".join(f", {json.dumps(name)}: {json.dumps(given)}" for name, given in self.body.items())
        return self.send_raw(client, sandbox, f'{{"{self.field}": {value}{rest}}}'.encode())

    def send_raw(self, client: httpx.Client, sandbox: Sandbox, body: bytes) -> httpx.Response:
        path = self.path.replace("{id}", sandbox.id)
        return client.request(self.method, path, content=body, headers={"content-type": "application/json"})


NUMERIC = (
    *(
        Call("POST", "/api/sandbox", name)
        for name in ("cpu", "memory", "disk", "autoStopInterval", "autoArchiveInterval", "autoPauseInterval")
    ),
    Call("POST", "/api/sandbox", "ttlMinutes"),
    Call("POST", "/api/sandbox/{id}/resize", "cpu"),
    Call("POST", "/toolbox/{id}/process/pty", "cols", {"id": "one"}),
    *(Call("POST", "/v1/capsules", name) for name in ("vcpus", "memory_mb", "disk_size_mb", "timeout_sec")),
    Call("POST", "/v1/capsules/{id}/exec", "timeout_sec", {"cmd": "true"}),
    Call("POST", "/v1/capsules/{id}/files/list", "depth", {"path": "/"}),
)
TIMEOUTS = (  # numbers with a fraction are good here
    Call("POST", "/toolbox/{id}/process/execute", "timeout", {"command": "true"}),
    Call("POST", "/toolbox/{id}/process/code-run", "timeout", {"code": "1"}),
)
TEXTS = (
    Call("POST", "/api/sandbox", "name"),
    Call("POST", "/api/sandbox", "snapshot"),
    Call("POST", "/api/sandbox", "user"),
    Call("POST", "/toolbox/{id}/process/execute", "command"),
    Call("POST", "/toolbox/{id}/process/session", "sessionId"),
    Call("POST", "/v1/capsules", "template"),
    Call("POST", "/v1/capsules/{id}/exec", "cmd"),
    Call("POST", "/v1/capsules/{id}/files/read", "path"),
    Call("POST", "/v1/capsules/{id}/files/mkdir", "path"),
)
MAPPINGS = (
    Call("POST", "/api/sandbox", "labels"),
    Call("POST", "/api/sandbox", "env"),
    Call("PUT", "/api/sandbox/{id}/labels", "labels"),
    Call("POST", "/toolbox/{id}/process/execute", "envs", {"command": "true"}),
    Call("POST", "/v1/capsules", "metadata"),
    Call("POST", "/v1/capsules/{id}/exec", "envs", {"cmd": "true"}),
)


def name_of(call: Call) -> str:
    return f"{call.method} {call.path} {call.field}"


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with open_client(server) as client:
        yield client


@pytest.fixture(scope="module")
def box(client: httpx.Client) -> Iterator[Sandbox]:
    sandbox = create(client)
    yield sandbox
    sandbox.destroy()


@pytest.fixture(autouse=True)
def nothing_happened(client: httpx.Client, box: Sandbox) -> Iterator[None]:
    """No test here makes a sandbox or harms the one there is."""
    before = box.row()
    yield
    after = box.row()
    for changing in ("lastActivityAt", "updatedAt"):
        del before[changing], after[changing]
    assert after == before
    assert [item["id"] for item in accepted(client.get("/api/sandbox")).json()["items"]] == [box.id]
    assert box.run("echo fine") == "fine\n"


@pytest.mark.parametrize("call", NUMERIC, ids=name_of)
def test_numbers_out_of_range(client: httpx.Client, box: Sandbox, call: Call) -> None:
    for number in NUMBERS:
        refused(call.send(client, box, number), 400)


@pytest.mark.parametrize("call", TIMEOUTS, ids=name_of)
def test_timeouts_out_of_range(client: httpx.Client, box: Sandbox, call: Call) -> None:
    for number in NUMBERS:
        if number != "1.5":
            refused(call.send(client, box, number), 400)


@pytest.mark.parametrize("call", [*NUMERIC, *TIMEOUTS], ids=name_of)
def test_what_is_no_number(client: httpx.Client, box: Sandbox, call: Call) -> None:
    for value in OTHER_TYPES:
        refused(call.send(client, box, value), 400)


@pytest.mark.parametrize("call", TEXTS, ids=name_of)
def test_what_is_no_text(client: httpx.Client, box: Sandbox, call: Call) -> None:
    for value in ("5", "1.5", "true", "[]", "{}", '["a"]', r'"\ud800"', r'"a\u0000b"'):
        refused(call.send(client, box, value), 400)


@pytest.mark.parametrize("call", MAPPINGS, ids=name_of)
def test_what_is_no_mapping_of_texts(client: httpx.Client, box: Sandbox, call: Call) -> None:
    for value in ("5", "true", "[]", '"a"', '{"a": 1}', '{"a": null}', '{"a": ["b"]}', r'{"a\u0000": "b"}'):
        refused(call.send(client, box, value), 400)


@pytest.mark.parametrize("call", [TEXTS[3], TEXTS[6], TEXTS[7], MAPPINGS[2]], ids=name_of)
def test_what_is_no_json(client: httpx.Client, box: Sandbox, call: Call) -> None:
    for body in NOT_JSON:
        refused(call.send_raw(client, box, body), 400)


@pytest.mark.parametrize("call", [TEXTS[0], TEXTS[3], TEXTS[5], TEXTS[6], MAPPINGS[2]], ids=name_of)
def test_json_that_is_nested_without_end(client: httpx.Client, box: Sandbox, call: Call) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        refused(call.send(client, box, opening * DEEP + "1" + closing * DEEP), 400)
        refused(call.send_raw(client, box, opening.encode() * DEEP), 400)
        # Under a name that nobody knows, and with the escape that has a second reader look at the whole.
        refused(call.send_raw(client, box, rf'{{"x\u0000": {opening * DEEP}1{closing * DEEP}}}'.encode()), 400)


@pytest.mark.parametrize(
    "path",
    [
        f"/api/sandbox/{{id}}/{verb}/{number}"
        for verb in ("autostop", "autoarchive", "autodelete", "autopause", "ttl")
        for number in ("1e308", "x", str(10**30), str(-(10**30)), "1.5", "%00", "")
    ]
    + [f"/api/sandbox/{{id}}/{verb}/-1" for verb in ("autostop", "autoarchive", "autopause", "ttl")],
)
def test_intervals_in_paths(client: httpx.Client, box: Sandbox, path: str) -> None:
    refused(client.post(path.replace("{id}", box.id)), 404 if path.endswith("/") else 400)


@pytest.mark.parametrize(
    "query",
    [f"{name}={value}" for name in ("limit", "page") for value in ("-1", "0", "x", str(10**30), "1e9")]
    + ["cursor=x", "cursor=%00", "labels=x", "labels=[]", "labels=%22a%22", "states=x", "sort=x", "order=x"],
)
def test_queries_of_lists(client: httpx.Client, box: Sandbox, query: str) -> None:
    for path in ("/api/sandbox", "/api/sandbox/paginated"):
        if query.partition("=")[0] in known_queries(path):
            refused(client.get(f"{path}?{query}"), 400)


def known_queries(path: str) -> set[str]:
    both = {"limit", "labels", "states", "sort", "order"}
    return both | ({"page"} if path.endswith("paginated") else {"cursor"})


def test_unknown_snapshots(client: httpx.Client, box: Sandbox) -> None:
    for name in ("nothing", "../base", "base", "daytona-small/", "x" * 200, "ünïcode"):
        refused(client.post("/api/sandbox", json={"snapshot": name}), 400, 404)
        refused(client.post("/v1/capsules", json={"template": name}), 400, 404)


def test_names_that_cannot_be(client: httpx.Client, box: Sandbox) -> None:
    for name in ("", "../etc", "a/b", "/", ".." + "/" * 3, "a\nb", "\x7f", " a", "a ", "x" * 10_000, "a\x00b"):
        refused(client.post("/api/sandbox", json={"name": name}), 400)


def test_ids_that_cannot_be(client: httpx.Client, box: Sandbox) -> None:
    for text in ("..%2f..%2fetc", "%00", "x" * 5000, "%ff%fe", "%2e%2e", "a%0ab", "%F0%9F%98%80", f"{box.id}%00"):
        refused(client.get(f"/api/sandbox/{text}"), 404, 400)
        refused(client.post(f"/api/sandbox/{text}/start"), 404, 400, 405)
        refused(client.get(f"/toolbox/{text}/files"), 404, 400)
        refused(client.get(f"/v1/capsules/{text}"), 404, 400)
        refused(client.post(f"/v1/capsules/{text}/exec", json={"cmd": "true"}), 404, 400)


def test_unknown_paths_and_methods(client: httpx.Client, box: Sandbox) -> None:
    for path in ("/api/nothing", f"{box.api}/nothing", f"{box.toolbox}/nothing", "/v1/nothing", f"{box.capsule}/x"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            refused(client.request(method, path), 404, 405)
    for path in (box.api, f"{box.toolbox}/process/execute", f"{box.capsule}/exec"):
        refused(client.request("PATCH", path), 404, 405)


def test_duplicate_names(client: httpx.Client, box: Sandbox) -> None:
    assert "already exists" in refused(client.post("/api/sandbox", json={"name": box.id}), 409)


def test_resources_nobody_has(client: httpx.Client, box: Sandbox) -> None:
    for amount in ({"cpu": 1000}, {"memory": 1_000_000}, {"disk": 1_000_000}):
        refused(client.post("/api/sandbox", json=amount), 400)
    for amount in ({"vcpus": 1000}, {"memory_mb": 2**31 - 1}, {"disk_size_mb": 2**31 - 1}):
        refused(client.post("/v1/capsules", json=amount), 400)


@pytest.mark.parametrize("path", ["/api/sandbox", "/v1/capsules"])
@pytest.mark.parametrize("shape", ["one header", "many headers", "address"])
def test_headers_of_ten_megabytes(server: Server, path: str, shape: str) -> None:
    filler = {
        "one header": f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Filler: {'x' * 10 * MEGABYTE}\r\n\r\n",
        "many headers": f"GET {path} HTTP/1.1\r\nHost: x\r\n" + "X-Filler: yyyyyyyyyyyyyyy\r\n" * 400_000 + "\r\n",
        "address": f"GET {path}?{'x' * 10 * MEGABYTE} HTTP/1.1\r\nHost: x\r\n\r\n",
    }[shape]
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(filler.encode())
        assert connection.makefile("rb").readline().split()[1] == b"431"


def test_commands_of_ten_megabytes(client: httpx.Client, box: Sandbox) -> None:
    """They run, through every way in."""
    command = f"printf done; : {'x' * 10 * MEGABYTE}"
    assert box.run(command) == "done"
    answer = client.post(f"{box.capsule}/exec", json={"cmd": "/bin/sh", "args": ["-c", command]})
    assert accepted(answer).json()["stdout"] == "done"
    code = {"code": f"print('done') # {'x' * 10 * MEGABYTE}", "language": "python"}
    assert accepted(client.post(f"{box.toolbox}/process/code-run", json=code)).json()["result"] == "done\n"


def test_bodies_without_end(client: httpx.Client, box: Sandbox) -> None:
    body = b'{"command": "' + b"x" * 40 * MEGABYTE
    for path in ("/api/sandbox", f"{box.toolbox}/process/execute", f"{box.capsule}/exec"):
        refused(client.post(path, content=body), 413)


def test_environments_that_cannot_be(client: httpx.Client, box: Sandbox) -> None:
    refused(client.post("/api/sandbox", json={"env": {f"A{n}": "x" for n in range(5000)}}), 400)
    for env in ({"A": "x" * MEGABYTE}, {"": "x"}, {"A=B": "x"}):
        refused(client.post("/api/sandbox", json={"env": env}), 400)
        refused(box.try_run("true", envs=env), 400)
        refused(client.post(f"{box.capsule}/exec", json={"cmd": "true", "envs": env}), 400)
