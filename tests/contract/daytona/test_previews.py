"""Addresses of ports, signed links and file links; what a proxy of the operator's own may ask."""

from typing import Any

import httpx
import pytest

from moonpool.access.service import AccessService
from moonpool.dialects.daytona.toolbox.links import signed
from tests.contract.daytona.conftest import Running, ShiftedClock


@pytest.fixture
def ports(sandbox: dict[str, Any]) -> str:
    return f"/api/sandbox/{sandbox['id']}/ports"


async def test_the_address_of_the_toolbox(client: httpx.AsyncClient, sandbox: dict[str, Any], ports: str) -> None:
    """SDKs of 2025 ask where the vendor's port of it is, and put the path of an operation behind that."""
    url = (await client.get(f"{ports}/2280/preview-url")).json()["url"]
    assert url == f"{sandbox['toolboxProxyUrl']}/{sandbox['id']}"


async def test_the_address_of_a_port(client: httpx.AsyncClient, sandbox: dict[str, Any], ports: str) -> None:
    answer = (await client.get(f"{ports}/3000/preview-url")).json()
    assert answer["sandboxId"] == sandbox["id"]
    assert answer["url"] == f"http://daytona.test/preview/{sandbox['id']}/3000"  # No name would lead there.
    again = (
        await client.get(f"/api/sandbox/{sandbox['name']}/ports/8080/preview-url", headers={"Host": "127.0.0.1:8080"})
    ).json()
    assert again["url"] == f"http://8080-{sandbox['id']}.localhost:8080"
    assert again["token"] == answer["token"]
    assert len(again["token"]) == 32
    await client.post(f"/api/sandbox/{sandbox['id']}/stop")
    await client.post(f"/api/sandbox/{sandbox['id']}/start")
    assert (await client.get(f"{ports}/3000/preview-url")).json()["token"] != answer["token"]


async def test_signed_links(client: httpx.AsyncClient, sandbox: dict[str, Any], ports: str) -> None:
    made = (await client.get(f"{ports}/3000/signed-preview-url", params={"expiresInSeconds": 90})).json()
    assert (made["sandboxId"], made["port"], len(made["token"])) == (sandbox["id"], 3000, 16)
    assert made["token"] in made["url"]
    found = await client.get(f"/api/preview/{made['token']}/3000/sandbox-id")
    assert found.json() == sandbox["id"]
    assert (await client.post(f"{ports}/3000/signed-preview-url/{made['token']}/expire")).status_code == 200
    refused = await client.get(f"/api/preview/{made['token']}/3000/sandbox-id")
    assert (refused.status_code, refused.json()["message"].startswith("Invalid or expired token")) == (403, True)
    assert (await client.post(f"{ports}/3000/signed-preview-url/{made['token']}/expire")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "0/preview-url",
        "65536/preview-url",
        "x/preview-url",
        "80/signed-preview-url?expiresInSeconds=0",
        "80/signed-preview-url?expiresInSeconds=86401",
        "80/signed-preview-url?expiresInSeconds=soon",
    ],
)
async def test_bad_ports_and_times(client: httpx.AsyncClient, ports: str, path: str) -> None:
    answer = await client.get(f"{ports}/{path}")
    assert (answer.status_code, answer.json()["statusCode"]) == (400, 400)


async def test_a_link_ends(client: httpx.AsyncClient, ports: str, clock: ShiftedClock) -> None:
    made = (await client.get(f"{ports}/3000/signed-preview-url")).json()
    clock.advance(61)
    assert (await client.get(f"/api/preview/{made['token']}/3000/sandbox-id")).status_code == 403


async def test_what_a_proxy_asks(client: httpx.AsyncClient, sandbox: dict[str, Any], ports: str) -> None:
    name, token = sandbox["id"], (await client.get(f"{ports}/3000/preview-url")).json()["token"]
    assert (await client.get(f"/api/preview/{name}/public")).status_code == 404
    await client.post(f"/api/sandbox/{name}/public/true")
    assert (await client.get(f"/api/preview/{name}/public")).json() is True
    assert (await client.get(f"/api/preview/{name}/validate/{token}")).json() is True
    assert (await client.get(f"/api/preview/{name}/validate/wrong")).status_code == 404
    assert (await client.get(f"/api/preview/{name}/access")).json() is True
    assert (await client.get(f"/api/preview/{name}/preview-warning?port=3000")).json() == {"enabled": False}
    assert (await client.get(f"/api/preview/{'a' * 20}/public")).status_code == 404
    assert (await client.get(f"/api/preview/{'a' * 20}/access")).status_code == 404
    assert (await client.get(f"/api/preview/{name}/signing-key")).status_code == 404
    key = (await client.get(f"/api/sandbox/{name}/signing-key")).json()
    assert (await client.get(f"/api/preview/{name}/signing-key")).json() == key


