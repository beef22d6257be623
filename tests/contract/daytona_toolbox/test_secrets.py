"""Secrets in a sandbox that runs."""

import httpx
import pytest

from moonpool.dialects.daytona.app import create_app
from tests.contract.daytona_toolbox.conftest import KEY, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_they_are_there_for_programs_that_start_from_now_on(
    client: httpx.AsyncClient, world: World, sandbox: str
) -> None:
    async def variable(name: str) -> str:
        answer = await client.post("/process/execute", json={"command": f"echo ${name}"})
        return str(answer.json()["result"]).strip()

    transport = httpx.ASGITransport(create_app(world.core.services))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://daytona.test", headers=headers) as platform:
        await platform.post("/api/secret", json={"name": "one", "value": "its value"})
        path = f"/api/sandbox/{sandbox}/secrets"
        assert (await platform.put(path, json={"secrets": [{"FROM_SANDBOX": "one"}, {"NEW": "one"}]})).is_success
        assert (await variable("NEW"), await variable("FROM_SANDBOX")) == ("its value", "its value")
        assert (await platform.put(path, json={"secrets": []})).is_success
        assert (await variable("NEW"), await variable("FROM_SANDBOX")) == ("", "yes")
