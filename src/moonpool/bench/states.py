"""What memory and files cost when a sandbox is resumed, copied or kept."""

import asyncio
import time

from moonpool.bench.calm import calm
from moonpool.bench.engine import specification
from moonpool.bench.figures import Figure, milliseconds_since
from moonpool.bench.fork import HELD, fork, watched, watching
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.host import Host
from moonpool.hosts.model import MachineSpec, Resources, snapshot_image
from moonpool.ids import new_uuid

LARGE_MEMORY = 1024  # MiB that a sandbox holds when it is resumed
LARGE_DISK = 5 * 1024  # MiB of files in a sandbox that is forked
ROOMY = Resources(cpu=2, memory_mib=2048, disk_mib=LARGE_DISK + 2048)
HOLD = f"""
import os, time
held = bytearray(os.urandom(1 << 20) * {LARGE_MEMORY})
open("/tmp/ready", "w").close()
time.sleep(9999)
"""
FILL = f"for number in $(seq {LARGE_DISK // 256}); do head -c 268435456 /dev/urandom > /root/$number; done; sync"


async def state_figures(host: Host, runs: int) -> list[Figure]:
    return [
        await _resume(host, max(3, runs // 4)),
        *await _memory_snapshots(host, runs),
        *await _forks_of_files(host, max(3, runs // 2)),
    ]


async def _resume(host: Host, runs: int) -> Figure:
    spec, times = _roomy(), []
    await host.create(spec)
    try:
        async with host.session(spec.id) as agent:
            await agent.start(ProcessSpec(argv=("python3", "-c", HOLD), user="root"))
        await _ask(host, spec, "until test -e /tmp/ready; do sleep 0.05; done")
        for _ in range(runs):
            await host.pause(spec.id)
            await calm()
            started = time.perf_counter()
            await host.resume(spec)
            times.append(milliseconds_since(started))
    finally:
        await host.destroy(spec.id)
    return Figure(f"resume of a sandbox holding {LARGE_MEMORY} MiB", "ms", tuple(times), bar="<= 6 x runsc")


async def _memory_snapshots(host: Host, runs: int) -> list[Figure]:
    """How long the source stands still, and how long a start from the snapshot takes to the first answer."""
    frozen = []
    async with watched(host) as source:
        for _ in range(runs):
            name = new_uuid()
            await calm()
            async with watching(host, source) as longest:
                await host.capture(source.id, name, memory=True)
            frozen.append(longest[0])
            await host.forget(name)
    what = f"source frozen by a snapshot with {HELD} MiB of memory"
    return [
        Figure(what, "ms", tuple(frozen), bar="p50 <= 2 x runsc"),
        Figure("start from a memory snapshot", "ms", tuple(await _starts(host, runs)), bar="p50 <= 1.2 x runsc"),
    ]


async def _starts(host: Host, runs: int) -> list[float]:
    source, name, times = specification(), new_uuid(), []
    await host.create(source)
    try:
        await host.capture(source.id, name, memory=True)
        for _ in range(runs):
            spec = specification(snapshot_image(name))
            await calm()
            started = time.perf_counter()
            await host.unpack(spec)
            await host.resume(spec)
            await _ask(host, spec, "true")
            times.append(milliseconds_since(started))
            await host.destroy(spec.id)
    finally:
        await host.destroy(source.id)
        await host.forget(name)
    return times


async def _forks_of_files(host: Host, runs: int) -> list[Figure]:
    """In turns: machines are too noisy for two runs. Each begins with a spare member, or the first would take the one
    that the second waits for."""
    empty, full = _roomy(), _roomy()
    times: dict[str, list[float]] = {empty.id: [], full.id: []}
    await asyncio.gather(host.create(empty), host.create(full))
    try:
        await _ask(host, full, FILL)
        for _ in range(runs):
            for spec in (empty, full):
                await calm()
                await host.ready()
                times[spec.id].append(await fork(host, spec, 1))
    finally:
        await asyncio.gather(host.destroy(empty.id), host.destroy(full.id))
    return [
        Figure("fork of a sandbox without files, in turns with the next", "ms", tuple(times[empty.id])),
        Figure("fork of a sandbox with 5 GiB of files", "ms", tuple(times[full.id]), bar="p50 as before, +- 20 %"),
    ]


def _roomy() -> MachineSpec:
    spec = specification()
    return MachineSpec(id=spec.id, image=spec.image, resources=ROOMY, hostname=spec.id, user="root")


async def _ask(host: Host, spec: MachineSpec, command: str) -> None:
    async with host.session(spec.id) as agent:
        await agent.run(ProcessSpec(shell=command, user="root"))
