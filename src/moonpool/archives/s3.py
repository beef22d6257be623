"""Archives in an S3-compatible store."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store as Client

from moonpool.errors import ArchiveCorrupt, StoreUnavailable

CONNECT_TIMEOUT = timedelta(seconds=5)
TIMEOUT = timedelta(seconds=120)  # for one object, at most 16 MiB
RETRIES = 8  # with growing pauses, as long as ``RETRY_FOR`` allows
RETRY_FOR = timedelta(seconds=90)

Result = TypeVar("Result")


@dataclass(frozen=True)
class S3Target:
    """Without ``endpoint`` it is AWS; without keys they come from where AWS's own tools find them."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str
    access_key_id: str | None = field(repr=False)
    secret_access_key: str | None = field(repr=False)


class S3Store:
    """Every object is one request, so that nothing half-uploaded stays; the store checks what it gets by a SHA-256."""

    def __init__(self, target: S3Target, *, retry_for: timedelta = RETRY_FOR) -> None:
        config: dict[str, Any] = {"region": target.region, "checksum_algorithm": "SHA256"}
        if target.endpoint is not None:
            config |= {"endpoint": target.endpoint, "virtual_hosted_style_request": False}
        if target.access_key_id is not None:
            config |= {"access_key_id": target.access_key_id, "secret_access_key": target.secret_access_key or ""}
        self._client = Client(
            target.bucket,
            prefix=target.prefix or None,
            config=config,  # type: ignore[arg-type]
            client_options={"allow_http": True, "connect_timeout": CONNECT_TIMEOUT, "timeout": TIMEOUT},
            retry_config={"max_retries": RETRIES, "retry_timeout": retry_for},
        )

    async def put(self, name: str, data: bytes) -> None:
        await explained(obstore.put_async(self._client, name, data, use_multipart=False))

    async def get(self, name: str) -> bytes:
        return bytes(await explained(self._get(name), name))

    async def list(self, prefix: str) -> Mapping[str, int]:
        return await explained(self._list(prefix))

    async def delete(self, name: str) -> None:
        try:
            await obstore.delete_async(self._client, name)
        except (NotFoundError, FileNotFoundError):
            return
        except BaseError as error:
            raise unavailable(error) from error

    async def _get(self, name: str) -> Any:
        return await (await obstore.get_async(self._client, name)).bytes_async()

    async def _list(self, prefix: str) -> Mapping[str, int]:
        found: dict[str, int] = {}
        async for page in obstore.list(self._client, prefix=prefix.rstrip("/"), chunk_size=1000):
            found.update({item["path"]: item["size"] for item in page})
        return found


async def explained(work: Awaitable[Result], name: str = "") -> Result:
    try:
        return await work
    except (NotFoundError, FileNotFoundError) as error:
        raise ArchiveCorrupt(f"The archive lacks {name.rpartition('/')[2]}") from error
    except BaseError as error:
        raise unavailable(error) from error


def unavailable(error: Exception) -> StoreUnavailable:
    """The store's own first words, without what may follow them: addresses and whole answers."""
    words = str(error).split("\n", 1)[0][:200]
    return StoreUnavailable(f"The archive store does not do what it is asked: {words}")
