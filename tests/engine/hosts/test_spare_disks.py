"""Disks that are made ahead of need: from what, how many, and to whom they go."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from moonpool.engine.instance import Instance
from moonpool.engine.storage import Kind, Pool, btrfs
from moonpool.errors import EngineError, SnapshotNotFound
from moonpool.hosts import room, spare_disks
from moonpool.hosts.model import MEBIBYTE, MachineSpec, Resources, layer_image, snapshot_image
from moonpool.hosts.parts import Parts
from moonpool.hosts.spare_disks import LATEST, SpareDisks
from moonpool.hosts.threads import Threads
from moonpool.ids import new_sandbox_id
from tests.engine.hosts.test_copies import RESOURCES, Machine

TARGET = 2
POOL_SIZE = 1024 * MEBIBYTE


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    opened = Pool.open(Instance(tmp_path / "data"), size_bytes=POOL_SIZE)
    yield opened
    opened.close()


class Store:
    """Spare disks on a pool of their own, without anything that would run on them."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.threads, self.warm = pool, Threads(), asyncio.Event()
        self.warm.set()
        parts = cast(Parts, SimpleNamespace(pool=pool))  # They need no other part.
        self.disks = SpareDisks(parts, self.threads, TARGET, self.warm)

    def publish(self, name: str, text: str, kind: Kind = Kind.IMAGES) -> None:
        """An image with one file, in place of any of that name."""
        self.pool.delete(kind, name)
        root = self.pool.create(kind, name)
        (root / "text").write_text(text)
        self.pool.set_read_only(root, True)
        self.pool.sync(root)

    def spares(self) -> set[str]:
        return set(self.pool.names(Kind.SPARES))

    def spare_ids(self) -> set[int]:
        """Those of former images are removed in the background, so they may go while one looks."""
        found = set()
        for name in self.spares():
            with suppress(FileNotFoundError):
                found.add(btrfs.subvolume_id(self.pool.path / Kind.SPARES.value / name))
        return found

    async def create(self, image: str, disk_mib: int = 64) -> Path:
        """A disk as that of a new sandbox; it lasts."""
        resources = Resources(cpu=1, memory_mib=64, disk_mib=disk_mib)
        spec = MachineSpec(id=new_sandbox_id(), image=image, resources=resources, hostname="box")
        with self.disks.quiet():
            saving = await self.disks.lay(spec)
            if saving is not None:
                await saving
        return self.pool.path / Kind.SANDBOXES.value / spec.id

    async def took_a_spare(self, image: str) -> bool:
        before = self.spare_ids()
        return btrfs.subvolume_id(await self.create(image)) in before

    async def close(self) -> None:
        await self.disks.close()
        self.threads.close()


@pytest.fixture
async def store(pool: Pool) -> AsyncIterator[Store]:
    opened = Store(pool)
    opened.publish("one", "first")
    opened.publish("two", "second")
    yield opened
    await opened.close()
    assert opened.spares() == set()


async def test_the_second_create_takes_one_with_its_own_limit(store: Store) -> None:
    assert not await store.took_a_spare("one")
    await store.disks.wait_ready()
    spares = store.spare_ids()
    assert len(spares) == TARGET
    disk = await store.create("one", disk_mib=96)
    assert btrfs.subvolume_id(disk) in spares
    assert (disk / "text").read_text() == "first"
    assert store.pool.usage(disk).limit_bytes == 96 * MEBIBYTE
    (disk / "own").write_text("it may be written")
    await store.disks.wait_ready()
    assert len(store.spares()) == TARGET


async def test_the_first_create_takes_one_of_the_image_that_was_expected(store: Store) -> None:
    await store.disks.begin("missing")
    await store.disks.begin("one")
    await store.disks.wait_ready()
    assert await store.took_a_spare("one")
    for _ in range(2):
        await store.create("two")
    await store.disks.wait_ready()
    assert await store.took_a_spare("two"), "what is created from counts for more"


async def test_more_creates_than_there_are_get_a_disk_each(store: Store) -> None:
    await store.create("one")
    await store.disks.wait_ready()
    spares = store.spare_ids()
    disks = await asyncio.gather(*(store.create("one") for _ in range(TARGET + 2)))
    assert {btrfs.subvolume_id(disk) for disk in disks} >= spares
    assert len(set(disks)) == TARGET + 2
    assert {(disk / "text").read_text() for disk in disks} == {"first"}


async def test_none_are_made_while_creates_run_or_the_warm_pool_is_not_filled(store: Store) -> None:
    store.warm.clear()
    with store.disks.quiet():
        await store.create("one")
        store.warm.set()
        waiting = asyncio.create_task(store.disks.wait_ready())
        await asyncio.sleep(0)
        assert store.disks.ready  # Who creates now is served as ever.
        assert not waiting.done()
        assert store.spares() == set()
    assert not store.disks.ready
    await waiting
    assert store.disks.ready
    assert len(store.spares()) == TARGET


async def test_a_slow_disk_keeps_the_server_from_being_ready_for_a_while_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, begun, may_end = store.pool.snapshot, threading.Event(), threading.Event()

    def slowly(*arguments: Any, **options: Any) -> Path:
        begun.set()
        assert may_end.wait(60)
        return make(*arguments, **options)

    with store.disks.quiet():
        await store.create("one")
        monkeypatch.setattr(store.pool, "snapshot", slowly)
    await asyncio.to_thread(begun.wait)
    monkeypatch.setattr(spare_disks, "PATIENCE", 3600.0)
    assert not store.disks.ready
    monkeypatch.setattr(spare_disks, "PATIENCE", -1.0)
    assert store.disks.ready
    may_end.set()
    await store.disks.wait_ready()


