"""Every event arrives, once where nothing breaks, in order for each sandbox, whoever else hangs."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from moonpool.access.model import Principal, Scope
from moonpool.deliveries import dispatcher
from moonpool.deliveries.dispatcher import AT_ONCE, DISABLED_AFTER, RETRIES
from moonpool.deliveries.model import Attempt, Delivery, DeliveryState, EndpointChange, NewEndpoint
from moonpool.errors import Forbidden, InvalidInput, InvalidState, LimitExceeded, ReceiverNotFound
from moonpool.events.model import EventType, NewEvent
from moonpool.store.database import Store
from tests.conftest import ManualClock
from tests.receivers import WAIT, HttpReceiver, http_receiver
from tests.unit.deliveries.conftest import Sending, bodies, started

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def endpoint(sending: Sending, url: str, *events: str) -> str:
    return (await sending.webhooks.create(sending.admin, NewEndpoint(url, events=events, secret=SECRET))).receiver.id


async def log(sending: Sending, endpoint_id: str) -> list[Delivery]:
    """The oldest first."""
    return list((await sending.webhooks.deliveries(sending.admin, endpoint_id)).items)[::-1]


async def until(sending: Sending, endpoint_id: str, attempts: int, *, of: int = 0) -> Delivery:
    """The delivery once so many attempts of it are noted."""
    async with asyncio.timeout(WAIT):
        while True:
            found = await log(sending, endpoint_id)
            if len(found) > of and len(found[of].attempts) >= attempts:
                return found[of]
            await asyncio.sleep(0)


async def test_an_event_arrives_signed(sending: Sending, receiver: HttpReceiver) -> None:
    created = await sending.webhooks.create(sending.admin, NewEndpoint(receiver.url))
    assert created.secret is not None
    await sending.tell("box", name="bücher")
    (got,) = await receiver.wait(1)
    assert bodies(receiver) == [{"event": "sandbox.created", "id": "box", "name": "bücher"}]
    # The library's own check looks at the real time; the clock here stands still elsewhere.
    expected = Webhook(created.secret).sign(got.headers["webhook-id"], sending.clock.now(), got.body)
    assert got.headers["webhook-signature"] == expected
    for name in ("id", "timestamp", "signature"):
        assert got.headers[f"svix-{name}"] == got.headers[f"webhook-{name}"]
    delivery = await until(sending, created.receiver.id, 1)
    assert (delivery.state, delivery.attempts[0].status) == (DeliveryState.DELIVERED, 200)
    assert delivery.message_id == got.headers["webhook-id"]


async def test_who_is_told_what(sending: Sending, receiver: HttpReceiver) -> None:
    await endpoint(sending, receiver.url + "/volumes", "volume.created")
    await endpoint(sending, receiver.url + "/sandboxes", "sandbox.created")
    await sending.tell("foreign", team="another team")
    await sending.tell("ours")
    await receiver.wait(1)
    assert [got.path for got in receiver.got] == ["/hook/sandboxes"]
    assert bodies(receiver)[0]["id"] == "ours"


async def test_what_was_before_an_endpoint_is_not_its(sending: Sending, receiver: HttpReceiver) -> None:
    await sending.tell("before")
    sending.clock.advance(1)
    await endpoint(sending, receiver.url)
    await sending.tell("after")
    await receiver.wait(1)
    assert [body["id"] for body in bodies(receiver)] == ["after"]


async def test_retries_go_on_for_hours_with_the_same_id(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    receiver.status = 500
    await sending.tell("box")
    for number, wait in enumerate(RETRIES, 1):
        delivery = await until(sending, here, number)
        assert delivery.state is DeliveryState.PENDING
        assert delivery.next_attempt_at - sending.clock.now() == timedelta(seconds=wait)
        sending.pass_time(wait)
    failed = await until(sending, here, len(RETRIES) + 1)
    assert failed.state is DeliveryState.FAILED
    assert {attempt.status for attempt in failed.attempts} == {500}
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert sum(RETRIES) > 24 * 3600


async def test_the_order_of_a_sandbox_is_kept_over_failures(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    receiver.status = 503
    await sending.tell("a", number=1)
    await until(sending, here, 1)
    receiver.status = 200
    await sending.tell("a", number=2)
    await sending.tell("b", number=3)
    await receiver.wait(2)
    assert bodies(receiver)[-1] == {"event": "sandbox.created", "id": "b", "number": 3}
    sending.pass_time(RETRIES[0])
    await receiver.wait(4)
    assert [body["number"] for body in bodies(receiver)] == [1, 3, 1, 2]


async def test_what_arrives_while_rows_are_looked_at_is_not_sent_again(
    sending: Sending, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row was read while it was being sent, and is come back to when it has arrived."""
    here = await endpoint(sending, receiver.url)
    repository, attempt = sending.dispatcher._repository, sending.dispatcher.attempt
    look, begun, go = repository.due, asyncio.Event(), asyncio.Event()

    async def attempted(*about: Any) -> Attempt:
        begun.set()
        await go.wait()
        return await attempt(*about)

    async def looked(*about: Any) -> Sequence[Delivery]:
        due = await look(*about)
        if due and begun.is_set() and not go.is_set():
            go.set()
            await until(sending, here, 1)
            while sending.dispatcher._sending:
                await asyncio.sleep(0)
        return due

    monkeypatch.setattr(repository, "due", looked)
    monkeypatch.setattr(sending.dispatcher, "attempt", attempted)
    await sending.tell("box")
    async with asyncio.timeout(WAIT):
        await begun.wait()
    sending.dispatcher.wake()
    await until(sending, here, 1)
    await sending.tell("after")
    await receiver.wait(2)
    assert [body["id"] for body in bodies(receiver)] == ["box", "after"]


