"""Layers: read-only disks that builds stand on. Nobody but a build sees them; a snapshot is a copy of one.

A layer is made whole in the pool's staging folder and moved to its name, so that one that is there is whole.
"""

import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from moonpool.engine.images import digest_of
from moonpool.engine.images.oci import Fetched, Fetching, FetchPolicy, ImageLimits, Registry, Source, resolve
from moonpool.engine.images.oci.copying import (
    Placement,
    Selected,
    Selection,
    copy,
    look,
    make_folders,
    unpack_archive,
)
from moonpool.engine.storage import Kind
from moonpool.errors import BuildInvalid, SnapshotNotFound
from moonpool.hosts.joining import image_path
from moonpool.hosts.parts import Parts
from moonpool.hosts.room import require_disk
from moonpool.hosts.threads import Threads, Unbroken

Say = Callable[[str], None]


class Layers:
    """Ids are the caller's. What makes a layer raises NoCapacity and EngineError, and leaves nothing when it fails."""

    def __init__(self, parts: Parts, threads: Threads, policy: FetchPolicy, limits: ImageLimits) -> None:
        self._parts, self._pool, self._threads = parts, parts.pool, threads
        self._policy, self._limits = policy, limits
        self._unbroken = Unbroken()

    async def close(self) -> None:
        """Waits for disks that are being moved; what is being fetched must have been cancelled."""
        await self._unbroken.drain()

    async def resolve(self, source: Registry) -> str:
        """The digest that a reference stands for now. Raises ImageError's kinds."""
        return await resolve(source, self._policy)

    async def fetch(self, source: Source, layer_id: str, say: Say) -> Fetched:
        """An image's files become a layer; ``say`` is told what is being done, a line each. ImageError's kinds."""
        await self._threads.run(require_disk, self._parts)
        work, root = f"fetch-{layer_id}", f"image-{layer_id}"
        try:
            places = [await self._unbroken.run(self._stage(name)) for name in (work, root)]
            self._pool.set_limit(places[0], self._limits.download)
            self._pool.set_limit(places[1], self._limits.unpacked)
            fetched = await Fetching(places[0], places[1], self._policy, self._limits).run(source, say)
            await self._unbroken.run(self._publish(root, layer_id))
            return fetched
        finally:
            for name in (work, root):
                await self._unbroken.run(self._drop(name))

    async def identify(self, image: str) -> str:
        """What an image or a snapshot of this host is at present."""
        digest = await self._threads.run(digest_of, image_path(self._pool, image))
        return f"{image}@{digest or ''}"

    async def adopt(self, image: str, layer_id: str) -> None:
        """A layer as an image or a snapshot of this host. SnapshotNotFound."""
        source = image_path(self._pool, image)
        if not source.is_dir():
            raise SnapshotNotFound(f"Image {image} is not on this host")
        await self._unbroken.run(self._copy(source, Kind.LAYERS, layer_id))

    async def empty(self, layer_id: str) -> None:
        """A layer without any file."""
        root = f"image-{layer_id}"
        await self._unbroken.run(self._stage(root))
        await self._unbroken.run(self._publish(root, layer_id))

    async def keep(self, machine_id: str, layer_id: str) -> int:
        """The disk of a machine that does not run becomes a layer; how many bytes that machine wrote."""
        return await self._unbroken.run(self._keep(machine_id, layer_id))

    async def import_archives(self, archives: Sequence[Path], layer_id: str) -> int:
        """The files of plain tar archives, laid over each other, become a layer. ImageInvalid, ImageTooLarge."""

        async def fill(root: Path) -> int:
            return sum([await unpack_archive(archive, root, self._limits) for archive in archives])

        return await self._made(None, layer_id, fill)

    async def look(self, layer_id: str, selection: Selection) -> Selected:
        """What that is in a layer. BuildInvalid where there is no such thing."""
        return await look(self._place(layer_id), selection, self._limits.seconds)

    async def copy(self, parent: str, layer_id: str, source: str, selection: Selection, placement: Placement) -> int:
        """A layer as ``parent``, with what is selected in the layer ``source`` in its place."""

        async def fill(root: Path) -> int:
            return await copy(self._place(source), selection, root, placement, self._limits)

        return await self._made(parent, layer_id, fill)

    async def add_folders(self, parent: str, layer_id: str, folders: Sequence[str], owner: str | None) -> int:
        """A layer as ``parent``, with these folders made where they are missing, for ``owner``."""

        async def fill(root: Path) -> int:
            return await make_folders(root, folders, owner, self._limits)

        return await self._made(parent, layer_id, fill)

    async def lend(self, layer_id: str | None, volume: str) -> None:
        """A volume that begins as the layer, or empty, of at most what a layer may have."""
        await self._threads.run(require_disk, self._parts)
        await self._unbroken.run(self._lend(layer_id, volume))

    async def _lend(self, layer_id: str | None, volume: str) -> None:
        limit = self._limits.unpacked
        if layer_id is None:
            path = await self._threads.run(self._pool.create, Kind.VOLUMES, volume)
            await self._threads.run(self._pool.set_limit, path, limit)
            await self._threads.run(os.chmod, path, 0o755)
            return
        place = self._place(layer_id)
        await self._threads.run(partial(self._pool.snapshot, place, Kind.VOLUMES, volume, limit_bytes=limit))

    async def keep_volume(self, volume: str, layer_id: str) -> int:
        """What is in a volume becomes a layer; how many bytes that is."""
        disk = self._pool.path / Kind.VOLUMES.value / volume
        size = (await self._threads.run(self._pool.usage, disk)).used_bytes
        await self._unbroken.run(self._copy(disk, Kind.LAYERS, layer_id))
        return size

    async def take_back(self, volume: str) -> None:
        """Idempotent."""
        await self._unbroken.run(self._drop(volume, Kind.VOLUMES))

    async def lent(self) -> set[str]:
        """Names of volumes that steps of builds were lent."""
        return {name for name in await self._threads.run(self._pool.names, Kind.VOLUMES) if name.startswith("step-")}

    async def rebase(self, machine_id: str, snapshot_id: str, folder: str, limit_bytes: int) -> None:
        """The disk of a machine that does not run becomes a copy of the snapshot, with what ``folder`` (absolute) holds
        in place of the snapshot's own. In one step: a failure leaves everything as it was."""
        await self._threads.run(require_disk, self._parts)
        disk = self._pool.path / Kind.SANDBOXES.value / machine_id
        image = self._pool.path / Kind.SNAPSHOTS.value / snapshot_id
        if not image.is_dir():
            raise SnapshotNotFound(f"Snapshot {snapshot_id} is not on this host")
        root = f"rebase-{machine_id}"
        try:
            await self._threads.run(self._pool.delete, Kind.STAGING, root)
            place = await self._unbroken.run(self._fresh(image, root, limit_bytes))
            selection, placement = Selection((folder,), owned=True), Placement(folder, folders=(folder,))
            with contextlib.suppress(BuildInvalid):  # There is no such folder.
                await copy(disk, selection, place, placement, self._limits)
            await self._unbroken.run(self._swap(root, machine_id))
        finally:
            await self._unbroken.run(self._drop(root))

    async def _fresh(self, image: Path, root: str, limit_bytes: int) -> Path:
        make = partial(self._pool.snapshot, image, Kind.STAGING, root, limit_bytes=limit_bytes)
        return await self._threads.run(make)

    async def _swap(self, root: str, machine_id: str) -> None:
        await self._threads.run(self._pool.exchange, Kind.STAGING, root, Kind.SANDBOXES, machine_id)

    async def _made(self, parent: str | None, layer_id: str, fill: Callable[[Path], Awaitable[int]]) -> int:
        await self._threads.run(require_disk, self._parts)
        root = f"image-{layer_id}"
        try:
            place = await self._unbroken.run(self._stage(root, parent))
            self._pool.set_limit(place, self._limits.unpacked)
            written = await fill(place)
            await self._unbroken.run(self._publish(root, layer_id))
            return written
        finally:
            await self._unbroken.run(self._drop(root))

    def _place(self, layer_id: str) -> Path:
        return self._pool.path / Kind.LAYERS.value / layer_id

    async def publish(self, layer_id: str, snapshot_id: str) -> None:
        """The layer as the disk of a snapshot, which needs the layer no more. SnapshotNotFound: no such layer."""
        source = self._place(layer_id)
        if not source.is_dir():
            raise SnapshotNotFound(f"Layer {layer_id} is not on this host")
        await self._threads.run(self._pool.delete, Kind.SNAPSHOTS, snapshot_id)  # Of a server that was killed here.
        await self._unbroken.run(self._copy(source, Kind.SNAPSHOTS, snapshot_id))

    async def forget(self, layer_id: str) -> None:
        """Gone; what was made from it keeps what it has. Idempotent."""
        await self._threads.run(self._pool.delete, Kind.LAYERS, layer_id)

    async def all(self) -> set[str]:
        """Ids of all that are there."""
        return set(await self._threads.run(self._pool.names, Kind.LAYERS))

    async def _stage(self, name: str, parent: str | None = None) -> Path:
        await self._threads.run(self._pool.delete, Kind.STAGING, name)
        if parent is not None:
            return await self._threads.run(self._pool.snapshot, self._place(parent), Kind.STAGING, name)
        return await self._threads.run(self._pool.create, Kind.STAGING, name)

    async def _drop(self, name: str, kind: Kind = Kind.STAGING) -> None:
        await self._threads.run(self._pool.delete, kind, name)

    async def _publish(self, root: str, layer_id: str) -> None:
        path = self._pool.path / Kind.STAGING.value / root
        await self._threads.run(self._pool.set_limit, path, None)
        await self._threads.run(self._pool.set_read_only, path, True)
        await self._threads.run(self._pool.rename, Kind.STAGING, root, Kind.LAYERS, layer_id)

    async def _keep(self, machine_id: str, layer_id: str) -> int:
        disk = self._pool.path / Kind.SANDBOXES.value / machine_id
        written = (await self._threads.run(self._pool.usage, disk)).used_bytes
        await self._copy(disk, Kind.LAYERS, layer_id)
        return written

    async def _copy(self, source: Path, kind: Kind, name: str) -> None:
        await self._threads.run(lambda: self._pool.snapshot(source, kind, name, read_only=True))
