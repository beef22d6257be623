from dataclasses import replace
from datetime import timedelta

import pytest

from moonpool.errors import EngineError, InvalidInput
from moonpool.hosts.model import Resources
from moonpool.sandboxes.model import NewSandbox, Sandbox, SandboxState, Timers
from moonpool.sandboxes.query import SandboxQuery, SandboxSort
from tests.unit.sandboxes.conftest import STRANGER, World

S = SandboxState


@pytest.fixture
async def five(world: World) -> list[Sandbox]:
    """Made a second apart, each larger than the one before."""
    made = []
    for number, name in enumerate(["alpha", "Beta", "beta-2", "gamma", "delta"], start=1):
        new = NewSandbox(
            name=name,
            labels={"number": str(number), "odd": "yes" if number % 2 else "no", 'we"ird.$[0]': "1"},
            snapshot="minimal" if number == 1 else "daytona-small",
            cpu=number / 2,
            memory_mib=1024 * number,
            disk_mib=2048 * number,
            public=number == 2,
            timers=Timers(ttl=1000.0 * number if number < 3 else None),
        )
        made.append(await world.create(new))
        world.clock.advance(1)
    return made


async def names(world: World, query: SandboxQuery) -> list[str]:
    page = await world.sandboxes.list(world.admin, query)
    return [sandbox.name for sandbox in page.items]


BY_AGE = SandboxQuery(sort=SandboxSort.CREATED_AT, descending=False)


async def test_filters(world: World, five: list[Sandbox]) -> None:
    begun = five[0].created_at
    cases: list[tuple[dict[str, object], str]] = [
        ({}, "alpha Beta beta-2 gamma delta"),
        ({"ids": (five[0].id, five[3].id)}, "alpha gamma"),
        ({"id_prefix": five[1].id[:12].upper()}, "Beta"),
        ({"name_prefix": "BET"}, "Beta beta-2"),
        ({"name_prefix": "b%"}, ""),
        ({"name_prefix": "b_t"}, ""),
        ({"labels": {"odd": "yes"}}, "alpha beta-2 delta"),
        ({"labels": {"odd": "yes", "number": "3"}}, "beta-2"),
        ({"labels": {"odd": "yes", "number": "2"}}, ""),
        ({"labels": {'we"ird.$[0]': "1", "number": "4"}}, "gamma"),
        ({"labels": {"nothing": "1"}}, ""),
        ({"snapshots": ("minimal",)}, "alpha"),
        ({"public": True}, "Beta"),
        ({"recoverable": True}, ""),
        ({"states": (S.STOPPED,)}, ""),
        ({"states": (S.RUNNING, S.STOPPED), "name_prefix": "g"}, "gamma"),
        ({"created_after": begun + timedelta(seconds=3)}, "gamma delta"),
        ({"created_before": begun + timedelta(seconds=1)}, "alpha Beta"),
        ({"active_after": begun + timedelta(seconds=4)}, "delta"),
        ({"expires_after": begun, "expires_before": begun + timedelta(seconds=1500)}, "alpha"),
        ({"min_cpu": 1, "max_cpu": 1.5}, "Beta beta-2"),
        ({"min_memory_mib": 4096}, "gamma delta"),
        ({"max_disk_mib": 2048}, "alpha"),
        ({"max_disk_mib": 10**30}, "alpha Beta beta-2 gamma delta"),
        ({"min_memory_mib": 10**30}, ""),
    ]
    for fields, expected in cases:
        assert " ".join(await names(world, replace(BY_AGE, **fields))) == expected, fields  # type: ignore[arg-type]


@pytest.mark.parametrize("sort", list(SandboxSort))
@pytest.mark.parametrize("descending", [False, True])
async def test_cursors_lead_through_every_order(
    world: World, five: list[Sandbox], sort: SandboxSort, descending: bool
) -> None:
    query = SandboxQuery(sort=sort, descending=descending)
    everything = [sandbox.id for sandbox in (await world.sandboxes.list(world.admin, query)).items]
    walked: list[str] = []
    page = await world.sandboxes.list(world.admin, replace(query, limit=2))
    while page.next_cursor:
        assert len(page.items) == 2
        walked += [sandbox.id for sandbox in page.items]
        page = await world.sandboxes.list(world.admin, replace(query, limit=2, cursor=page.next_cursor))
    assert walked + [sandbox.id for sandbox in page.items] == everything


