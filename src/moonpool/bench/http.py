"""The same through HTTP, and what only HTTP shows: transfers, many at once, density, rest."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from moonpool.bench.calm import calm
from moonpool.bench.commands import command_figures
from moonpool.bench.figures import Figure, milliseconds_since, sample
from moonpool.bench.server import RunningServer, wait_until_ready

MEBIBYTE = 1024 * 1024
TRANSFER = 256 * MEBIBYTE
CHUNK = MEBIBYTE
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")  # per second, as /proc/PID/stat counts


def open_client(server: RunningServer) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {server.api_key}"}
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=server.url, headers=headers, timeout=120.0, trust_env=False, limits=limits)


async def call(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> Any:
    answer = await client.request(method, path, **options)
    answer.raise_for_status()
    return answer.json() if answer.content else None


async def create(client: httpx.AsyncClient) -> str:
    return str((await call(client, "POST", "/api/sandbox", json={}))["id"])


async def remove(client: httpx.AsyncClient, identifier: str) -> None:
    await call(client, "DELETE", f"/api/sandbox/{identifier}")


async def execute(client: httpx.AsyncClient, identifier: str, command: str) -> str:
    answer = await call(client, "POST", f"/toolbox/{identifier}/process/execute", json={"command": command})
    if answer["exitCode"]:
        raise RuntimeError(f"exit code {answer['exitCode']}")
    return str(answer["result"])


async def create_and_run(client: httpx.AsyncClient, server: RunningServer) -> float:
    await wait_until_ready(server)
    started = time.perf_counter()
    identifier = await create(client)
    try:
        await execute(client, identifier, "echo hi")
        return milliseconds_since(started)
    finally:
        await remove(client, identifier)


async def http_figures(server: RunningServer, data: Path, runs: int) -> list[Figure]:
    async with open_client(server) as client:
        created = await sample("create + first command, HTTP", runs, lambda: create_and_run(client, server))
        identifier = await create(client)
        commands = await command_figures(client, data, identifier, runs)
        upload, download = await transfers(client, server, identifier, max(3, runs // 10))
        await remove(client, identifier)
    return [created, *commands, *upload, *download]


async def transfers(
    client: httpx.AsyncClient, server: RunningServer, identifier: str, runs: int
) -> tuple[list[Figure], list[Figure]]:
    """256 MiB each way, MB/s, with how much the server's memory grew over it."""
    path = f"/toolbox/{identifier}/files"
    target = {"path": "/home/daytona/big"}
    block = os.urandom(CHUNK)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(TRANSFER // CHUNK):
            yield block

    async def over() -> float:
        await calm()
        started = time.perf_counter()
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(TRANSFER)}
        await call(client, "POST", f"{path}/upload-v2", params=target, content=body(), headers=headers)
        return TRANSFER / 1e6 / (time.perf_counter() - started)

    async def up() -> float:
        await execute(client, identifier, f"rm -f {target['path']}")
        return await over()

    async def down() -> float:
        started, received = time.perf_counter(), 0
        async with client.stream("GET", f"{path}/download", params=target) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_raw():
                received += len(chunk)
        if received != TRANSFER:
            raise RuntimeError(f"{received} bytes came")
        return TRANSFER / 1e6 / (time.perf_counter() - started)

    uploads, memory = await _transfer("upload", up, server, runs)
    replaced = await sample("upload of 256 MiB in the place of another file", runs, over, unit="MB/s")
    return [uploads, replaced, memory], [*await _transfer("download", down, server, runs)]


async def _transfer(
    name: str, action: Callable[[], Awaitable[float]], server: RunningServer, runs: int
) -> tuple[Figure, Figure]:
    """How fast it is, and by how much the server's memory grows."""
    before = resident(server.pid)
    figure = await sample(f"{name} of 256 MiB", runs, action, unit="MB/s", bar=">= 300 MB/s")
    growth = (resident(server.pid) - before) / MEBIBYTE
    return figure, Figure(f"server's memory growth over {name}s", "MiB", (growth,), bar="flat")


