"""Clients that stay connected over the agent protocol, each typing a line a second into a shell of its own."""

import asyncio
import math
import time

import httpx

from moonpool.bench.codesandbox import connected, create
from moonpool.bench.figures import Figure
from moonpool.bench.http import MEBIBYTE, call, open_client, resident
from moonpool.bench.server import RunningServer, wait_until_ready

CLIENTS = 50
EVERY = 1.0  # seconds from one line to the next
SETTLED = 0.1  # of the time, until what a connection needs has been had
APART = 10.0  # seconds; the same, each client in a sandbox of its own


async def typing_figures(server: RunningServer, seconds: float) -> list[Figure]:
    """``seconds`` in one sandbox; then for a moment in as many sandboxes as there are clients."""
    async with open_client(server) as client:
        await wait_until_ready(server)
        together = await create(client)
        times, failures, growth = await typing(client, server, [together] * CLIENTS, seconds)
        apart = []
        for _ in range(CLIENTS):
            apart.append(await create(client))
        alone, missing, _ = await typing(client, server, apart, min(seconds, APART))
    return [
        Figure(f"echo in a shell, {CLIENTS} clients of one sandbox", "ms", tuple(times), failures, "p95 <= 50 ms"),
        Figure(f"server's memory growth in {seconds:.0f} s of that", "MiB", (growth,), bar="flat"),
        Figure(f"echo in a shell, {CLIENTS} clients of a sandbox each", "ms", tuple(alone), missing),
    ]


async def typing(
    client: httpx.AsyncClient, server: RunningServer, starts: list[dict[str, object]], seconds: float
) -> tuple[list[float], int, float]:
    """Every echo's milliseconds, how many clients failed, and by how many MiB the server grew once all were at work."""
    times: list[float] = []
    ready = asyncio.Barrier(len(starts) + 1)

    async def type_lines(number: int) -> None:
        async with connected(starts[number]) as peer:
            shell = await peer.shell("cat")
            await peer.echo(shell, "ready\r")
            await ready.wait()
            await asyncio.sleep(EVERY * number / len(starts))  # Not all in the same moment, as people do not.
            for count in range(round(seconds / EVERY)):
                begun = time.perf_counter()
                times.append(await peer.echo(shell, f"line {count} of {number}\r"))
                await asyncio.sleep(max(0.0, EVERY - (time.perf_counter() - begun)))

    async def growth() -> float:
        await ready.wait()
        await asyncio.sleep(SETTLED * seconds)
        before = resident(server.pid)
        await asyncio.sleep((1 - SETTLED) * seconds)
        return (resident(server.pid) - before) / MEBIBYTE

    async def typist(number: int) -> None:
        try:
            await type_lines(number)
        except BaseException:
            await ready.abort()  # Else all others would wait for who is not coming.
            raise

    typists = (typist(number) for number in range(len(starts)))
    grown, *results = await asyncio.gather(growth(), *typists, return_exceptions=True)
    failures = sum(isinstance(result, BaseException) for result in results)
    for identifier in {str(start["id"]) for start in starts}:
        await call(client, "DELETE", f"/vm/{identifier}")
    return times, failures, grown if isinstance(grown, float) else math.nan
