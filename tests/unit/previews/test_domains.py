"""Freestyle's domains and how they lead to VMs; the domains under which previews are served."""

from pathlib import Path

import httpx
import pytest

from moonpool.config import Settings
from moonpool.errors import InvalidInput
from moonpool.previews.gateway.names import Names
from moonpool.sandboxes.model import NewSandbox, Sandbox
from tests.conftest import ManualClock
from tests.unit.app.conftest import KEY
from tests.unit.previews.conftest import DOMAIN, Previews, Served, previewing, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAPPINGS = "/domains/v1/mappings"


def api(previews: Previews, key: str = KEY) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{previews.port}", headers=headers, trust_env=False)


async def vm(previews: Previews) -> Sandbox:
    """Its port 443 leads to the app."""
    ports = [{"port": 443, "targetPort": previews.app.port}]
    return await previews.create(NewSandbox(dialect_data={"freestyle": {"ports": ports}}))


async def test_a_domain_is_mapped_and_unmapped(previews: Previews) -> None:
    made = await vm(previews)
    async with api(previews) as client:
        answer = await client.post(f"{MAPPINGS}/app.example.com", json={"vmId": made.id, "vmPort": 443})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["vmId"], answer.json()["vmPort"]) == (made.id, previews.app.port)
        assert (await previews.ask(host="app.example.com")).body == b"hello"
        listed = (await client.get(MAPPINGS, params={"limit": "10"})).json()
        assert [mapping["domain"] for mapping in listed] == ["app.example.com"]
        assert (await client.get(MAPPINGS, params={"domain": "other.example.com"})).json() == []
        assert (await client.delete(f"{MAPPINGS}/app.example.com")).status_code == 200
        assert (await previews.ask(host="app.example.com")).status == 404
        again = await client.delete(f"{MAPPINGS}/app.example.com")
        assert (again.status_code, again.json()["code"]) == (403, "NO_DOMAIN_OWNERSHIP")


@pytest.mark.parametrize("domain", ["localhost", DOMAIN, f"x.{DOMAIN}", "1.2.3.4", "a_b.com"])
async def test_domains_that_cannot_be(previews: Previews, domain: str) -> None:
    made = await vm(previews)
    async with api(previews) as client:
        answer = await client.post(f"{MAPPINGS}/{domain}", json={"vmId": made.id})
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_DOMAIN")
        missing = await client.post(f"{MAPPINGS}/app.example.org", json={"vmId": "a" * 20})
        assert (missing.status_code, missing.json()["code"]) == (404, "VM_NOT_FOUND")
    async with api(previews, "wrong") as stranger:
        assert (await stranger.get(MAPPINGS)).status_code == 401


async def test_a_vm_s_own_domain(previews: Previews) -> None:
    made = await vm(previews)
    mapping = await previews.core.previews.links.map_own(previews.admin, made.id, previews.app.port)
    assert mapping.domain == f"{made.id}.{DOMAIN}"
    assert (await previews.ask(host=mapping.domain)).body == b"hello"


async def test_domains_and_links_hold_over_a_restart(tmp_path: Path) -> None:
    link, owner = "", ""
    for turn in range(2):
        clock = ManualClock()
        async with (
            serving(tmp_path, clock) as (application, machines, port),
            previewing(Served(application, machines, port, clock)) as previews,
        ):
            links = previews.core.previews.links
            if not turn:
                await links.map_domain(previews.admin, previews.sandbox.id, "kept.example.com", 80)
                await links.map_domain(previews.admin, (await vm(previews)).id, "gone.example.com", 80)
                gone = (await links.mappings(previews.admin))[0].sandbox_id
                await previews.core.sandboxes.destroy(previews.admin, gone)
                made = await links.create(previews.admin, previews.sandbox.id, 80, 3600)
                link, owner = made.token, made.link.sandbox_id
            found = await previews.core.previews.doors.link(link, 80)
            assert found is not None
            assert found.sandbox_id == owner
            assert [mapping.domain for mapping in await links.mappings(previews.admin)] == ["kept.example.com"]


async def test_further_domains(previews: Previews) -> None:
    names = Names([DOMAIN, "csb.app"], lambda domain: None)
    target = names.by_host(f"{previews.sandbox.id}-3000.csb.app".encode())
    assert target is not None
    assert (target.sandbox_id, target.port) == (previews.sandbox.id, 3000)


async def test_nobody_takes_where_the_apis_are(tmp_path: Path) -> None:
    """Else whoever maps it has every other team's requests, passwords among them."""
    clock = ManualClock()
    names = {"public_url": "https://moonpool.example.com", "web_url": "https://console.example.com"}
    async with (
        serving(tmp_path, clock, **names) as (application, machines, port),
        previewing(Served(application, machines, port, clock)) as previews,
    ):
        made, links = await vm(previews), previews.core.previews.links
        own = ("moonpool.example.com", "Moonpool.Example.com.", "x.moonpool.example.com", "console.example.com")
        for domain in (*own, "example.com"):
            with pytest.raises(InvalidInput):
                await links.map_domain(previews.admin, made.id, domain, 80)
        # Mapped by an earlier version, or before the server had its name.
        links.reserved = lambda domain: False
        await links.map_domain(previews.admin, made.id, "moonpool.example.com", previews.app.port)
        assert (await previews.ask("/healthz", host="moonpool.example.com")).status == 200
        assert (await previews.ask("/v1/capsules", host="moonpool.example.com:443")).status == 401


async def test_a_server_without_a_name_gives_none_away(previews: Previews) -> None:
    made, links = await vm(previews), previews.core.previews.links
    links.knows_itself = Settings(listen="0.0.0.0:8080").knows_itself
    with pytest.raises(InvalidInput, match="MOONPOOL_PUBLIC_URL"):
        await links.map_domain(previews.admin, made.id, "app.example.net", 80)
    links.knows_itself = Settings(listen="0.0.0.0:8080", public_url="https://x.example").knows_itself
    await links.map_domain(previews.admin, made.id, "app.example.net", 80)
