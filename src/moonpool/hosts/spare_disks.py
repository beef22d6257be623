"""Disks of the sandboxes to come, made ahead of need.

A snapshot commits a transaction of the pool and holds its folder meanwhile, so creates at once wait in line for it; its
files are new to the kernel's cache, and the sandbox's own programs are to be laid on it. A spare disk has all that
behind it. The create gives it its limit and its name, and its commit is shared with others that come meanwhile.
"""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from moonpool.engine.storage import Kind, Version
from moonpool.errors import EngineError, MoonpoolError, NoDiskSpace, SnapshotNotFound
from moonpool.hosts.calm import Calm
from moonpool.hosts.commits import Saving, SharedCommits
from moonpool.hosts.joining import image_path
from moonpool.hosts.model import MEBIBYTE, MachineSpec
from moonpool.hosts.parts import Parts
from moonpool.hosts.programs import lay_programs
from moonpool.hosts.readahead import ReadAhead
from moonpool.hosts.room import is_scarce, require_disk
from moonpool.hosts.threads import Threads, Unbroken

LATEST = 8  # creates that tell what the next ones will be made from
PATIENCE = 2.0  # seconds for which missing spare disks keep a server from being ready

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Stock:
    """Spare disks made from an image as it was at ``version``; ``names`` may be taken from by any thread."""

    image: Path
    version: Version
    names: deque[str] = field(default_factory=deque)

    def take(self) -> str | None:
        try:
            return self.names.popleft()
        except IndexError:
            return None


@dataclass(frozen=True)
class Laid:
    """What a sandbox's disk was made from, and whether it was a spare one."""

    image: Path
    version: Version
    spare: bool


