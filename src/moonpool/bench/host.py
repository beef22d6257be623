"""The engine alone, as the benchmark measures it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from moonpool.engine.images import Halt
from moonpool.errors import GivenUp
from moonpool.hosts.host import Host
from moonpool.hosts.settings import HostSettings


@contextlib.asynccontextmanager
async def opened(data: Path, warm_pool: int) -> AsyncIterator[Host]:
    """A host that leaves nothing but files in ``data``, whenever it is cancelled."""
    halt = Halt()
    opening = asyncio.create_task(Host.open(HostSettings(data=data, warm_pool=warm_pool), halt=halt))
    try:
        yield await asyncio.shield(opening)
    finally:
        halt.call()
        with contextlib.suppress(GivenUp):
            await (await opening).close()
