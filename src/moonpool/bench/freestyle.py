"""What Freestyle's SDK asks for, request by request."""

import httpx

from moonpool.bench.figures import Figure, sample
from moonpool.bench.http import call, open_client
from moonpool.bench.server import RunningServer, wait_until_ready


async def freestyle_figures(server: RunningServer, runs: int) -> list[Figure]:
    """A VM and its first command, as ``vms.create()`` and ``vm.exec()`` send them."""
    made: list[str] = []
    async with open_client(server) as client:

        async def create_and_run() -> None:
            made.append(str((await call(client, "POST", "/v1/vms", json={}))["id"]))
            body = {"command": "echo hi", "terminal": None, "timeoutMs": None}
            answer = await call(client, "POST", f"/v1/vms/{made[-1]}/exec-await", json=body)
            if answer["stdout"] != "hi\n":
                raise RuntimeError(str(answer))

        figures: list[Figure] = []
        for _ in range(runs):
            await wait_until_ready(server)
            figures.append(await sample("", 1, create_and_run))
            await remove(client, made)
    samples = tuple(value for figure in figures for value in figure.samples)
    failures = sum(figure.failures for figure in figures)
    return [Figure("create + first exec, Freestyle's requests", "ms", samples, failures, "p50 <= 0.8 x runsc")]


async def remove(client: httpx.AsyncClient, made: list[str]) -> None:
    while made:
        await call(client, "DELETE", f"/v1/vms/{made.pop()}")
