"""What an operator may set for a team, and who follows."""

import pytest

from moonpool.access.limits import LimitBook
from moonpool.access.model import LIMIT_NAMES, Principal, TeamLimits
from moonpool.access.service import AccessService
from moonpool.config import Settings
from moonpool.errors import InvalidInput, NotFound
from moonpool.store.database import Store
from tests.conftest import ManualClock

DEFAULTS = TeamLimits(cpu=4, memory_mib=8192, sandboxes=10)


@pytest.fixture
def book(store: Store, clock: ManualClock) -> LimitBook:
    return LimitBook(store, clock, DEFAULTS)


@pytest.fixture
async def admin(store: Store, clock: ManualClock) -> Principal:
    return await AccessService(store, clock).local_principal()


async def test_the_servers_own_hold_where_nothing_is_set(book: LimitBook, admin: Principal) -> None:
    await book.load()
    assert book.of(admin.team_id) == DEFAULTS
    assert book.own(admin.team_id) == {}


async def test_set_lifted_and_given_back(book: LimitBook, admin: Principal) -> None:
    await book.change(admin.team_id, {"running": 2, "sandboxes": None, "total_cpu": 1.5})
    limits = book.of(admin.team_id)
    assert (limits.running, limits.sandboxes, limits.total_cpu, limits.cpu) == (2, None, 1.5, 4)
    await book.change(admin.team_id, {"running": 3}, drop=frozenset({"sandboxes"}))
    assert (book.of(admin.team_id).running, book.of(admin.team_id).sandboxes) == (3, 10)
    assert book.own(admin.team_id) == {"running": 3, "total_cpu": 1.5}


async def test_other_processes_follow(book: LimitBook, admin: Principal, store: Store, clock: ManualClock) -> None:
    other = LimitBook(store, clock, DEFAULTS)
    await book.change(admin.team_id, {"volumes": 0})
    assert other.of(admin.team_id).volumes is None
    await other.load()
    assert other.of(admin.team_id).volumes == 0


async def test_one_teams_limits_are_not_anothers(book: LimitBook, admin: Principal) -> None:
    await book.change(admin.team_id, {"running": 2})
    assert book.of("another").running is None


@pytest.mark.parametrize(
    ("name", "figure"),
    [("nothing", 1), ("running", -1), ("running", 1.5), ("cpu", float("nan")), ("cpu", float("inf")), ("memory", 1)],
)
async def test_what_is_no_limit(book: LimitBook, admin: Principal, name: str, figure: float) -> None:
    with pytest.raises(InvalidInput):
        await book.change(admin.team_id, {"sandboxes": 5, name: figure})
    assert book.of(admin.team_id) == DEFAULTS


async def test_what_cannot_be_given_back(book: LimitBook, admin: Principal) -> None:
    with pytest.raises(InvalidInput, match="No such limit"):
        await book.change(admin.team_id, {}, drop=frozenset({"nothing"}))


async def test_a_team_that_is_none(book: LimitBook) -> None:
    with pytest.raises(NotFound):
        await book.change("nowhere", {"running": 1})


def test_each_limit_is_a_setting() -> None:
    limits = TeamLimits.of(Settings(max_running=7, max_total_cpu=2.5))
    assert (limits.running, limits.total_cpu) == (7, 2.5)
    assert all(f"max_{name}" in Settings.model_fields for name in LIMIT_NAMES)