async def test_a_receiver_that_hangs_holds_up_no_other(
    sending: Sending, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "AT_ONCE_IN_ALL", AT_ONCE + 2)
    monkeypatch.setattr(dispatcher, "BATCH", AT_ONCE + 3)
    async with http_receiver() as hanging:
        hanging.hangs = True
        await endpoint(sending, hanging.url)
        await endpoint(sending, receiver.url)
        await sending.tell(*(f"box{number}" for number in range(10)))
        await receiver.wait(10)
        await hanging.wait(AT_ONCE)
        assert len(hanging.got) == AT_ONCE


async def test_a_receiver_that_is_removed_meanwhile_holds_up_no_other(
    sending: Sending, receiver: HttpReceiver, rendered: asyncio.Event
) -> None:
    """The event is read, and its deliveries are made, while what removes one of the receivers has its turn to write."""
    removed = await endpoint(sending, receiver.url + "/removed")
    await endpoint(sending, receiver.url + "/kept")

    async def hold_the_turn() -> None:
        async with sending.store.transaction():
            await rendered.wait()

    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
        with capture_logs() as logs:
            async with sending.store.transaction() as transaction:
                tasks.create_task(hold_the_turn())
                await asyncio.sleep(0)
                tasks.create_task(sending.webhooks.delete(sending.admin, removed))
                await asyncio.sleep(0)
                told = NewEvent(sending.admin.team_id, EventType.SANDBOX_CREATED, "box", {}, sending.clock.now())
                await sending.events.append(transaction, told)
            await receiver.wait(1)
    assert [got.path for got in receiver.got] == ["/hook/kept"]
    assert not [entry for entry in logs if entry["event"] == "deliveries_wait"]


async def test_nothing_is_lost_between_commit_and_delivery(
    store: Store, clock: ManualClock, receiver: HttpReceiver
) -> None:
    """The first server dies before it takes the event, the second with the request under way."""
    async with AsyncExitStack() as stack:
        first = await started(stack, store, clock)
        here = await endpoint(first, receiver.url)
        await first.dispatcher.close()
        await first.tell("a", "b")
    async with AsyncExitStack() as stack:
        receiver.hangs = True
        await started(stack, store, clock)
        await receiver.wait(2)
    receiver.hangs = False
    async with AsyncExitStack() as stack:
        third = await started(stack, store, clock)
        await receiver.wait(4)
        assert sorted(str(body["id"]) for body in bodies(receiver)) == ["a", "a", "b", "b"]
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 2
        assert [len((await until(third, here, 1, of=number)).attempts) for number in (0, 1)] == [1, 1]


async def test_events_wait_for_those_who_have_not_taken_them(
    store: Store, clock: ManualClock, receiver: HttpReceiver
) -> None:
    async with AsyncExitStack() as stack:
        first = await started(stack, store, clock)
        await endpoint(first, receiver.url)
        await first.dispatcher.close()
        await first.tell("old")
        clock.advance(30 * 24 * 3600)
        await first.events.prune()
    async with AsyncExitStack() as stack:
        await started(stack, store, clock)
        await receiver.wait(1)