async def test_who_is_no_proxy(
    client: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    sandbox: dict[str, Any],
    running: Running,
    access: AccessService,
) -> None:
    token = (await client.get(f"/api/sandbox/{sandbox['id']}/ports/80/preview-url")).json()["token"]
    link = (await client.get(f"/api/sandbox/{sandbox['id']}/ports/80/signed-preview-url")).json()["token"]
    await client.post(f"/api/sandbox/{sandbox['id']}/public/true")
    paths = [f"{sandbox['id']}/{rest}" for rest in ("public", f"validate/{token}", "access", "signing-key")]
    for path in paths:
        assert (await stranger.get(f"/api/preview/{path}")).status_code == 404
    assert (await stranger.get(f"/api/preview/{link}/80/sandbox-id")).status_code == 403
    who = await access.authenticate(client.headers["authorization"].partition(" ")[2])
    weak = (await access.create_key(who, "weak", [])).secret
    for path in (paths[0], paths[1], f"{link}/80/sandbox-id"):
        assert (
            await client.get(f"/api/preview/{path}", headers={"Authorization": f"Bearer {weak}"})
        ).status_code == 403
        assert (await client.get(f"/api/preview/{path}", headers={"Authorization": "Bearer no"})).status_code == 401


async def test_keys_of_file_links(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, sandbox: dict[str, Any]
) -> None:
    path = f"/api/sandbox/{sandbox['id']}/signing-key"
    key = (await client.get(path)).json()
    assert (await client.get(path)).json() == key
    assert (await client.post(f"{path}/rotate")).json() != key
    assert (await stranger.get(path)).status_code == 404


async def test_file_links_let_in_to_one_file(
    running: Running, client: httpx.AsyncClient, sandbox: dict[str, Any], clock: ShiftedClock
) -> None:
    """Here there is no file behind them: what is asked is whether they get as far as the sandbox."""
    base, expires = f"/toolbox/{sandbox['id']}/files", str(int(clock.now().timestamp()) + 60)
    key = (await client.get(f"/api/sandbox/{sandbox['id']}/signing-key")).json()
    signature = signed(key, "GET", "/a b", expires)
    good = {"path": "/a b", "expires": expires, "signature": signature}
    transport = httpx.ASGITransport(running.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://daytona.test") as anybody:
        assert (await anybody.get(f"{base}/download", params=good)).status_code != 401
        for bad in ({"path": "/a"}, {"expires": "0"}, {"expires": ""}, {"signature": "v1_"}, {"signature": "é"}):
            assert (await anybody.get(f"{base}/download", params=good | bad)).status_code == 401
        assert (await anybody.get(f"{base}/info", params=good)).status_code == 401
        assert (await anybody.post(f"{base}/upload-v2", params=good)).status_code == 401
        assert (await anybody.get(f"/toolbox/{'a' * 20}/files/download", params=good)).status_code == 401
        clock.advance(61)
        assert (await anybody.get(f"{base}/download", params=good)).status_code == 401
        await client.post(f"/api/sandbox/{sandbox['id']}/signing-key/rotate")
        forever = {"path": "/x", "expires": "0", "signature": signed(key, "GET", "/x", "0")}
        assert (await anybody.get(f"{base}/download", params=forever)).status_code == 401


async def test_ssh_is_off_unless_it_is_set(client: httpx.AsyncClient, sandbox: dict[str, Any]) -> None:
    answer = await client.post(f"/api/sandbox/{sandbox['id']}/ssh-access")
    assert (answer.status_code, "MOONPOOL_SSH_LISTEN" in answer.json()["message"]) == (501, True)


async def test_ssh_access(
    running: Running,
    client: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    sandbox: dict[str, Any],
    clock: ShiftedClock,
) -> None:
    running.core.ssh.port = 2222
    path = f"/api/sandbox/{sandbox['id']}/ssh-access"
    first = (await client.post(path, params={"expiresInMinutes": 5})).json()
    assert first["sshCommand"] == f"ssh -p 2222 {first['token']}@daytona.test"
    second = (await client.post(path)).json()

    async def valid(token: str, asker: httpx.AsyncClient = client) -> Any:
        return (await asker.get("/api/sandbox/ssh-access/validate", params={"token": token})).json()

    assert await valid(first["token"]) == {"valid": False, "sandboxId": ""}
    assert await valid(second["token"]) == {"valid": True, "sandboxId": sandbox["id"]}
    assert await valid(second["token"], stranger) == {"valid": False, "sandboxId": ""}
    assert (await client.delete(path, params={"token": "wrong"})).status_code == 404
    assert (await client.delete(path, params={"token": second["token"]})).json()["id"] == sandbox["id"]
    assert (await valid(second["token"]))["valid"] is False
    third = (await client.post(path, params={"expiresInMinutes": 1})).json()
    clock.advance(61)
    assert (await valid(third["token"]))["valid"] is False
    assert (await client.delete(path)).status_code == 200
    for minutes in (0, -1, 10**6):
        assert (await client.post(path, params={"expiresInMinutes": minutes})).status_code == 400
    for answer in (await stranger.post(path), await stranger.delete(path)):
        assert answer.status_code == 404
