"""Room on the machine's disk, asked for before something is begun that would end half-way without it."""

import shutil

import structlog

from moonpool.errors import CheckpointRefused, EngineError, NoCapacity
from moonpool.hosts.model import MEBIBYTE
from moonpool.hosts.parts import Parts

LEAST = 64 * MEBIBYTE  # bytes that stay free, for the database and the pool's own bookkeeping

log = structlog.get_logger(__name__)


def balance(parts: Parts) -> None:
    """Blocking, cheap. The pool promises no more than the machine has."""
    try:
        parts.pool.balance()
    except EngineError as error:
        log.warning("room_unbalanced", error=error.message)


def require_disk(parts: Parts) -> None:
    """Blocking. Raises NoCapacity where the pool takes no further disk."""
    balance(parts)
    if parts.pool.free_bytes() < LEAST:
        parts.pool.sync(parts.pool.path)  # What was deleted counts as free from the next commit on.
        balance(parts)
    if parts.pool.free_bytes() < LEAST:
        raise NoCapacity("The server's disk is full", hint="Free some space on the server.")


def require_memory(parts: Parts, member: str) -> None:
    """Blocking. Raises CheckpointRefused where the memory of ``member`` would not fit on the disk."""
    needed = parts.cgroups.stats(member).memory_bytes
    free = shutil.disk_usage(parts.instance.data).free
    if free < needed + LEAST:
        raise CheckpointRefused(
            f"The server's disk has no room for {needed // MEBIBYTE} MiB of memory",
            hint="Free some space on the server, or stop the sandbox instead.",
        )