async def test_one_that_says_it_is_gone_is_disabled(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    receiver.status = 410
    await sending.tell("a")
    await until(sending, here, 1)
    assert (sending.webhooks.get(sending.admin, here).receiver.enabled) is False
    assert (await log(sending, here))[0].state is DeliveryState.FAILED
    await sending.tell("b")
    receiver.status = 200
    sending.clock.advance(1)
    await sending.webhooks.update(sending.admin, here, EndpointChange(enabled=True))
    assert await sending.webhooks.recover(sending.admin, here, sending.clock.now() - timedelta(hours=1)) == 1
    await receiver.wait(2)
    assert [body["id"] for body in bodies(receiver)] == ["a", "a"]


async def test_one_that_fails_for_days_is_disabled(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    receiver.status = 500
    await sending.tell("a")
    await until(sending, here, 1)
    assert sending.webhooks.get(sending.admin, here).receiver.failing_since is not None
    sending.pass_time(DISABLED_AFTER.total_seconds())
    await until(sending, here, 2)
    disabled = sending.webhooks.get(sending.admin, here).receiver
    assert (disabled.enabled, disabled.disabled_reason) == (False, "Nothing arrived for 5 days")
    with pytest.raises(InvalidState):
        await sending.webhooks.replay(sending.admin, here, (await log(sending, here))[0].id)


async def test_an_answer_ends_a_failure(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    receiver.status = 500
    await sending.tell("a")
    await until(sending, here, 1)
    receiver.status = 204
    sending.pass_time(RETRIES[0])
    await until(sending, here, 2)
    assert sending.webhooks.get(sending.admin, here).receiver.failing_since is None


async def test_a_secret_is_rotated_with_an_overlap(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    new = (await sending.webhooks.rotate(sending.admin, here)).secret
    assert new is not None
    await sending.tell("a")
    await receiver.wait(1)
    sending.clock.advance(24 * 3600)
    await sending.tell("b")
    during, after = await receiver.wait(2)
    for got, at, secrets in ((during, 0, 2), (after, 24 * 3600, 1)):
        moment = sending.clock.now() - timedelta(seconds=24 * 3600 - at)
        signatures = got.headers["webhook-signature"].split()
        assert len(signatures) == secrets
        assert signatures[0] == Webhook(new).sign(got.headers["webhook-id"], moment, got.body)
    assert (
        Webhook(SECRET).sign(during.headers["webhook-id"], sending.clock.now() - timedelta(days=1), during.body)
        in during.headers["webhook-signature"]
    )


async def test_a_delivery_is_replayed(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    await sending.tell("a")
    first = await until(sending, here, 1)
    again = await sending.webhooks.replay(sending.admin, here, first.id)
    assert (again.message_id, again.body) == (first.message_id, first.body)
    await receiver.wait(2)
    assert receiver.got[0].body == receiver.got[1].body


async def test_what_was_sent_long_ago_is_forgotten(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    await sending.tell("a")
    await until(sending, here, 1)
    sending.clock.advance(31 * 24 * 3600)
    await sending.dispatcher.prune()
    assert await log(sending, here) == []


async def test_secrets_are_sealed(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    kept = sending.book.get(here)
    assert kept is not None
    assert SECRET not in kept.config
    assert receiver.url not in kept.config
    assert SECRET not in repr(kept)


async def test_a_test_is_sent_at_once(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    assert (await sending.webhooks.test(sending.admin, here)).status == 200
    receiver.status = 418
    attempt = await sending.webhooks.test(sending.admin, here)
    assert (attempt.status, attempt.error) == (418, "Answered 418")
    assert [body["event"] for body in bodies(receiver)] == ["test", "test"]
    assert await log(sending, here) == []


async def test_who_may_not(sending: Sending, receiver: HttpReceiver) -> None:
    here = await endpoint(sending, receiver.url)
    other = Principal("another team", "somebody", None, frozenset({Scope.ADMIN}))
    with pytest.raises(ReceiverNotFound):
        sending.webhooks.get(other, here)
    with pytest.raises(ReceiverNotFound):
        await sending.webhooks.delete(other, here)
    writer = Principal(sending.admin.team_id, "somebody", None, frozenset({Scope.SANDBOXES_WRITE}))
    with pytest.raises(Forbidden):
        sending.webhooks.list(writer)
    with pytest.raises(Forbidden):
        await sending.webhooks.create(writer, NewEndpoint(receiver.url))


async def test_what_cannot_be_an_endpoint(
    sending: Sending, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for new in (
        NewEndpoint("http://10.0.0.1/"),
        NewEndpoint("https://169.254.169.254/"),
        NewEndpoint(receiver.url, events=("sandbox.exploded",)),
        NewEndpoint(receiver.url, secret="plain"),
        NewEndpoint(receiver.url, secret="whsec_c2hvcnQ="),
        NewEndpoint(receiver.url, description="\0"),
    ):
        with pytest.raises(InvalidInput):
            await sending.webhooks.create(sending.admin, new)
    monkeypatch.setattr("moonpool.deliveries.book.MOST", 1)
    await endpoint(sending, receiver.url)
    with pytest.raises(LimitExceeded):
        await endpoint(sending, receiver.url)
