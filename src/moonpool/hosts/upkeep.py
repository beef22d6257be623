"""What the machine changes without an event: it is looked at again and again, for as long as the host is open."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import structlog

from moonpool.errors import EngineError
from moonpool.hosts.parts import Parts
from moonpool.hosts.room import balance, is_scarce
from moonpool.hosts.threads import Threads

NETWORK_UPKEEP = 30.0  # seconds
ROOM_UPKEEP = 1.0  # seconds

log = structlog.get_logger(__name__)


async def keep_network(parts: Parts, threads: Threads) -> None:
    """Follow what others change on the machine: its resolvers, its firewall."""
    while True:
        await asyncio.sleep(NETWORK_UPKEEP)
        try:
            await threads.run(parts.network.refresh)
        except EngineError as error:
            log.warning("network_upkeep_failed", error=error.message)


async def keep_room(parts: Parts, threads: Threads, scarce: Callable[[], None]) -> None:
    """Neither does anybody tell when the machine's disk fills up: ``scarce`` is told then."""
    while True:
        await asyncio.sleep(ROOM_UPKEEP)
        await threads.run(balance, parts)
        if await threads.run(is_scarce, parts):
            scarce()


async def end_upkeep(upkeep: asyncio.Future[Any] | None) -> None:
    """Where it had begun."""
    if upkeep is not None:
        upkeep.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await upkeep
