"""The layers that builds have made: found again by a hash of all that went into one."""

import asyncio
import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import structlog

from moonpool.builds.disks import Disks
from moonpool.builds.model import BuildLimits, Layer
from moonpool.builds.repository import LayerRepository
from moonpool.clock import Clock
from moonpool.engine.images.oci.copying import Selected, Selection
from moonpool.errors import MoonpoolError
from moonpool.hosts.keyed_locks import KeyedLocks
from moonpool.ids import new_uuid
from moonpool.store.database import Store

Made = tuple[int, Mapping[str, Any] | None]
Make = Callable[[str], Awaitable[Made]]
"""Makes the layer of that id; answers with its size in bytes and, for an image, its configuration."""

LOOKED = 10_000  # selections whose digest is remembered

log = structlog.get_logger(__name__)


def key_of(*parts: object) -> str:
    """A hash of everything that a layer depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class LayerCache:
    """A team's layers are its own: what one could fetch with its credentials, another is not given."""

    def __init__(self, store: Store, disks: Disks, limits: BuildLimits, clock: Clock) -> None:
        self._store, self._disks, self._limits, self._clock = store, disks, limits, clock
        self._repository = LayerRepository()
        self._locks = KeyedLocks()
        self._pinned: Counter[str] = Counter()
        self._looked: OrderedDict[tuple[str, Selection], Selected] = OrderedDict()

    async def recover(self) -> None:
        """At the start: rows and disks that have lost each other are removed."""
        async with self._store.reading() as connection:
            layers = await self._repository.all(connection)
        there = await self._disks.all()
        await self._forget_rows([layer.id for layer in layers if layer.id not in there])
        for stray in there - {layer.id for layer in layers}:
            await self._remove_disk(stray)
        for volume in await self._disks.lent():
            await self._disks.take_back(volume)

    @contextmanager
    def pinning(self) -> Iterator[set[str]]:
        """Layers whose ids are put into this set are kept as long as the block lasts."""
        mine: set[str] = _Pins(self._pinned)
        try:
            yield mine
        finally:
            self._pinned.subtract(mine)

    async def find(self, team_id: str, key: str, pins: set[str]) -> Layer | None:
        async with self._store.reading() as connection:
            found = await self._repository.find(connection, team_id, key)
        if found is None:
            return None
        pins.add(found.id)
        async with self._store.transaction() as transaction:
            await self._repository.used(transaction, found, self._clock.now())
        return found

    async def size(self, ids: set[str]) -> int:
        """Bytes of these layers together."""
        async with self._store.reading() as connection:
            return sum(layer.size_bytes for layer in await self._repository.all(connection) if layer.id in ids)

    async def look(self, layer_id: str, selection: Selection) -> Selected:
        """What that is in a layer, which never changes. BuildInvalid where there is no such thing."""
        known = self._looked.get((layer_id, selection))
        if known is None:
            known = await self._disks.look(layer_id, selection)
            self._looked[layer_id, selection] = known
            if len(self._looked) > LOOKED:
                self._looked.popitem(last=False)
        return known

    @asynccontextmanager
    async def _making(self, team_id: str, key: str) -> AsyncIterator[None]:
        """Two builds that need the same layer make it once."""
        async with self._locks.hold(f"{team_id}/{key}"):
            yield

    async def get(
        self, team_id: str, key: str, pins: set[str], make: Make, *, fresh: bool = False
    ) -> tuple[Layer, bool]:
        """The layer, made where there is none, and whether it was there. ``fresh``: it is made in any case."""
        async with self._making(team_id, key):
            found = None if fresh else await self.find(team_id, key, pins)
            if found is not None:
                return found, True
            layer_id = new_uuid()
            pins.add(layer_id)
            size, config = await make(layer_id)
            now = self._clock.now()
            layer = Layer(layer_id, team_id, key, config, size, now, now)
            return await asyncio.shield(self._note(layer)), False

    async def _note(self, layer: Layer) -> Layer:
        async with self._store.transaction() as transaction:
            old = await self._repository.replace(transaction, layer)
        if old is not None:
            await self._remove_disk(old)
        return layer

    async def collect(self) -> None:
        """Remove what has not been used for too long, and the longest unused of what is too much."""
        async with self._store.reading() as connection:
            layers = await self._repository.all(connection)
        total = sum(layer.size_bytes for layer in layers)
        oldest = self._clock.now() - timedelta(seconds=self._limits.cache_seconds)
        for layer in layers:
            if total <= self._limits.cache_bytes and layer.last_used_at >= oldest:
                break
            if self._pinned[layer.id] > 0:
                continue
            await self._forget_rows([layer.id])
            await self._remove_disk(layer.id)
            total -= layer.size_bytes

    async def _forget_rows(self, ids: list[str]) -> None:
        async with self._store.transaction() as transaction:
            await self._repository.delete(transaction, ids)

    async def _remove_disk(self, layer_id: str) -> None:
        """One that is still in use is removed at the next start."""
        if self._pinned[layer_id] > 1:
            return
        try:
            await self._disks.forget(layer_id)
        except MoonpoolError as error:
            log.warning("layer_not_removed", layer=layer_id, reason=error.message)


class _Pins(set[str]):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self._counts = counts

    def add(self, layer_id: str) -> None:
        if layer_id not in self:
            super().add(layer_id)
            self._counts[layer_id] += 1