async def test_equal_values_are_told_apart_by_id(world: World) -> None:
    ids = sorted([(await world.create()).id for _ in range(4)])
    query = SandboxQuery(sort=SandboxSort.CPU, limit=3)
    first = await world.sandboxes.list(world.admin, query)
    second = await world.sandboxes.list(world.admin, replace(query, cursor=first.next_cursor))
    assert [sandbox.id for sandbox in (*first.items, *second.items)] == ids


async def test_pages_with_a_total(world: World, five: list[Sandbox]) -> None:
    first = await world.sandboxes.list(world.admin, replace(BY_AGE, page=1, limit=2))
    assert ([sandbox.name for sandbox in first.items], first.total) == (["alpha", "Beta"], 5)
    last = await world.sandboxes.list(world.admin, replace(BY_AGE, page=3, limit=2))
    assert ([sandbox.name for sandbox in last.items], last.total) == (["delta"], 5)
    beyond = await world.sandboxes.list(world.admin, replace(BY_AGE, page=9, limit=2))
    assert (beyond.items, beyond.total) == ((), 5)


@pytest.mark.parametrize(
    "fields",
    [
        {"name_prefix": "\0"},
        {"ids": ("\ud800",)},
        {"labels": {"a": "\0"}},
        {"limit": 0},
        {"limit": 1001},
        {"limit": -1},
        {"page": 0},
        {"page": 10**30},
        {"cursor": "nonsense"},
        {"cursor": ""},
        {"cursor": "W10"},
        {"cursor": "\u00fc"},
    ],
)
async def test_bad_pages(world: World, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        await world.sandboxes.list(world.admin, replace(BY_AGE, **fields))  # type: ignore[arg-type]


async def test_a_cursor_of_another_order(world: World, five: list[Sandbox]) -> None:
    page = await world.sandboxes.list(world.admin, replace(BY_AGE, limit=1))
    with pytest.raises(InvalidInput):
        await world.sandboxes.list(world.admin, SandboxQuery(sort=SandboxSort.NAME, limit=1, cursor=page.next_cursor))


async def test_teams_see_their_own(world: World, five: list[Sandbox]) -> None:
    assert (await world.sandboxes.list(STRANGER, SandboxQuery(page=1))).total == 0


async def test_destroyed_ones_only_when_asked_for(world: World, five: list[Sandbox]) -> None:
    await world.sandboxes.destroy(world.admin, "alpha")
    world.machines.fail("destroy", EngineError())
    with pytest.raises(EngineError):
        await world.sandboxes.destroy(world.admin, "Beta")
    assert await names(world, BY_AGE) == ["beta-2", "gamma", "delta"]
    assert await names(world, replace(BY_AGE, include_failed_destroys=True)) == ["Beta", "beta-2", "gamma", "delta"]
    assert await names(world, replace(BY_AGE, states=(S.DESTROYED,))) == ["alpha"]


async def test_activity_counts_before_it_is_written(world: World, five: list[Sandbox]) -> None:
    await world.sandboxes.touch(world.admin, "alpha")
    query = SandboxQuery(sort=SandboxSort.LAST_ACTIVITY_AT, limit=1)
    assert await names(world, query) == ["alpha"]


async def test_everything_at_once(world: World, five: list[Sandbox]) -> None:
    page = await world.sandboxes.list(world.admin, SandboxQuery(limit=None))
    assert (len(page.items), page.next_cursor) == (5, None)
    assert {sandbox.id: sandbox for sandbox in page.items} == {sandbox.id: sandbox for sandbox in five}
    assert page.items[0].resources == Resources(2.5, 5120, 10240)