class SpareDisks:
    """Keeps ``target`` spare disks of one image: of the one that it began with or else the first that anything is
    created from, and of another one once more than half of the last eight creates were made from that. Where images
    take turns, those of one are served from spare disks and the others as ever, and nothing is thrown away and made
    anew each time.

    Images and snapshots have spare disks, layers of builds do not. A spare disk is served only while its image is the
    same subvolume, read-only, with no file changed since. They are made one after the other while ``warm`` is set (the
    warm pool is filled), no create runs, and the disk is not nearly full.
    """

    def __init__(self, parts: Parts, threads: Threads, target: int, warm: asyncio.Event) -> None:
        self._parts, self._pool, self._threads = parts, parts.pool, threads
        self._target, self._warm = target, warm
        self._commits = SharedCommits(parts.pool.commit, threads)
        self._read_ahead = ReadAhead()
        self._stock: Stock | None = None
        self._latest: deque[Path] = deque(maxlen=LATEST)
        self._unbroken = Unbroken()
        self._clearing: set[asyncio.Future[None]] = set()
        self._filler: asyncio.Task[None] | None = None
        self._filling_since: float | None = None
        self._calm, self._complete = Calm(), asyncio.Event()
        self._complete.set()

    async def begin(self, image: str) -> None:
        """Have those of ``image`` made, which the first creates are expected to be from; none where it is missing."""
        path = image_path(self._pool, image)
        with contextlib.suppress(EngineError):
            version = await self._threads.run(self._pool.version, path)
            if self._target and self._stock is None and version.read_only:
                self._stock = Stock(path, version)
                self._fill()

    async def lay(self, spec: MachineSpec) -> Saving | None:
        """A new sandbox's disk, with its limit. None where it is on disk already. Else it was a spare one, which has
        its programs and is read ahead: it is on disk once the answer is done. SnapshotNotFound, NoCapacity."""
        laid = await self._threads.run(self._lay, spec)
        self._created_from(laid)
        return self._commits.begin() if laid.spare else None

    async def forget(self, image: str) -> None:
        """The image is gone: its spare disks would keep its files."""
        if self._stock is not None and self._stock.image == image_path(self._pool, image):
            self._put_away()
            await self._cleared()

    def drop(self) -> None:
        """None are kept until the next create."""
        self._put_away()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """None are made while any create is inside this block."""
        with self._calm.busy():
            yield

    @property
    def ready(self) -> bool:
        """False for as long as they are being made, a few milliseconds each, and for ``PATIENCE`` at most: so who waits
        for the server to be ready, as the benchmarks do, meets creates as they mostly are, and users are kept from none
        by what only makes them quicker. True while others create, since nothing is made then."""
        if self._complete.is_set() or not (self._warm.is_set() and self._calm.is_set()):
            return True
        return self._filling_since is not None and time.monotonic() - self._filling_since > PATIENCE

    async def wait_ready(self) -> None:
        """Until none is missing: at once where nothing was created yet."""
        await self._complete.wait()

    async def close(self) -> None:
        """Leaves none, if nothing is created any more."""
        self._put_away()
        if self._filler is not None:
            self._filler.cancel()
            await asyncio.wait([self._filler])
        await self._unbroken.drain()
        await self._cleared()

    # -- for a create --------------------------------------------------------------------------------------------------

    def _lay(self, spec: MachineSpec) -> Laid:
        image = image_path(self._pool, spec.image)
        require_disk(self._parts)
        if not image.is_dir():
            raise SnapshotNotFound(f"Image '{spec.image}' is not on this host")
        limit = spec.resources.disk_mib * MEBIBYTE
        version = self._pool.version(image)
        if spare := self._claim(image, version, spec.id, limit):
            return Laid(image, version, spare)
        self._pool.snapshot(image, Kind.SANDBOXES, spec.id, limit_bytes=limit)
        return Laid(image, version, spare)

    def _claim(self, image: Path, version: Version, machine_id: str, limit: int) -> bool:
        """Whether there was one. Its limit is in force before it is anybody's."""
        stock = self._stock
        if stock is None or stock.image != image or stock.version != version or (name := stock.take()) is None:
            return False
        try:
            self._pool.set_limit(self._place(name), limit)
            self._pool.move(Kind.SPARES, name, Kind.SANDBOXES, machine_id)
        except EngineError as error:
            log.warning("spare_disk_failed", image=image.name, reason=error.message)
            self._delete(name)
            return False
        return True

    def _created_from(self, laid: Laid) -> None:
        """The next ones may be, too."""
        image, version, stock = laid.image, laid.version, self._stock
        if not version.read_only or image.parent.name == Kind.LAYERS.value or not self._target:
            return
        self._latest.append(image)
        here = stock is not None and (stock.image, stock.version) == (image, version)
        wanted = stock is None or stock.image == image or self._latest.count(image) * 2 > len(self._latest)
        if wanted and not here:
            self._put_away()
            self._stock = Stock(image, version)
        self._fill()

    # -- in the background ---------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        if self._stock is None or len(self._stock.names) >= self._target:
            self._complete.set()
            return
        self._complete.clear()
        if self._filler is None or self._filler.done():
            self._filler = asyncio.create_task(self._make_all())

    async def _make_all(self) -> None:
        try:
            while not self._complete.is_set():
                while not (self._warm.is_set() and self._calm.is_set()):
                    await self._warm.wait()
                    await self._calm.wait()
                if self._filling_since is None:
                    self._filling_since = time.monotonic()
                if (stock := self._stock) is not None:
                    await self._unbroken.run(self._make(stock))
        finally:
            self._filling_since = None

    async def _make(self, stock: Stock) -> None:
        name = secrets.token_hex(16)
        try:
            await self._threads.run(self._make_one, stock, name)
        except (MoonpoolError, OSError) as error:
            log.info("spare_disks_given_up", image=stock.image.name, reason=str(error))
            if self._stock is stock:
                self._put_away()
            return
        if self._stock is stock:
            stock.names.append(name)
            self._fill()
        else:
            await self._threads.run(self._delete, name)

    def _make_one(self, stock: Stock, name: str) -> None:
        if is_scarce(self._parts):
            raise NoDiskSpace
        disk = self._pool.snapshot(stock.image, Kind.SPARES, name)
        try:
            if self._pool.version(stock.image) != stock.version:
                raise EngineError("The image was changed meanwhile")
            lay_programs(disk)
            self._read_ahead.of(stock.version.uuid, disk)
        except BaseException:
            self._delete(name)
            raise

    def _put_away(self) -> None:
        stock, self._stock = self._stock, None
        self._complete.set()
        if stock is not None:
            self._clearing.add(clearing := asyncio.ensure_future(self._threads.run(self._clear, stock)))
            clearing.add_done_callback(self._clearing.discard)

    async def _cleared(self) -> None:
        while self._clearing:
            await asyncio.wait(self._clearing)

    def _clear(self, stock: Stock) -> None:
        while (name := stock.take()) is not None:
            self._delete(name)

    def _delete(self, name: str) -> None:
        try:
            self._pool.delete(Kind.SPARES, name)
        except EngineError as error:  # The next start tries it again.
            log.warning("spare_disk_left", name=name, reason=error.message)

    def _place(self, name: str) -> Path:
        return self._pool.path / Kind.SPARES.value / name
