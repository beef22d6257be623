"""What can be said of the archive store without changing anything."""

import asyncio
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from moonpool.archives.settings import S3_SCHEME, StoreSettings
from moonpool.archives.stores import open_store
from moonpool.errors import MoonpoolError
from moonpool.hosts.inspection import Finding, Verdict
from moonpool.hosts.settings import GIBIBYTE

SUBJECT = "archives"
LOOK = "Look at MOONPOOL_ARCHIVE."
PATIENCE = 15.0  # seconds for the store to answer


async def inspect_store(settings: StoreSettings) -> Finding:
    """Whether the store answers, and of how many sandboxes it holds anything."""
    place = settings.place
    try:
        async with asyncio.timeout(PATIENCE):
            names = await open_store(settings).list("sandboxes/")
    except TimeoutError:
        return Finding(
            SUBJECT, Verdict.BAD, f"{place} has not answered in {PATIENCE:.0f} s", "Look at MOONPOOL_ARCHIVE."
        )
    except MoonpoolError as error:
        return Finding(SUBJECT, Verdict.BAD, f"{place}: {error.message}", error.hint)
    if place.startswith(S3_SCHEME):
        return Finding(SUBJECT, Verdict.GOOD, f"{count(names)} in {place}")
    return _folder(Path(place), names)


def _folder(folder: Path, names: Collection[str]) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    if not os.access(existing, os.W_OK):
        return Finding(SUBJECT, Verdict.BAD, f"{folder} cannot be written", LOOK)
    free = shutil.disk_usage(existing).free
    return Finding(SUBJECT, Verdict.GOOD, f"{count(names)} in {folder}, {free / GIBIBYTE:.0f} GiB free there")


def count(names: Collection[str]) -> str:
    return f"{len({name.split('/')[1] for name in names})} sandboxes"
