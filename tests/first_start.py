"""A server's host as it starts for the first time, and ends at once: ``python -m tests.first_start DATA``."""

import asyncio
import os
import sys
from pathlib import Path

from moonpool.hosts.host import Host
from moonpool.hosts.settings import GIBIBYTE, HostSettings
from tests.databases import open_store

POOL = 4 * GIBIBYTE  # the next server on DATA makes it as large as it is told to


async def main(data: Path) -> None:
    host = await Host.open(HostSettings(data=data, warm_pool=0, disk_pool_bytes=POOL))
    await host.close()
    os.umask(0o077)  # as of the database that a server makes
    store = await open_store(data)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
