"""Where archives are kept: named objects, each written whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from moonpool.archives.folder import FolderStore
from moonpool.archives.settings import S3_SCHEME, StoreSettings


class Store(Protocol):
    """Names are relative paths with ``/``. Every method raises StoreUnavailable, ``put`` also NoCapacity."""

    async def put(self, name: str, data: bytes) -> None:
        """Once this has returned it is there, and survives a power cut of whoever keeps it."""
        ...

    async def get(self, name: str) -> bytes:
        """ArchiveCorrupt where there is no such object."""
        ...

    async def list(self, prefix: str) -> Mapping[str, int]:
        """Names below ``prefix``, which ends with ``/``, and their sizes in bytes."""
        ...

    async def delete(self, name: str) -> None:
        """Idempotent."""
        ...


def open_store(settings: StoreSettings) -> Store:
    """Nothing is asked of it yet."""
    if not settings.place.startswith(S3_SCHEME):
        return FolderStore(Path(settings.place))
    # Its library costs the command line more than all else.
    from moonpool.archives.s3 import S3Store, S3Target

    bucket, _, prefix = settings.place.removeprefix(S3_SCHEME).partition("/")
    return S3Store(
        S3Target(bucket, prefix, settings.endpoint, settings.region, settings.access_key_id, settings.secret_access_key)
    )
