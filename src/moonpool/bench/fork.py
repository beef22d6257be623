"""Live forks of a sandbox that holds memory: how long they take, and how long their source stands still."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moonpool.bench.calm import calm
from moonpool.bench.engine import specification
from moonpool.bench.figures import Figure, milliseconds_since
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.host import Host
from moonpool.hosts.model import MachineSpec

HELD = 200  # MiB of memory that the source holds, none of it zeros
MANY = 8  # copies at once
AT_ONCE = 4  # of them that are brought up at the same time, as the server does

# Holds memory and looks at the clock all the time: the longest step between two looks is how long it stood still.
# SIGUSR1 begins anew, SIGUSR2 writes the answer down.
WATCHER = f"""
import os, signal, time
held = bytearray(os.urandom(1 << 20) * {HELD})
longest, last = 0.0, time.monotonic()
def begin(*_):
    global longest, last
    longest, last = 0.0, time.monotonic()
    open("/tmp/began", "w").close()
def tell(*_):
    with open("/tmp/new", "w") as file:
        file.write(str(longest * 1000))
    os.rename("/tmp/new", "/tmp/longest")
signal.signal(signal.SIGUSR1, begin)
signal.signal(signal.SIGUSR2, tell)
open("/tmp/ready", "w").close()
while True:
    now = time.monotonic()
    longest, last = max(longest, now - last), now
    time.sleep(0.002)
"""


async def fork_figures(host: Host, runs: int) -> list[Figure]:
    """``runs`` forks of one, a third as many of many."""
    async with watched(host) as source:
        ones, frozen = [], []
        for _ in range(runs):
            await calm()
            async with watching(host, source) as longest:
                ones.append(await fork(host, source, 1))
            frozen.append(longest[0])
        many = [await fork(host, source, MANY) for _ in range(max(3, runs // 3))]
    what = f"of a sandbox holding {HELD} MiB, engine alone"
    return [
        Figure(f"fork {what}", "ms", tuple(ones), bar="p50 <= 3 x runsc"),
        Figure(f"source frozen by a fork {what}", "ms", tuple(frozen), bar="p50 <= 2 x runsc"),
        Figure(f"{MANY} forks at once {what}", "ms", tuple(many), bar="<= 8000 ms"),
    ]


async def fork(host: Host, source: MachineSpec, count: int) -> float:
    """Milliseconds until all copies answer; they are removed outside the measured time."""
    copies = [specification() for _ in range(count)]
    turn = asyncio.Semaphore(AT_ONCE)

    async def resume(copy: MachineSpec) -> None:
        async with turn:
            await host.resume(copy)

    started = time.perf_counter()
    await host.fork(source.id, copies)
    try:
        await asyncio.gather(*(resume(copy) for copy in copies))
        return milliseconds_since(started)
    finally:
        await asyncio.gather(*(host.destroy(copy.id) for copy in copies))


@asynccontextmanager
async def watching(host: Host, source: MachineSpec) -> AsyncIterator[list[float]]:
    """Has, after the block, for how many milliseconds at most the source stood still during it."""
    longest: list[float] = []
    await _ask(host, source, "rm -f /tmp/began; pkill -USR1 python3; until test -e /tmp/began; do :; done")
    yield longest
    told = "rm -f /tmp/longest; pkill -USR2 python3; until test -e /tmp/longest; do :; done; cat /tmp/longest"
    longest.append(float(await _ask(host, source, told)))


@asynccontextmanager
async def watched(host: Host) -> AsyncIterator[MachineSpec]:
    """A sandbox that holds memory and looks at the clock."""
    spec = specification()
    await host.create(spec)
    try:
        async with host.session(spec.id) as agent:
            await agent.start(ProcessSpec(argv=("python3", "-c", WATCHER), user="root"))
        await _ask(host, spec, "until test -e /tmp/ready; do sleep 0.05; done")
        yield spec
    finally:
        await host.destroy(spec.id)


async def _ask(host: Host, spec: MachineSpec, command: str) -> str:
    async with host.session(spec.id) as agent:
        return (await agent.run(ProcessSpec(shell=command, user="root"))).stdout.decode()
