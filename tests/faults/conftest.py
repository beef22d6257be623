"""Faults are tried on a real server: one for the whole folder, started again by whichever test has killed it."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from moonpool.hosts.leftovers import leftovers
from moonpool.hosts.settings import HostSettings
from tests.faults.sandboxes import Sandbox, create
from tests.servers import Server, open_client, running_server, server_factory

__all__ = ["server_factory"]


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    with running_server() as server:
        yield server
        server.end()
        found = leftovers(HostSettings(data=server.data))
        # A device is let go when the last copy of the mount table that knows it is gone, whoever's that is.
        held = "loop_device_held" in (server.data / "server.log").read_text()
        assert [thing for thing in found if not (held and thing.startswith("loop device"))] == []


@pytest.fixture
def server(shared_server: Server) -> Server:
    """Running, whatever the test before did to it."""
    if shared_server.process.poll() is not None:
        shared_server.start_again()
    return shared_server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with open_client(server) as client:
        yield client


@pytest.fixture
async def crowd(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """For many requests at once."""
    headers = {"Authorization": f"Bearer {server.api_key}"}
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, timeout=120, trust_env=False, verify=False
    ) as client:
        yield client


@pytest.fixture
def box(client: httpx.Client) -> Iterator[Sandbox]:
    """A sandbox of the test's own."""
    made = create(client)
    yield made
    made.destroy()
