"""The log itself: batched, bounded, and read by those who may."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.audit.model import ActorKind, AuditQuery, Condition, Deed, Operator, Outcome
from moonpool.audit.service import MAX_STRANGERS, AuditService
from moonpool.errors import Forbidden, InvalidInput
from moonpool.store.database import Store
from tests.conftest import ManualClock

KEEP = timedelta(days=10)


@pytest.fixture
async def access(store: Store, clock: ManualClock) -> AccessService:
    service = AccessService(store, clock)
    await service.start(None)
    return service


@pytest.fixture
async def admin(access: AccessService) -> Principal:
    return await access.local_principal()


@pytest.fixture
async def audit(store: Store, access: AccessService, clock: ManualClock) -> AsyncIterator[AuditService]:
    service = AuditService(store, access, KEEP, clock)
    yield service
    await service.close()


def deed(clock: ManualClock, who: Principal | None, action: str = "create", status: int = 200, **more: object) -> Deed:
    asker = {} if who is None else {"team_id": who.team_id, "user_id": who.user_id, "key_id": who.key_id}
    return Deed("daytona", action, "sandbox", None, status, clock.now(), **asker, **more)  # type: ignore[arg-type]


async def test_it_tells_who_did_what_to_what(
    audit: AuditService, access: AccessService, admin: Principal, clock: ManualClock
) -> None:
    made = await access.create_key(admin, "of ci")
    key = await access.authenticate(made.secret)
    answer = json.dumps({"id": "made-id", "name": "box"}).encode()
    audit.note(deed(clock, key, address="10.0.0.1", agent="curl", request_id="r1", answer=answer))
    audit.note(deed(clock, key, "start", 409, answer=json.dumps({"message": "is starting"}).encode()))
    failed, entry = (await audit.page(admin, AuditQuery())).items
    assert (entry.actor.kind, entry.actor.name, entry.actor.user_id) == (ActorKind.API_KEY, "of ci", admin.user_id)
    assert (entry.actor.key_prefix, entry.actor.key_suffix) == (made.key.prefix, made.key.suffix)
    assert entry.actor.email == (await access.user(admin)).email
    assert (entry.action, entry.target_id, entry.outcome) == ("create", "made-id", Outcome.SUCCESS)
    assert (entry.address, entry.agent, entry.request_id) == ("10.0.0.1", "curl", "r1")
    assert (failed.outcome, failed.reason, failed.target_id) == (Outcome.FAILURE, "is starting", None)


async def test_it_is_written_at_the_end(
    store: Store, access: AccessService, admin: Principal, clock: ManualClock
) -> None:
    ending = AuditService(store, access, KEEP, clock)
    ending.note(deed(clock, admin))
    await ending.close()
    assert len((await AuditService(store, access, KEEP, clock).page(admin, AuditQuery())).items) == 1


async def test_a_flood_of_strangers_is_counted(audit: AuditService, admin: Principal, clock: ManualClock) -> None:
    for _ in range(MAX_STRANGERS + 23):
        audit.note(deed(clock, None, status=401))
    audit.note(deed(clock, admin))
    found = (await audit.page_of_all(AuditQuery(limit=200))).items
    assert len(found) == MAX_STRANGERS + 2
    assert {"omitted": "23"} in [dict(entry.details) for entry in found]
    assert len((await audit.page(admin, AuditQuery())).items) == 1


async def test_pages_follow_each_other(audit: AuditService, admin: Principal, clock: ManualClock) -> None:
    for number in range(5):
        audit.note(deed(clock, admin, f"act{number}"))
        if number % 2:
            clock.advance(1)
    seen, cursor = [], None
    while True:
        page = await audit.page(admin, AuditQuery(limit=2, cursor=cursor))
        seen += [entry.action for entry in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == ["act4", "act3", "act2", "act1", "act0"]


async def test_conditions(audit: AuditService, admin: Principal, clock: ManualClock) -> None:
    for action, status in (("start", 200), ("stop", 409), ("stop", 403)):
        audit.note(deed(clock, admin, action, status))
    for condition, expected in (
        (Condition("action", Operator.IS, ("start",)), [200]),
        (Condition("action", Operator.IS_NOT, ("start",)), [403, 409]),
        (Condition("status", Operator.AT_LEAST, (400,)), [403, 409]),
        (Condition("status", Operator.LESS, (404,)), [403, 200]),
        (Condition("key_prefix", Operator.IS_NOT, ("mp_",)), [403, 409, 200]),
    ):
        query = AuditQuery(conditions=(condition,))
        assert [entry.status for entry in (await audit.page(admin, query)).items] == expected
        assert await audit.count(admin, query) == len(expected)


async def test_what_is_old_is_forgotten(audit: AuditService, admin: Principal, clock: ManualClock) -> None:
    audit.note(deed(clock, admin, "old"))
    clock.advance(KEEP.total_seconds() + 1)
    audit.note(deed(clock, admin, "new"))
    await audit.flush()
    await audit.prune()
    assert [entry.action for entry in (await audit.page(admin, AuditQuery())).items] == ["new"]


async def test_who_may_not_read_it(audit: AuditService, admin: Principal, clock: ManualClock) -> None:
    audit.note(deed(clock, admin))
    other = Principal("another team", "somebody", None, frozenset({Scope.AUDIT_READ}))
    assert (await audit.page(other, AuditQuery())).items == ()
    with pytest.raises(Forbidden):
        await audit.page(Principal(admin.team_id, admin.user_id, None, frozenset({Scope.KEYS_READ})), AuditQuery())


@pytest.mark.parametrize("cursor", ["x", "W10", "WyJ4IiwxXQ", "WzEsMl0", "WyIyMDI2LTAxLTAxIiwgLTFd"])
async def test_cursors_that_are_none(audit: AuditService, admin: Principal, cursor: str) -> None:
    with pytest.raises(InvalidInput):
        await audit.page(admin, AuditQuery(cursor=cursor))


async def test_what_clients_choose_is_kept_within_bounds(
    audit: AuditService, admin: Principal, clock: ManualClock
) -> None:
    audit.note(deed(clock, admin, agent="x" * 10_000, address="\0", answer=b'{"id": "' + b"y" * 9000 + b'"}'))
    audit.note(deed(clock, admin, agent="\ud800", answer=b"[" * 60_000))
    second, first = (await audit.page(admin, AuditQuery())).items
    assert len(first.agent or "") == len(first.target_id or "") == 500
    assert "\0" not in (first.address or "")
    assert second.target_id is None


async def test_deeds_wait_while_the_database_refuses(
    audit: AuditService, admin: Principal, store: Store, clock: ManualClock
) -> None:
    async with store.transaction() as transaction:
        await transaction.connection.execute(text("ALTER TABLE audit_entries RENAME TO elsewhere"))
    audit.note(deed(clock, admin))
    await audit.flush()
    async with store.transaction() as transaction:
        await transaction.connection.execute(text("ALTER TABLE elsewhere RENAME TO audit_entries"))
    assert len((await audit.page(admin, AuditQuery())).items) == 1
