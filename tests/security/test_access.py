"""Who may ask for what: no key, a wrong one, an expired one, one that may only read, another team's."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.faults.answers import accepted, refused
from tests.faults.sandboxes import Sandbox, create
from tests.security.keys import Keys, make_keys
from tests.servers import Server, open_client

UNKNOWN_ID = "a0000000000000000000"


@dataclass(frozen=True)
class Operation:
    """``path`` has ``{id}`` for a sandbox's; ``more`` are httpx's further arguments."""

    method: str
    path: str
    more: dict[str, Any] = field(default_factory=dict)

    def call(self, client: httpx.Client, sandbox_id: str, **headers: str) -> httpx.Response:
        return client.request(self.method, self.path.replace("{id}", sandbox_id), headers=headers, **self.more)


def posting(path: str, /, **body: object) -> Operation:
    return Operation("POST", path, {"json": body})


FORM = {"files": {"path": (None, "/tmp/x"), "file": ("x", b"x")}}

READS = (
    Operation("GET", "/api/sandbox/{id}"),
    Operation("GET", "/api/sandbox/{id}/toolbox-proxy-url"),
    Operation("GET", "/v1/capsules/{id}"),
)
CHANGES = (
    Operation("PUT", "/api/sandbox/{id}/labels", {"json": {"labels": {"a": "b"}}}),
    posting("/api/sandbox/{id}/start"),
    posting("/api/sandbox/{id}/pause"),
    posting("/api/sandbox/{id}/stop"),
    posting("/api/sandbox/{id}/resize", cpu=2),
    posting("/api/sandbox/{id}/autostop/5"),
    posting("/api/sandbox/{id}/autodelete/-1"),
    posting("/api/sandbox/{id}/public/true"),
    posting("/api/sandbox/{id}/last-activity"),
    Operation("GET", "/toolbox/{id}/work-dir"),
    Operation("GET", "/toolbox/{id}/files?path=/"),
    Operation("GET", "/toolbox/{id}/files/download?path=/etc/hostname"),
    Operation("POST", "/toolbox/{id}/files/upload?path=/tmp/x", {"content": b"x"}),
    Operation("DELETE", "/toolbox/{id}/files?path=/tmp/x"),
    posting("/toolbox/{id}/process/execute", command="true"),
    posting("/toolbox/{id}/process/code-run", code="1"),
    posting("/toolbox/{id}/process/session", sessionId="one"),
    posting("/toolbox/{id}/process/pty", id="one"),
    posting("/v1/capsules/{id}/exec", cmd="true"),
    Operation("GET", "/v1/capsules/{id}/processes"),
    posting("/v1/capsules/{id}/files/list", path="/"),
    posting("/v1/capsules/{id}/files/read", path="/etc/hostname"),
    posting("/v1/capsules/{id}/files/mkdir", path="/tmp/x"),
    Operation("POST", "/v1/capsules/{id}/files/write", FORM),
    posting("/v1/capsules/{id}/ping"),
    posting("/v1/capsules/{id}/pause"),
    posting("/v1/capsules/{id}/resume"),
)
ENDS = (Operation("DELETE", "/api/sandbox/{id}"), Operation("DELETE", "/v1/capsules/{id}"))
CREATES = (posting("/api/sandbox"), posting("/v1/capsules"))
SOCKETS = (
    "/toolbox/{id}/process/pty/create-connect",
    "/v1/capsules/{id}/exec/stream",
    "/v1/capsules/{id}/pty",
)


def name_of(operation: Operation | str) -> str:
    return operation if isinstance(operation, str) else f"{operation.method} {operation.path}"


@pytest.fixture(scope="module")
def keys(server: Server) -> Keys:
    return make_keys(server)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with open_client(server) as client:
        yield client


@pytest.fixture(scope="module")
def anonymous(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def box(client: httpx.Client) -> Iterator[Sandbox]:
    sandbox = create(client)
    yield sandbox
    sandbox.destroy()


@pytest.mark.parametrize("operation", [*READS, *CHANGES, *ENDS], ids=name_of)
class TestOneSandbox:
    def test_unknown_ids_and_other_teams_are_not_told_apart(
        self, client: httpx.Client, keys: Keys, box: Sandbox, operation: Operation
    ) -> None:
        unknown = refused(operation.call(client, UNKNOWN_ID), 404)
        strange = refused(operation.call(client, box.id, authorization=f"Bearer {keys.stranger}"), 404)
        assert strange.replace(box.id, "ID") == unknown.replace(UNKNOWN_ID, "ID")
        assert box.state == "started"

    def test_without_a_valid_key_nothing_is_told(
        self, anonymous: httpx.Client, keys: Keys, box: Sandbox, operation: Operation
    ) -> None:
        headers = (
            {},
            {"authorization": "Bearer"},
            {"authorization": "Basic YTpi"},
            {"authorization": "Bearer mp_nothing"},
            {"x-api-key": "x" * 5000},
            {"x-api-key": keys.expired},
            {"authorization": f"Bearer {keys.expired}"},
        )
        for given in headers:
            for sandbox_id in (box.id, UNKNOWN_ID):
                assert box.id not in refused(operation.call(anonymous, sandbox_id, **given), 401)
        assert box.state == "started"


@pytest.mark.parametrize("operation", [*CHANGES, *ENDS], ids=name_of)
def test_a_reading_key_changes_nothing(anonymous: httpx.Client, keys: Keys, box: Sandbox, operation: Operation) -> None:
    assert "scope" in refused(operation.call(anonymous, box.id, authorization=f"Bearer {keys.reading}"), 403)
    assert box.state == "started"


@pytest.mark.parametrize("operation", READS, ids=name_of)
def test_a_reading_key_reads(anonymous: httpx.Client, keys: Keys, box: Sandbox, operation: Operation) -> None:
    accepted(operation.call(anonymous, box.id, authorization=f"Bearer {keys.reading}"))


@pytest.mark.parametrize("operation", CREATES, ids=name_of)
def test_creating_wants_a_key_that_may(anonymous: httpx.Client, keys: Keys, operation: Operation) -> None:
    refused(operation.call(anonymous, ""), 401)
    refused(operation.call(anonymous, "", authorization=f"Bearer {keys.expired}"), 401)
    refused(operation.call(anonymous, "", authorization=f"Bearer {keys.reading}"), 403)


def test_lists_show_the_own_team_alone(anonymous: httpx.Client, keys: Keys, box: Sandbox) -> None:
    key = {"authorization": f"Bearer {keys.stranger}"}
    assert accepted(anonymous.get("/api/sandbox", headers=key)).json()["items"] == []
    assert accepted(anonymous.get("/api/sandbox/paginated", headers=key)).json()["total"] == 0
    assert accepted(anonymous.get("/v1/capsules", headers=key)).json() == []


def test_a_reading_key_makes_no_keys(anonymous: httpx.Client, keys: Keys) -> None:
    headers = {"authorization": f"Bearer {keys.reading}"}
    refused(anonymous.post("/api/api-keys", json={"name": "more", "permissions": []}, headers=headers), 403)
    refused(anonymous.get("/api/api-keys", headers=headers), 403)
    assert anonymous.get("/metrics", headers=headers).status_code == 403
    assert anonymous.get("/metrics").status_code == 401


def test_a_revoked_key_ends_at_once(client: httpx.Client, anonymous: httpx.Client) -> None:
    made = accepted(client.post("/api/api-keys", json={"name": "short-lived", "permissions": []})).json()["value"]
    accepted(anonymous.get("/api/sandbox", headers={"x-api-key": made}))
    accepted(client.delete("/api/api-keys/short-lived"))
    refused(anonymous.get("/api/sandbox", headers={"x-api-key": made}), 401)


@pytest.mark.parametrize("path", SOCKETS, ids=name_of)
def test_websockets_ask_the_same(server: Server, keys: Keys, box: Sandbox, path: str) -> None:
    address = re.sub("^http", "ws", server.url) + path
    asked: tuple[tuple[str, str | None, int], ...] = (
        (box.id, None, 401),
        (box.id, keys.expired, 401),
        (box.id, keys.reading, 403),
        (box.id, keys.stranger, 404),
        (UNKNOWN_ID, server.api_key, 404),
    )
    for sandbox_id, key, status in asked:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        with (
            pytest.raises(InvalidStatus) as refusal,
            connect(address.replace("{id}", sandbox_id), additional_headers=headers, proxy=None),
        ):
            pass
        assert refusal.value.response.status_code == status, (path, status)