async def test_an_image_that_was_replaced_is_not_served_from_old_ones(store: Store) -> None:
    await store.create("one")
    await store.disks.wait_ready()
    store.publish("one", "another")
    assert (await store.create("one") / "text").read_text() == "another"
    await store.disks.wait_ready()
    assert await store.took_a_spare("one")
    assert (await store.create("one") / "text").read_text() == "another"


async def test_an_image_that_was_changed_is_not_either(store: Store) -> None:
    await store.create("one")
    await store.disks.wait_ready()
    image = store.pool.path / "images/one"
    store.pool.set_read_only(image, False)
    (image / "text").write_text("changed")
    assert (await store.create("one") / "text").read_text() == "changed"  # Nor is one that may change at any time.
    store.pool.set_read_only(image, True)
    assert (await store.create("one") / "text").read_text() == "changed"


async def test_an_image_that_is_gone_is_not_found(store: Store) -> None:
    await store.create("one")
    await store.disks.wait_ready()
    store.pool.delete(Kind.IMAGES, "one")
    with pytest.raises(SnapshotNotFound, match="'one'"):
        await store.create("one")


async def test_images_that_take_turns_leave_them_as_they_are(store: Store) -> None:
    await store.create("one")
    await store.disks.wait_ready()
    for _ in range(LATEST):
        assert not await store.took_a_spare("two")
        assert await store.took_a_spare("one")
        await store.disks.wait_ready()


async def test_another_image_takes_over_once_most_are_made_from_it(store: Store) -> None:
    for _ in range(LATEST):
        await store.create("one")
    await store.disks.wait_ready()
    old = store.spares()
    for _ in range(LATEST // 2):
        assert not await store.took_a_spare("two")
    assert store.spares() == old
    await store.create("two")
    await store.disks.wait_ready()
    assert await store.took_a_spare("two")
    assert not await store.took_a_spare("one")


async def test_those_of_a_snapshot_go_with_it(store: Store) -> None:
    store.publish("saved", "of a sandbox", Kind.SNAPSHOTS)
    image = snapshot_image("saved")
    await store.create(image)
    await store.disks.wait_ready()
    assert await store.took_a_spare(image)
    await store.disks.wait_ready()
    store.pool.delete(Kind.SNAPSHOTS, "saved")
    await store.disks.forget(image)
    assert store.spares() == set()
    await store.create("one")
    await store.disks.wait_ready()
    assert await store.took_a_spare("one")


async def test_one_whose_snapshot_goes_meanwhile_is_not_left(store: Store) -> None:
    store.publish("saved", "of a sandbox", Kind.SNAPSHOTS)
    await store.create(snapshot_image("saved"))
    store.pool.delete(Kind.SNAPSHOTS, "saved")
    await store.disks.wait_ready()  # None can be made, and nobody waits for it.
    assert store.disks.ready


async def test_layers_of_builds_have_none(store: Store) -> None:
    store.publish("step", "of a build", Kind.LAYERS)
    for _ in range(LATEST):
        await store.create(layer_image("step"))
    assert store.disks.ready
    await store.disks.wait_ready()
    assert store.spares() == set()


async def test_where_the_disk_is_scarce_none_are_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SCARCE", 2 * POOL_SIZE)
    await store.create("one")
    await store.disks.wait_ready()
    assert store.disks.ready
    assert store.spares() == set()
    monkeypatch.setattr(room, "SCARCE", 0)
    await store.create("one")
    await store.disks.wait_ready()
    assert await store.took_a_spare("one")


async def test_one_that_is_lost_costs_nobody_a_create(store: Store) -> None:
    await store.create("one")
    await store.disks.wait_ready()
    for name in store.spares():
        store.pool.delete(Kind.SPARES, name)
    assert (await store.create("one") / "text").read_text() == "first"


# -- on a whole host ---------------------------------------------------------------------------------------------------


def spare_ids(host: Machine) -> set[int]:
    return {btrfs.subvolume_id(path) for path in (host.data / "pool" / "spares").iterdir()}


def warmed(host: Machine) -> set[int]:
    """Ids of the spare disks, all of the base image."""

    async def drop() -> None:
        await host.host.ready()
        host.host._spares.drop()
        await host.host._spares._cleared()

    host.run(drop())
    host.destroy(host.create())
    host.run(host.host.ready())
    return spare_ids(host)


def test_a_sandbox_runs_on_one(host: Machine) -> None:
    spares = warmed(host)
    sandbox = host.create()
    disk = host.data / "pool" / "sandboxes" / sandbox.id
    assert btrfs.subvolume_id(disk) in spares
    assert host.shell(sandbox, "systemctl --version >/dev/null && hostname") == sandbox.hostname
    assert host.host._parts.pool.usage(disk).limit_bytes == RESOURCES.disk_mib * MEBIBYTE
    host.destroy(sandbox)


def test_a_create_fails_whose_disk_would_not_last(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    warmed(host)
    before = host.run(host.host.machines())

    def broken() -> None:
        raise EngineError("Cannot commit the pool: Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(host.host._spares._commits, "_commit", broken)
        with pytest.raises(EngineError, match="Input/output"):
            host.create()
    assert host.run(host.host.machines()) == before
    assert {path.name for path in (host.data / "pool" / "sandboxes").iterdir()} == set(before)
    sandbox = host.create()
    assert host.shell(sandbox, "echo works") == "works"
    host.destroy(sandbox)
