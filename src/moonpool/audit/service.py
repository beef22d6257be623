"""The audit log: deeds are noted in memory and written in batches, so that no request waits for it."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.audit.model import Actor, ActorKind, AuditQuery, Condition, Deed, Entry
from moonpool.audit.repository import AuditRepository
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, NoCapacity
from moonpool.store.database import Store
from moonpool.store.moments import in_utc
from moonpool.store.paging import Page, decode_cursor, encode_cursor
from moonpool.store.text import storable

FLUSH_AFTER = 1.0  # seconds between a deed and its writing: what a killed server may forget
MAX_WAITING = 10_000  # deeds that are not written yet; what comes beyond is counted
MAX_STRANGERS = 100  # of them, from askers who were not let in
MAX_TEXT = 500  # characters of anything that a client chose
REMEMBERED_ACTORS = 1000
IDS = ("id", "vmId", "name")

log = structlog.get_logger(__name__)


class AuditService:
    """A team's log is for who may read it; what nobody's key did, for the platform's admins."""

    def __init__(self, store: Store, access: AccessService, keep: timedelta, clock: Clock) -> None:
        self._store = store
        self._access = access
        self._keep = keep
        self._clock = clock
        self._repository = AuditRepository()
        self._waiting: list[Deed] = []
        self._strangers = 0
        self._omitted = 0
        self._actors: dict[str, Actor] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushes: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def note(self, deed: Deed) -> None:
        """Never waits and never fails. Of floods (above all strangers') the beginning is kept, the rest counted."""
        stranger = deed.team_id is None
        if len(self._waiting) >= MAX_WAITING or (stranger and self._strangers >= MAX_STRANGERS):
            self._omitted += 1
            return
        self._strangers += stranger
        self._waiting.append(deed)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self._begin)

    async def flush(self) -> None:
        """Write what was noted; it is kept for the next time when the database refuses."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        async with self._turn:
            deeds, self._waiting, self._strangers = self._waiting, [], 0
            omitted, self._omitted = self._omitted, 0
            if not deeds:
                return
            try:
                async with self._store.transaction() as transaction:
                    await self._learn(transaction.connection, deeds)
                    entries = [self._entry(deed) for deed in deeds]
                    if omitted:
                        entries.append(self._omission(omitted))
                    await self._repository.insert(transaction, entries)
            except (SQLAlchemyError, NoCapacity) as error:
                self._waiting = [*deeds, *self._waiting][:MAX_WAITING]
                self._omitted += omitted
                log.warning("audit_not_written", error=type(error).__name__, waiting=len(self._waiting))

    async def close(self) -> None:
        await self.flush()

    async def prune(self) -> None:
        async with self._store.transaction() as transaction:
            await self._repository.prune(transaction, self._clock.now() - self._keep)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def page(self, principal: Principal, query: AuditQuery) -> Page[Entry]:
        """Of the principal's team, the newest first; Forbidden without ``audit:read``, InvalidInput."""
        self._access.require(principal, Scope.AUDIT_READ)
        return await self._page(principal.team_id, query)

    async def count(self, principal: Principal, query: AuditQuery) -> int:
        self._access.require(principal, Scope.AUDIT_READ)
        query = checked(query)
        async with self._store.reading() as connection:
            return await self._repository.count(connection, principal.team_id, query)

    async def page_of_all(self, query: AuditQuery) -> Page[Entry]:
        """Of every team and of nobody, for who was found to be an admin of the platform."""
        return await self._page(None, query)

    async def _page(self, team_id: str | None, query: AuditQuery) -> Page[Entry]:
        query = checked(query)
        await self.flush()
        async with self._store.reading() as connection:
            found = await self._repository.page(connection, team_id, query)
        last = found[-1] if len(found) == query.limit else None
        return Page(tuple(found), None if last is None else encode_cursor(last.created_at.isoformat(), last.id))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self.flush(), name="write audit log")
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)

    async def _learn(self, connection: Any, deeds: Iterable[Deed]) -> None:
        """What the actors of these deeds are called now; of a key that a deed ended, what it was called last."""
        if len(self._actors) > REMEMBERED_ACTORS:
            self._actors.clear()
        users = {deed.user_id for deed in deeds if deed.user_id}
        keys = {deed.key_id for deed in deeds if deed.key_id}
        if users:
            self._actors.update(await self._repository.users(connection, users))
        if keys:
            self._actors.update(await self._repository.keys(connection, keys))

    def _entry(self, deed: Deed) -> Entry:
        made, reason = told(deed)
        return Entry(
            id=0,
            team_id=deed.team_id,
            actor=self._actor(deed),
            api=deed.api,
            action=text(deed.action) or "unknown",
            target_type=text(deed.target_type) or "unknown",
            target_id=text(deed.target_id) or text(made),
            status=deed.status,
            outcome=deed.outcome,
            reason=text(reason),
            address=text(deed.address),
            agent=text(deed.agent),
            request_id=text(deed.request_id),
            details={name: text(value) or "" for name, value in deed.details.items()},
            created_at=deed.at,
        )

    def _actor(self, deed: Deed) -> Actor:
        user = self._actors.get(deed.user_id or "")
        if deed.key_id is not None:
            kind = Actor(ActorKind.API_KEY, deed.user_id, deed.key_id)
            key = self._actors.get(deed.key_id, kind)
            return replace(key, email=user.email if user else "")
        if deed.user_id is not None:
            return user or Actor(ActorKind.USER, deed.user_id)
        return Actor(ActorKind.UNKNOWN)

    def _omission(self, count: int) -> Entry:
        deed = Deed("server", "omit", "audit_log", None, 200, self._clock.now(), details={"omitted": str(count)})
        return replace(self._entry(deed), actor=Actor(ActorKind.SYSTEM))


