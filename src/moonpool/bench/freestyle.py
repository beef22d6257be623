"""What Freestyle's SDK asks for, request by request."""

import time

import httpx

from moonpool.bench.figures import Figure, milliseconds_since, sample
from moonpool.bench.http import call, open_client
from moonpool.bench.server import RunningServer, wait_until_ready


async def freestyle_figures(server: RunningServer, runs: int) -> list[Figure]:
    """A VM and its first command, as ``vms.create()`` and ``vm.exec()`` send them."""
    name, bar = "create + first exec, Freestyle's requests", "p50 <= 0.8 x runsc"
    async with open_client(server) as client:
        return [await sample(name, runs, lambda: create_and_run(client, server), bar=bar)]


async def create_and_run(client: httpx.AsyncClient, server: RunningServer) -> float:
    """Milliseconds; the VM is removed outside the measured time."""
    await wait_until_ready(server)
    started = time.perf_counter()
    identifier = (await call(client, "POST", "/v1/vms", json={}))["id"]
    try:
        body = {"command": "echo hi", "terminal": None, "timeoutMs": None}
        answer = await call(client, "POST", f"/v1/vms/{identifier}/exec-await", json=body)
        if answer["stdout"] != "hi\n":
            raise RuntimeError(str(answer))
        return milliseconds_since(started)
    finally:
        await call(client, "DELETE", f"/v1/vms/{identifier}")