async def burst(server: RunningServer, count: int, rounds: int) -> Figure:
    """``count`` creates with a first command, all at once; each one's own time."""
    times: list[float] = []
    failures = 0

    async def one(client: httpx.AsyncClient, started: float) -> str:
        identifier = await create(client)
        await execute(client, identifier, "echo hi")
        times.append(milliseconds_since(started))
        return identifier

    async with open_client(server) as client:
        for _ in range(rounds):
            await wait_until_ready(server)
            await calm()
            started = time.perf_counter()
            results = await asyncio.gather(*(one(client, started) for _ in range(count)), return_exceptions=True)
            failures += sum(isinstance(result, BaseException) for result in results)
            await asyncio.gather(*(remove(client, result) for result in results if isinstance(result, str)))
    return Figure(f"{count} creates at once, HTTP, each", "ms", tuple(times), failures, "p95 <= 8 x runsc")


async def rest(server: RunningServer, cgroup_cpu: Callable[[], float], count: int, seconds: float) -> list[Figure]:
    """``count`` sandboxes with nothing but the agent in them: processor and memory at rest."""
    async with open_client(server) as client:
        identifiers = [await create(client) for _ in range(count)]
        await _all_at_rest(client, count)
        server_before, boxes_before, started = cpu_seconds(server.pid), cgroup_cpu(), time.perf_counter()
        await asyncio.sleep(seconds)  # The length of the measurement, not a wait for anything.
        elapsed = time.perf_counter() - started
        figures = [
            Figure(
                f"server at rest, {count} sandboxes",
                "% of a core",
                (100 * (cpu_seconds(server.pid) - server_before) / elapsed,),
                bar="< 1",
            ),
            Figure(
                f"{count} sandboxes at rest, all together",
                "% of a core",
                (100 * (cgroup_cpu() - boxes_before) / elapsed,),
                bar="< 5",
            ),
        ]
        figures.append(await _awake(client, server, identifiers, seconds))
        await asyncio.gather(*(remove(client, identifier) for identifier in identifiers))
    return figures


async def _awake(
    client: httpx.AsyncClient, server: RunningServer, identifiers: Sequence[str], seconds: float
) -> Figure:
    """The same with a process in each that only waits, so that none sleeps and each is sampled: what sampling costs."""
    for identifier in identifiers:
        await execute(client, identifier, "nohup sleep 3600 > /dev/null 2>&1 &")
    before, started = cpu_seconds(server.pid), time.perf_counter()
    await asyncio.sleep(seconds)  # As above.
    share = 100 * (cpu_seconds(server.pid) - before) / (time.perf_counter() - started)
    return Figure(f"server, {len(identifiers)} sandboxes awake and sampled", "% of a core", (share,))


async def _all_at_rest(client: httpx.AsyncClient, count: int, but: int = 0) -> None:
    """All that run sleep ``but`` for so many, ``count`` at least, and nothing is being made for the next creates."""
    async with asyncio.timeout(120):
        while True:  # Another process: its only sign is what it answers.
            answer = await client.get("/healthz")
            found = answer.json()
            if answer.is_success and found["asleep"] >= max(count, found["running"] - but):
                return
            await asyncio.sleep(0.2)


async def density(server: RunningServer, memory: Callable[[], int], count: int) -> list[Figure]:
    """``count`` sandboxes alive at once, every one answering; memory of one at rest."""
    async with open_client(server) as client:
        before = memory()
        identifiers: list[str] = []
        for _ in range(count):
            identifiers.append(await create(client))
        answers = await asyncio.gather(
            *(execute(client, identifier, "echo hi") for identifier in identifiers), return_exceptions=True
        )
        silent = sum(isinstance(answer, BaseException) for answer in answers)
        await _all_at_rest(client, count - silent, but=silent)
        each = (memory() - before) / MEBIBYTE / count
        await asyncio.gather(*(remove(client, identifier) for identifier in identifiers))
    return [
        Figure("sandboxes alive at once, all answering", "sandboxes", (float(count - silent),), silent, f"{count}"),
        Figure("memory of a sandbox at rest", "MiB", (each,), bar="<= 40"),
    ]


def resident(pid: int) -> int:
    """Bytes of physical memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
