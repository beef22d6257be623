"""What builds need of a host; ``hosts.layers.Layers`` is one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from moonpool.engine.images.oci import Fetched, Registry, Source
from moonpool.engine.images.oci.copying import Placement, Selected, Selection

STEP_VOLUME = "step-"  # begins the names of volumes that are lent to a step


class Disks(Protocol):
    """Layers by id. What makes one leaves nothing of it when it fails. Every call may raise ``errors.EngineError`` or
    ``errors.NoCapacity``. Numbers are bytes that were written."""

    async def resolve(self, source: Registry) -> str: ...

    async def fetch(self, source: Source, layer_id: str, say: Callable[[str], None]) -> Fetched: ...

    async def identify(self, image: str) -> str: ...

    async def adopt(self, image: str, layer_id: str) -> None: ...

    async def empty(self, layer_id: str) -> None: ...

    async def import_archives(self, archives: Sequence[Path], layer_id: str) -> int: ...

    async def keep(self, machine_id: str, layer_id: str) -> int: ...

    async def look(self, layer_id: str, selection: Selection) -> Selected: ...

    async def copy(
        self, parent: str, layer_id: str, source: str, selection: Selection, placement: Placement
    ) -> int: ...

    async def add_folders(self, parent: str, layer_id: str, folders: Sequence[str], owner: str | None) -> int: ...

    async def lend(self, layer_id: str | None, volume: str) -> None:
        """A volume that begins as the layer, or empty."""
        ...

    async def keep_volume(self, volume: str, layer_id: str) -> int:
        """What is in a volume becomes a layer."""
        ...

    async def take_back(self, volume: str) -> None:
        """Idempotent."""
        ...

    async def lent(self) -> set[str]:
        """Names of all such volumes."""
        ...

    async def publish(self, layer_id: str, snapshot_id: str) -> None: ...

    async def forget(self, layer_id: str) -> None: ...

    async def all(self) -> set[str]: ...