def checked(query: AuditQuery) -> AuditQuery:
    """With its cursor read and its moments in UTC; InvalidInput for what no database can look for."""
    if query.cursor is not None:
        before, before_id = decode_cursor(query.cursor, 2)
        query = replace(query, cursor=None, before=moment_of(before), before_id=id_of(before_id), offset=0)
    before = query.before and in_utc(query.before, "before")
    return replace(query, before=before, conditions=tuple(searchable(condition) for condition in query.conditions))


def moment_of(value: object) -> datetime:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput("Invalid cursor", field="cursor") from None


def id_of(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise InvalidInput("Invalid cursor", field="cursor")
    return value


def searchable(condition: Condition) -> Condition:
    values = [in_utc(value, condition.column) if isinstance(value, datetime) else value for value in condition.values]
    if any(isinstance(value, str) and not storable(value) for value in values):
        raise InvalidInput(f"{condition.column}: text that can be stored", field=condition.column)
    return replace(condition, values=tuple(values))


def text(value: object) -> str | None:
    """What a column can hold of what a client may have chosen."""
    if not isinstance(value, str) or not value:
        return None
    return value[:MAX_TEXT] if storable(value) else repr(value)[:MAX_TEXT]


def told(deed: Deed) -> tuple[str | None, str | None]:
    """The id of what was made, or why nothing was: from the answer, in whichever API's words."""
    try:
        answer = json.loads(deed.answer) if deed.answer else None
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(answer, dict):
        return None, None
    if deed.status >= 400:
        return None, reason_in(answer)
    inner = answer.get("data") if isinstance(answer.get("data"), dict) else answer
    assert isinstance(inner, dict)
    return next((inner[name] for name in IDS if isinstance(inner.get(name), str)), None), None


def reason_in(answer: dict[str, Any]) -> str | None:
    error, errors = answer.get("error"), answer.get("errors")
    for found in (answer.get("message"), error.get("message") if isinstance(error, dict) else error):
        if isinstance(found, str):
            return found
    return str(errors[0]) if isinstance(errors, list) and errors else None
