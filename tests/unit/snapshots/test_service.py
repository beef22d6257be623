from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert

from moonpool.access.model import ALL_SCOPES, Principal, Scope
from moonpool.access.service import AccessService
from moonpool.errors import Forbidden, InvalidInput, SnapshotNotFound
from moonpool.snapshots.model import Snapshot, SnapshotQuery, SnapshotSort
from moonpool.snapshots.repository import values_of
from moonpool.snapshots.seeds import SEEDS, seeds
from moonpool.snapshots.service import SnapshotService
from moonpool.store.database import Store
from moonpool.store.tables import snapshots
from tests.conftest import ManualClock


@pytest.fixture
async def admin(store: Store, clock: ManualClock) -> Principal:
    return await AccessService(store, clock).local_principal()


@pytest.fixture
async def service(store: Store, clock: ManualClock) -> SnapshotService:
    made = SnapshotService(store, AccessService(store, clock), clock)
    await made.start()
    return made


async def own(service: SnapshotService, store: Store, clock: ManualClock, admin: Principal, name: str) -> Snapshot:
    snapshot = replace(seeds(clock.now())[0], id=f"id-of-{name}", team_id=admin.team_id, name=name)
    async with store.transaction() as transaction:
        await transaction.connection.execute(insert(snapshots), values_of(snapshot))
    await service.start()
    return snapshot


@pytest.mark.parametrize("name", SEEDS)
async def test_the_first_ones_are_there_for_everybody(service: SnapshotService, name: str) -> None:
    stranger = Principal("some team", "some user", None, ALL_SCOPES)
    found = await service.get(stranger, name)
    assert (found.name, found.resources, found.image, found.general) == (name, SEEDS[name], "base", True)
    assert await service.get(stranger, found.id) == found


async def test_their_sizes(service: SnapshotService, admin: Principal) -> None:
    found = await service.get(admin, "minimal")
    assert (found.resources.cpu, found.resources.memory_mib, found.resources.disk_mib) == (1, 512, 5120)


async def test_a_second_start_makes_no_second_ones(
    service: SnapshotService, store: Store, clock: ManualClock, admin: Principal
) -> None:
    clock.advance(10)
    again = SnapshotService(store, AccessService(store, clock), clock)
    await again.start()
    assert (await again.list(admin)).total == len(SEEDS)
    assert await again.get(admin, "minimal") == await service.get(admin, "minimal")


async def test_a_teams_own_is_its_own(
    service: SnapshotService, store: Store, clock: ManualClock, admin: Principal
) -> None:
    mine = await own(service, store, clock, admin, "mine")
    assert await service.get(admin, "mine") == mine
    stranger = replace(admin, team_id="00000000-0000-0000-0000-000000000000")
    for key in ("mine", mine.id):
        with pytest.raises(SnapshotNotFound):
            await service.get(stranger, key)
    assert (await service.list(stranger)).total == len(SEEDS)
    assert (await service.list(admin)).total == len(SEEDS) + 1


async def test_its_own_comes_before_a_general_one_of_the_same_name(
    service: SnapshotService, store: Store, clock: ManualClock, admin: Principal
) -> None:
    mine = await own(service, store, clock, admin, "minimal")
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
