import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from moonpool.events.model import Event, EventType, NewEvent
from moonpool.events.service import RETENTION, EventService
from moonpool.events.subscription import QUEUE_SIZE, Subscription
from moonpool.store.database import Store
from tests.conftest import ManualClock


@pytest.fixture
async def events(store: Store, clock: ManualClock) -> AsyncIterator[EventService]:
    service = EventService(store, clock)
    await service.start()
    yield service
    await service.close()


async def tell(events: EventService, store: Store, clock: ManualClock, *subjects: str, team: str = "team") -> None:
    async with store.transaction() as transaction:
        for subject in subjects:
            new = NewEvent(team, EventType.SANDBOX_CREATED, subject, {"name": subject}, clock.now())
            await events.append(transaction, new)


async def take(subscription: Subscription, count: int) -> list[str]:
    return [(await anext(subscription)).subject_id for _ in range(count)]


async def test_listeners_hear_after_the_commit_and_in_order(
    events: EventService, store: Store, clock: ManualClock
) -> None:
    heard: list[Event] = []
    events.listen(heard.append)
    async with events.subscribe("team") as subscription:
        async with store.transaction() as transaction:
            for subject in ("a", "b"):
                new = NewEvent("team", EventType.SANDBOX_CREATED, subject, {"n": 1}, clock.now())
                await events.append(transaction, new)
            assert heard == []
        assert await take(subscription, 2) == ["a", "b"]
    assert [event.subject_id for event in heard] == ["a", "b"]
    assert heard == await events.history("team")


async def test_nothing_is_told_of_what_was_rolled_back(events: EventService, store: Store, clock: ManualClock) -> None:
    heard: list[Event] = []
    events.listen(heard.append)

    async def fail() -> None:
        async with store.transaction() as transaction:
            new = NewEvent("team", EventType.SANDBOX_CREATED, "a", {}, clock.now())
            await events.append(transaction, new)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert heard == await events.history("team") == []


async def test_many_writers_one_order(events: EventService, store: Store, clock: ManualClock) -> None:
    heard: list[Event] = []
    events.listen(heard.append)
    await asyncio.gather(*(tell(events, store, clock, f"{number}") for number in range(50)))
    ids = [event.id for event in heard]
    assert ids == sorted(ids)
    assert len(ids) == 50


async def test_a_team_hears_its_own(events: EventService, store: Store, clock: ManualClock) -> None:
    async with events.subscribe("team") as own, events.subscribe(None) as all_teams:
        await tell(events, store, clock, "a", team="other")
        await tell(events, store, clock, "b")
        assert await take(own, 1) == ["b"]
        assert await take(all_teams, 2) == ["a", "b"]
    assert [event.subject_id for event in await events.history("team")] == ["b"]


async def test_one_that_comes_back_misses_nothing(events: EventService, store: Store, clock: ManualClock) -> None:
    async with events.subscribe("team") as subscription:
        await tell(events, store, clock, "a", "b")
        assert await take(subscription, 1) == ["a"]
        last = subscription.last_id
    await tell(events, store, clock, "c")
    async with events.subscribe("team", since=last) as subscription:
        await tell(events, store, clock, "d")
        assert await take(subscription, 3) == ["b", "c", "d"]


async def test_a_long_absence(events: EventService, store: Store, clock: ManualClock) -> None:
    subjects = [f"{number}" for number in range(QUEUE_SIZE + 100)]
    await tell(events, store, clock, *subjects)
    async with events.subscribe("team", since=0) as subscription:
        await tell(events, store, clock, "live")
        assert await take(subscription, len(subjects) + 1) == [*subjects, "live"]


async def test_a_slow_one_is_dropped_and_may_resume(events: EventService, store: Store, clock: ManualClock) -> None:
    async with events.subscribe("team") as slow, events.subscribe("team") as other:
        for start in range(0, QUEUE_SIZE + 1, 100):
            await tell(events, store, clock, *(f"{number}" for number in range(start, start + 100)))
            await take(other, 100)
        read = [event.subject_id async for event in slow]
        assert slow.dropped
        assert not other.dropped
    async with events.subscribe("team", since=slow.last_id) as subscription:
        rest = await take(subscription, QUEUE_SIZE + 100 - len(read))
    assert read + rest == [f"{number}" for number in range(QUEUE_SIZE + 100)]


async def test_a_closing_server_ends_the_streams(events: EventService) -> None:
    async with events.subscribe("team") as subscription:
        waiting = asyncio.ensure_future(anext(subscription, None))
        await asyncio.sleep(0)
        await events.close()
        assert await waiting is None


class TestCrash:
    async def test_what_was_committed_is_handed_out_by_the_next_server(
        self, events: EventService, store: Store, clock: ManualClock
    ) -> None:
        await tell(events, store, clock, "a", "b")
        heard: list[str] = []
        again = EventService(store, clock)
        again.listen(lambda event: heard.append(event.subject_id))
        await again.start()
        assert heard == ["a", "b"]
        await again.close()

    async def test_what_was_handed_out_is_not_repeated(
        self, events: EventService, store: Store, clock: ManualClock
    ) -> None:
        await tell(events, store, clock, "a")
        await events.close()
        heard: list[Event] = []
        again = EventService(store, clock)
        again.listen(heard.append)
        await again.start()
        assert heard == []


async def test_old_ones_are_forgotten(events: EventService, store: Store, clock: ManualClock) -> None:
    await tell(events, store, clock, "old")
    clock.advance((RETENTION + timedelta(seconds=1)).total_seconds())
    await tell(events, store, clock, "new")
    await events.prune()
    assert [event.subject_id for event in await events.history("team")] == ["new"]
    await tell(events, store, clock, "newer")
    ids = [event.id for event in await events.history("team")]
    assert ids == [2, 3]
