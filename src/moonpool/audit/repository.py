"""All SQL of the audit log."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.audit.model import Actor, ActorKind, AuditQuery, Condition, Entry, Operator, Outcome
from moonpool.store.database import Transaction
from moonpool.store.tables import api_keys, audit_entries, users

ACTOR = ("user_id", "key_id", "key_prefix", "key_suffix")


class AuditRepository:
    async def insert(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """Their ids are given here."""
        await transaction.connection.execute(insert(audit_entries), [values_of(entry) for entry in entries])

    async def page(self, connection: AsyncConnection, team_id: str | None, query: AuditQuery) -> list[Entry]:
        """``team_id`` None: of all teams, for the platform's admins."""
        table = audit_entries.c
        wanted = select(audit_entries).where(*conditions(team_id, query))
        if query.before is not None:
            older = table.created_at < query.before
            if query.before_id is not None:
                older = or_(older, and_(table.created_at == query.before, table.id < query.before_id))
            wanted = wanted.where(older)
        elif query.before_id is not None:
            wanted = wanted.where(table.id < query.before_id)
        ordered = wanted.order_by(table.created_at.desc(), table.id.desc()).limit(query.limit).offset(query.offset)
        return [entry_of(row) for row in await connection.execute(ordered)]

    async def count(self, connection: AsyncConnection, team_id: str | None, query: AuditQuery) -> int:
        wanted = select(func.count()).select_from(audit_entries).where(*conditions(team_id, query))
        return int((await connection.execute(wanted)).scalar_one())

    async def prune(self, transaction: Transaction, before: datetime) -> None:
        await transaction.connection.execute(delete(audit_entries).where(audit_entries.c.created_at < before))

    async def users(self, connection: AsyncConnection, ids: Collection[str]) -> dict[str, Actor]:
        rows = await connection.execute(select(users.c.id, users.c.name, users.c.email).where(users.c.id.in_(ids)))
        return {row.id: Actor(ActorKind.USER, user_id=row.id, name=row.name, email=row.email) for row in rows}

    async def keys(self, connection: AsyncConnection, ids: Collection[str]) -> dict[str, Actor]:
        """Without what their user is called."""
        table = api_keys.c
        wanted = select(table.id, table.user_id, table.name, table.prefix, table.suffix).where(table.id.in_(ids))
        return {
            row.id: Actor(ActorKind.API_KEY, row.user_id, row.id, row.name, "", row.prefix, row.suffix)
            for row in await connection.execute(wanted)
        }


def conditions(team_id: str | None, query: AuditQuery) -> list[ColumnElement[bool]]:
    found = [clause(condition) for condition in query.conditions]
    return found if team_id is None else [audit_entries.c.team_id == team_id, *found]


def clause(condition: Condition) -> ColumnElement[bool]:
    column = audit_entries.c[condition.column]
    match condition.operator:
        case Operator.IS:
            return column.in_(condition.values)
        case Operator.IS_NOT:
            return or_(column.is_(None), column.not_in(condition.values))
        case Operator.AT_LEAST:
            return column >= condition.values[0]
        case Operator.AT_MOST:
            return column <= condition.values[0]
        case Operator.MORE:
            return column > condition.values[0]
        case Operator.LESS:
            return column < condition.values[0]


def values_of(entry: Entry) -> dict[str, Any]:
    values = {name: value for name, value in vars(entry).items() if name not in ("id", "actor")}
    actor = entry.actor
    named = {name: getattr(actor, name) for name in ACTOR}
    return {
        **values,
        **named,
        "details": dict(entry.details),
        "actor_kind": actor.kind,
        "actor_name": actor.name,
        "actor_email": actor.email,
    }


def entry_of(row: Row[Any]) -> Entry:
    columns = dict(row._mapping)
    actor = Actor(
        ActorKind(row.actor_kind), name=row.actor_name, email=row.actor_email, **{name: columns[name] for name in ACTOR}
    )
    rest = {name: value for name, value in columns.items() if name not in ACTOR and not name.startswith("actor_")}
    entry = Entry(actor=actor, **rest)
    return replace(entry, outcome=Outcome(entry.outcome))
