"""Layers of builds in memory, for tests without a real engine."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from moonpool.engine.images.oci import Fetched, ImageConfig, Registry, Source
from moonpool.engine.images.oci.copying import Placement, Selected, Selection
from moonpool.errors import ImageNotFound


class DisksInMemory:
    """``builds.disks.Disks`` of images that are there unless their name says that they are missing."""

    def __init__(self, publish: Callable[[str], object]) -> None:
        self._publish = publish
        self._layers: set[str] = set()
        self.volumes: dict[str, str | None] = {}
        self.rebased: list[tuple[str, str, str]] = []

    async def resolve(self, source: Registry) -> str:
        if "missing" in source.reference.repository:
            raise ImageNotFound(f"There is no image {source.reference.name}")
        return f"sha256:{hashlib.sha256(source.reference.name.encode()).hexdigest()}"

    async def fetch(self, source: Source, layer_id: str, say: Callable[[str], None]) -> Fetched:
        say("Fetching")
        self._layers.add(layer_id)
        return Fetched(ImageConfig(cmd=("sleep", "infinity"), env={"FROM": "image"}, workdir="/srv"), 1000, 10)

    async def identify(self, image: str) -> str:
        return image

    async def adopt(self, image: str, layer_id: str) -> None:
        self._layers.add(layer_id)

    async def empty(self, layer_id: str) -> None:
        self._layers.add(layer_id)

    async def import_archives(self, archives: Sequence[Path], layer_id: str) -> int:
        self._layers.add(layer_id)
        return sum(archive.stat().st_size for archive in archives)

    async def keep(self, machine_id: str, layer_id: str) -> int:
        self._layers.add(layer_id)
        return 10

    async def look(self, layer_id: str, selection: Selection) -> Selected:
        return Selected(hashlib.sha256(repr(selection).encode()).hexdigest(), 1, len(selection.patterns) == 1)

    async def copy(self, parent: str, layer_id: str, source: str, selection: Selection, placement: Placement) -> int:
        self._layers.add(layer_id)
        return 10

    async def add_folders(self, parent: str, layer_id: str, folders: Sequence[str], owner: str | None) -> int:
        self._layers.add(layer_id)
        return 0

    async def lend(self, layer_id: str | None, volume: str) -> None:
        self.volumes[volume] = layer_id

    async def keep_volume(self, volume: str, layer_id: str) -> int:
        assert volume in self.volumes
        self._layers.add(layer_id)
        return 10

    async def take_back(self, volume: str) -> None:
        self.volumes.pop(volume, None)

    async def lent(self) -> set[str]:
        return set(self.volumes)

    async def rebase(self, machine_id: str, snapshot_id: str, folder: str, limit_bytes: int) -> None:
        self.rebased.append((machine_id, snapshot_id, folder))

    async def publish(self, layer_id: str, snapshot_id: str) -> None:
        self._publish(snapshot_id)

    async def forget(self, layer_id: str) -> None:
        self._layers.discard(layer_id)

    async def all(self) -> set[str]:
        return set(self._layers)
