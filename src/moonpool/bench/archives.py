"""A disk into a folder and back, with everything that a server does to it; and what many snapshots of one take."""

import asyncio
import os
import time
from pathlib import Path

from moonpool.archives.folder import FolderStore
from moonpool.archives.model import Archive
from moonpool.archives.service import Archives
from moonpool.bench.engine import specification
from moonpool.bench.figures import Figure
from moonpool.clock import SystemClock
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.host import Host
from moonpool.hosts.model import MachineSpec
from moonpool.ids import new_uuid

MEBIBYTE = 1024**2
CONTENT = 1024 * MEBIBYTE  # bytes, half of which can be compressed
SNAPSHOTS = 100
WRITE = f"""
import os
with open("/root/content", "wb") as file:
    for _ in range({CONTENT // MEBIBYTE}):
        file.write(os.urandom(1 << 19) + b"text " * ((1 << 19) // 5))
os.sync()
"""


async def archive_figures(host: Host, data: Path, runs: int) -> list[Figure]:
    """``data`` is the host's folder."""
    archives = Archives(host, FolderStore(data / "archives"), SystemClock())
    spec = specification()
    saved, restored = [], []
    await host.create(spec)
    try:
        await _run(host, spec, f"python3 -c '{WRITE}'")
        growth = await _snapshots(host, spec)
        await host.stop(spec.id)
        for _ in range(runs):
            started = time.perf_counter()
            archive = await archives.save(spec, _nothing, None)
            saved.append(archive.disk_bytes / 1e6 / (time.perf_counter() - started))
            await host.destroy(spec.id)
            started = time.perf_counter()
            await archives.restore(spec, archive)
            restored.append(archive.disk_bytes / 1e6 / (time.perf_counter() - started))
            await archives.remove(spec.id)
    finally:
        await host.destroy(spec.id)
        await host.keep_bases(())
    what = f"of a disk with {CONTENT // MEBIBYTE} MiB, to a folder"
    return [
        Figure(f"archive {what}", "MB/s", tuple(saved), bar=">= 200 MB/s"),
        Figure(f"restore {what}", "MB/s", tuple(restored), bar=">= 200 MB/s"),
        Figure(f"{SNAPSHOTS} snapshots of one sandbox, 1 MiB written between", "MiB", (growth,), bar="<= 110"),
    ]


async def _nothing(_archive: Archive) -> None:
    """No row keeps it."""


async def _snapshots(host: Host, spec: MachineSpec) -> float:
    """MiB that it is charged with for them: what it wrote, and what only a snapshot of it still has."""
    names = [new_uuid() for _ in range(SNAPSHOTS)]
    before = await _charged(host, spec)
    try:
        for name in names:
            await _run(host, spec, "head -c 1048576 /dev/urandom > /root/difference; sync")
            await host.capture(spec.id, name, memory=False)
        return (await _charged(host, spec) - before) / MEBIBYTE
    finally:
        for name in names:
            await host.forget(name)


async def _charged(host: Host, spec: MachineSpec) -> int:
    await asyncio.to_thread(os.sync)
    return (await host.usage(spec.id)).disk_bytes


async def _run(host: Host, spec: MachineSpec, command: str) -> None:
    async with host.session(spec.id) as agent:
        done = await agent.run(ProcessSpec(shell=command, user="root"))
    if done.exit_code:
        raise RuntimeError(done.stderr.decode())
