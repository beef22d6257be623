"""Buckets: what is spent, what comes back, and what is told of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from moonpool.access.limits import LimitBook
from moonpool.access.model import ALL_SCOPES, Principal, TeamLimits
from moonpool.access.throttling import Throttle, Throttles
from moonpool.errors import RateLimited
from tests.conftest import ManualClock

ONE = Principal("team", "user", "key", ALL_SCOPES)
OTHER_KEY = replace(ONE, key_id="other")
STRANGER = replace(ONE, team_id="another", key_id="third")


def throttles(clock: ManualClock, **limits: int) -> Throttles:
    book: LimitBook = LimitBook.__new__(LimitBook)  # No database: nothing is set for one team alone.
    book.defaults, book._of = TeamLimits(**limits), {}
    return Throttles(book, clock)


def spent(found: Throttles, who: Principal = ONE, throttle: Throttle = Throttle.CREATES) -> tuple[int, int]:
    allowance = found.allowance(who, throttle)
    assert allowance is not None
    return allowance.used, allowance.remaining


def test_an_hours_worth_at_once_and_no_more(clock: ManualClock) -> None:
    found = throttles(clock, creates_hourly=3)
    for used in range(1, 4):
        found.spend(ONE, Throttle.CREATES)
        assert spent(found) == (used, 3 - used)
    with pytest.raises(RateLimited, match="All 3 new sandboxes of an hour are used") as refused:
        found.spend(ONE, Throttle.CREATES)
    assert refused.value.details["retry_after"] == 1200
    assert spent(found) == (3, 0)


def test_it_comes_back_evenly(clock: ManualClock) -> None:
    found = throttles(clock, creates_hourly=60)
    found.spend(ONE, Throttle.CREATES, 60)
    clock.advance(59)
    with pytest.raises(RateLimited):
        found.spend(ONE, Throttle.CREATES)
    clock.advance(1)
    found.spend(ONE, Throttle.CREATES)
    clock.advance(24 * 3600)
    assert spent(found) == (0, 60)
    allowance = found.allowance(ONE, Throttle.CREATES)
    assert allowance is not None
    assert allowance.resets_in == 0


def test_all_of_an_amount_or_nothing(clock: ManualClock) -> None:
    found = throttles(clock, creates_hourly=10)
    found.spend(ONE, Throttle.CREATES, 8)
    with pytest.raises(RateLimited):
        found.spend(ONE, Throttle.CREATES, 3)
    found.spend(ONE, Throttle.CREATES, 2)
    found.give_back(ONE, Throttle.CREATES, 2)
    found.spend(ONE, Throttle.CREATES, 2)


def test_a_key_has_its_own_and_shares_the_teams(clock: ManualClock) -> None:
    found = throttles(clock, requests_hourly=5, key_requests_hourly=3)
    for _ in range(3):
        found.admit(ONE)
    with pytest.raises(RateLimited, match="requests with this key"):
        found.admit(ONE)
    for _ in range(2):
        found.admit(OTHER_KEY)
    with pytest.raises(RateLimited, match="All 5 requests"):
        found.admit(OTHER_KEY)
    found.admit(STRANGER)
    assert spent(found, STRANGER, Throttle.REQUESTS) == (1, 4)


def test_without_a_limit_nothing_is_counted(clock: ManualClock) -> None:
    found = throttles(clock)
    for _ in range(1000):
        found.admit(ONE)
        found.spend(ONE, Throttle.CHANGES)
    assert all(found.allowance(ONE, throttle) is None for throttle in Throttle)
    assert not found._buckets


def test_a_limit_of_none_at_all(clock: ManualClock) -> None:
    found = throttles(clock, changes_hourly=0)
    with pytest.raises(RateLimited):
        found.spend(ONE, Throttle.CHANGES)
    assert spent(found, throttle=Throttle.CHANGES) == (0, 0)


def test_a_jump_of_the_wall_clock_gives_and_takes_nothing(clock: ManualClock) -> None:
    found = throttles(clock, creates_hourly=2)
    found.spend(ONE, Throttle.CREATES, 2)
    clock.wall -= timedelta(days=400)
    with pytest.raises(RateLimited):
        found.spend(ONE, Throttle.CREATES)
