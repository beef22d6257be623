"""Builds as durable jobs: ended in the middle, their files, and the layers that they leave."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from moonpool.builds.cache import LayerCache
from moonpool.builds.contexts import Contexts
from moonpool.builds.model import Build, BuildLimits, BuildState, NewBuild, Recipe
from moonpool.builds.uploads import Uploads
from moonpool.errors import InvalidState, SnapshotNotFound, TooLarge
from moonpool.hosts.model import Resources
from moonpool.snapshots.model import SnapshotState
from tests.conftest import ManualClock
from tests.layers import DisksInMemory
from tests.unit.inside import Inside, running_inside

pytestmark = pytest.mark.asyncio(loop_scope="module")
LIMIT = 30.0  # seconds
SMALL = Resources(1.0, 512, 1024)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inside(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Inside]:
    async with running_inside(ManualClock(), tmp_path_factory.mktemp("builds")) as inside:
        yield inside


async def submit(inside: Inside, dockerfile: str) -> Build:
    build, _ = await inside.core.builds.submit(inside.owner, NewBuild(Recipe(dockerfile=dockerfile), SMALL))
    return build


async def until_said(inside: Inside, build: Build, text: str) -> None:
    said = ""
    async with asyncio.timeout(LIMIT):
        async for piece in await inside.core.builds.log(inside.owner, build.id, follow=True):
            said += piece.decode()
            if text in said:
                return
    raise AssertionError(said)


class TestCancelling:
    async def test_in_the_middle_of_a_step(self, inside: Inside) -> None:
        machines = set(inside.machines.states)
        build = await submit(inside, "FROM box\nRUN echo be''gun; exec sleep 1000\n")
        await until_said(inside, build, "begun")
        assert set(inside.machines.states) - machines
        async with asyncio.timeout(LIMIT):
            ended = await inside.core.builds.cancel(inside.owner, build.id)
        assert (ended.state, ended.reason) == (BuildState.CANCELLED, "The build was cancelled")
        assert set(inside.machines.states) == machines
        snapshot = await inside.core.snapshots.get(inside.owner, build.snapshot_id)
        assert (snapshot.state, snapshot.reason) == (SnapshotState.ERROR, "The build was cancelled")
        assert (await inside.core.builds.cancel(inside.owner, build.id)).state is BuildState.CANCELLED

    async def test_what_was_finished_before_is_kept(self, inside: Inside) -> None:
        text = "FROM box\nRUN echo first; true\nRUN echo se''cond; exec sleep 1000\n"
        build = await submit(inside, text)
        await until_said(inside, build, "second")
        await inside.core.builds.cancel(inside.owner, build.id)
        again = await submit(inside, text.replace("exec sleep 1000", "true"))
        async with asyncio.timeout(LIMIT):
            ended = await inside.core.builds.ended(inside.owner, again.id)
        assert ended.state is BuildState.SUCCEEDED
        cached = {phase.name: phase.cached for phase in ended.phases}
        assert [cached[name] for name in cached if "] RUN" in name] == [True, False]


class TestLayers:
    async def cache(self, inside: Inside, **limits: float) -> tuple[LayerCache, DisksInMemory, ManualClock]:
        disks, clock = DisksInMemory(lambda _snapshot: None), ManualClock()
        settings = BuildLimits(SMALL, **limits)  # type: ignore[arg-type]
        cache = LayerCache(inside.core.access._store, disks, settings, clock)
        await cache.recover()  # What other tests have left is no layer of these disks.
        return cache, disks, clock

    async def make(self, inside: Inside, cache: LayerCache, disks: DisksInMemory, key: str, pins: set[str]) -> str:
        async def fill(layer_id: str) -> tuple[int, None]:
            await disks.empty(layer_id)
            return 10, None

        return (await cache.get(inside.owner.team_id, key, pins, fill))[0].id

    async def test_those_unused_for_long_go(self, inside: Inside) -> None:
        cache, disks, clock = await self.cache(inside, cache_seconds=100.0)
        with cache.pinning() as pins:
            old, used = [await self.make(inside, cache, disks, key, pins) for key in ("old", "used")]
        clock.advance(99)
        with cache.pinning() as pins:
            assert await self.make(inside, cache, disks, "used", pins) == used
        clock.advance(2)
        await cache.collect()
        assert await disks.all() == {used}
        with cache.pinning() as pins:
            assert await self.make(inside, cache, disks, "old", pins) != old

    async def test_the_longest_unused_go_first_where_there_are_too_many(self, inside: Inside) -> None:
        cache, disks, clock = await self.cache(inside, cache_bytes=25)
        made = []
        for key in ("a", "b", "c", "d"):
            with cache.pinning() as pins:
                made.append(await self.make(inside, cache, disks, key, pins))
            clock.advance(1)
        await cache.collect()
        assert await disks.all() == set(made[2:])

    async def test_what_a_build_stands_on_stays(self, inside: Inside) -> None:
        cache, disks, clock = await self.cache(inside, cache_bytes=0)
        with cache.pinning() as pins:
            layer = await self.make(inside, cache, disks, "pinned", pins)
            clock.advance(1)
            await cache.collect()
            assert await disks.all() == {layer}
        await cache.collect()
        assert await disks.all() == set()


class TestContexts:
    async def pieces(self, *sizes: int) -> AsyncIterator[bytes]:
        for size in sizes:
            yield bytes(size)

    async def test_more_than_one_may_have(self, tmp_path: Path) -> None:
        contexts = Contexts(tmp_path / "contexts")
        uploads = Uploads(contexts, most=100, all=150)
        with pytest.raises(TooLarge):
            await uploads.put("team", "large", self.pieces(60, 41))
        assert not contexts.has("team", "large")
        assert contexts.size("team") == 0
        await uploads.put("team", "fits", self.pieces(60, 40))

    async def test_more_than_all_of_a_teams_may_have(self, tmp_path: Path) -> None:
        contexts = Contexts(tmp_path / "contexts")
        uploads = Uploads(contexts, most=100, all=150)
        await uploads.put("team", "first", self.pieces(100))
        with pytest.raises(TooLarge):
            await uploads.put("team", "second", self.pieces(51))
        await uploads.put("another", "second", self.pieces(51))
        upload = await uploads.begin("team", "parts")
        await uploads.part("team", "parts", upload, 1, self.pieces(30))
        with pytest.raises(TooLarge):
            await uploads.part("team", "parts", upload, 2, self.pieces(30))


async def test_a_snapshot_is_deleted_once_its_build_has_ended(inside: Inside) -> None:
    build = await submit(inside, "FROM box\nRUN echo de''letable; exec sleep 1000\n")
    await until_said(inside, build, "deletable")
    with pytest.raises(InvalidState, match="building"):
        await inside.core.snapshots.delete(inside.owner, build.snapshot_id)
    await inside.core.builds.cancel(inside.owner, build.id)
    await inside.core.snapshots.delete(inside.owner, build.snapshot_id)
    with pytest.raises(SnapshotNotFound):
        await inside.core.snapshots.get(inside.owner, build.snapshot_id)
