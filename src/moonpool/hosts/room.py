"""Room on the machine's disk, asked for before something is begun that would end half-way without it."""

import shutil
import time
from pathlib import Path

import structlog

from moonpool.errors import EngineError, MemoryDoesNotFit, NoDiskSpace
from moonpool.hosts.model import MEBIBYTE, Room
from moonpool.hosts.parts import Parts

MEMINFO = Path("/proc/meminfo")
LEAST = 64 * MEBIBYTE  # bytes that stay free, for the database and the pool's own bookkeeping
SCARCE = 256 * MEBIBYTE  # bytes free below which room is made
ENOUGH = 512 * MEBIBYTE  # bytes free from which on it is not
RECLAIM_TIMEOUT, RECLAIM_PAUSE = 10.0, 0.2  # seconds
RECLAIM_STILL = 2.0  # seconds without a change after which no more is to come

log = structlog.get_logger(__name__)


def balance(parts: Parts) -> None:
    """Blocking, cheap. The pool promises no more than the machine has."""
    try:
        parts.pool.balance()
    except EngineError as error:
        log.warning("room_unbalanced", error=error.message)


def require_disk(parts: Parts) -> None:
    """Blocking. Raises NoDiskSpace where the pool takes no further disk."""
    balance(parts)
    if parts.pool.free_bytes() < LEAST:
        parts.pool.sync(parts.pool.path)  # What was deleted counts as free from the next commit on.
        balance(parts)
    if parts.pool.free_bytes() < LEAST:
        raise NoDiskSpace


def is_scarce(parts: Parts) -> bool:
    """Blocking, cheap."""
    return parts.pool.free_bytes() < SCARCE


def reclaim(parts: Parts) -> bool:
    """Blocking. Whether there is room again, now that something was removed: btrfs gives it back a while afterwards,
    and tells nobody."""
    now = time.monotonic()
    deadline, settled, before = now + RECLAIM_TIMEOUT, now + RECLAIM_STILL, -1
    while (free := parts.pool.free_bytes()) < ENOUGH and (now := time.monotonic()) < min(deadline, settled):
        if free == before:
            time.sleep(RECLAIM_PAUSE)
        else:
            settled = now + RECLAIM_STILL
        before = free
        parts.pool.sync(parts.pool.path)
        balance(parts)
    return free >= ENOUGH


def measure_room(parts: Parts) -> Room:
    """Blocking, cheap."""
    memory = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    kibibytes = {name: int(memory[name].split()[0]) for name in ("MemTotal", "MemAvailable")}
    return Room(
        disk_total=shutil.disk_usage(parts.pool.path).total,
        disk_free=parts.pool.free_bytes(),
        memory_total=kibibytes["MemTotal"] * 1024,
        memory_available=kibibytes["MemAvailable"] * 1024,
    )


def require_memory(parts: Parts, member: str) -> None:
    """Blocking. Raises MemoryDoesNotFit where the memory of ``member`` would not fit on the disk."""
    needed = parts.cgroups.stats(member).memory_bytes
    free = shutil.disk_usage(parts.instance.data).free
    if free < needed + LEAST:
        raise MemoryDoesNotFit(
            f"The server's disk has no room for {needed // MEBIBYTE} MiB of memory",
            hint="Free some space on the server, or stop the sandbox instead.",
        )
