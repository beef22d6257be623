from dataclasses import replace
from typing import Any

import pytest

from moonpool.access.model import ALL_SCOPES, Principal, Scope
from moonpool.errors import Forbidden, InvalidInput, SnapshotNotFound
from moonpool.snapshots.model import Snapshot, SnapshotQuery, SnapshotSort
from moonpool.snapshots.seeds import SEEDS
from moonpool.snapshots.service import SnapshotService
from tests.unit.sandboxes.conftest import World


@pytest.fixture
def admin(world: World) -> Principal:
    return world.admin


@pytest.fixture
def service(world: World) -> SnapshotService:
    return world.core.snapshots


async def own(world: World, name: str) -> Snapshot:
    sandbox = await world.create()
    return await world.core.snapshots.capture(world.admin, sandbox.id, name=name)


@pytest.mark.parametrize("name", SEEDS)
async def test_the_first_ones_are_there_for_everybody(service: SnapshotService, name: str) -> None:
    stranger = Principal("some team", "some user", None, ALL_SCOPES)
    found = await service.get(stranger, name)
    assert (found.name, found.resources, found.image, found.general) == (
        name,
        SEEDS[name].resources,
        SEEDS[name].image,
        True,
    )
    assert await service.get(stranger, found.id) == found


async def test_their_sizes(service: SnapshotService, admin: Principal) -> None:
    found = await service.get(admin, "minimal")
    assert (found.resources.cpu, found.resources.memory_mib, found.resources.disk_mib) == (1, 512, 5120)


async def test_a_second_start_makes_no_second_ones(world: World) -> None:
    before = await world.core.snapshots.get(world.admin, "minimal")
    world.clock.advance(10)
    again = await world.restart()
    assert (await again.core.snapshots.list(again.admin)).total == len(SEEDS)
    assert await again.core.snapshots.get(again.admin, "minimal") == before
    await again.core.stop()


async def test_a_teams_own_is_its_own(world: World, service: SnapshotService, admin: Principal) -> None:
    mine = await own(world, "mine")
    assert await service.get(admin, "mine") == mine
    stranger = replace(admin, team_id="00000000-0000-0000-0000-000000000000")
    for key in ("mine", mine.id):
        with pytest.raises(SnapshotNotFound):
            await service.get(stranger, key)
    assert (await service.list(stranger)).total == len(SEEDS)
    assert (await service.list(admin)).total == len(SEEDS) + 1


async def test_its_own_comes_before_a_general_one_of_the_same_name(
    world: World, service: SnapshotService, admin: Principal
) -> None:
    mine = await own(world, "minimal")
    assert await service.get(admin, "minimal") == mine


@pytest.mark.parametrize("key", ["nope", "", "\0", "\ud800"])
async def test_an_unknown_one(service: SnapshotService, admin: Principal, key: str) -> None:
    with pytest.raises(SnapshotNotFound):
        await service.get(admin, key)


async def test_pages(service: SnapshotService, admin: Principal) -> None:
    query = SnapshotQuery(sort=SnapshotSort.NAME, descending=False, limit=3)
    first, second = await service.list(admin, query), await service.list(admin, replace(query, page=2))
    assert [snapshot.name for snapshot in (*first.items, *second.items)] == sorted(SEEDS)
    assert first.total == second.total == len(SEEDS)


async def test_search_by_name(service: SnapshotService, admin: Principal) -> None:
    assert {item.name for item in (await service.list(admin, SnapshotQuery(name="AYTONA-L"))).items} == {
        "daytona-large"
    }
    assert (await service.list(admin, SnapshotQuery(name="%"))).items == ()


@pytest.mark.parametrize(
    "fields", [{"page": 0}, {"page": 10**30}, {"limit": 0}, {"limit": 10**9}, {"name": "\0"}, {"name": "\ud800"}]
)
async def test_bad_pages(service: SnapshotService, admin: Principal, fields: dict[str, Any]) -> None:
    query = SnapshotQuery(**fields)
    with pytest.raises(InvalidInput):
        await service.list(admin, query)


async def test_it_needs_its_scope(service: SnapshotService, admin: Principal) -> None:
    other = replace(admin, scopes=frozenset({Scope.SANDBOXES_READ}))
    with pytest.raises(Forbidden):
        await service.list(other)
    with pytest.raises(Forbidden):
        await service.get(other, "minimal")
