"""The audit log of the organization, and what there can be in it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from math import ceil
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from pydantic import Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.audit.model import AuditQuery, Condition, Entry, Operator
from moonpool.dialects.common.deeds import CHANGING, act_of
from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.organizations import own_team
from moonpool.dialects.daytona.timestamps import as_utc, timestamp
from moonpool.dialects.daytona.wire import QueryModel
from moonpool.errors import InvalidInput

MAX_PAGE = 1_000_000
MAX_VALUES = 100
MAX_NUMBER = 2**31 - 1
WORDS: Mapping[str, Operator] = {
    "eq": Operator.IS,
    "in": Operator.IS,
    "not": Operator.IS_NOT,
    "notIn": Operator.IS_NOT,
    "gte": Operator.AT_LEAST,
    "lte": Operator.AT_MOST,
    "gt": Operator.MORE,
    "lt": Operator.LESS,
}
LISTS = frozenset({"in", "notIn"})
COMPARED = frozenset({"gte", "lte", "gt", "lt"})
MOMENT: TypeAdapter[datetime] = TypeAdapter(datetime)

router = APIRouter()


class PageQuery(QueryModel):
    page: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 1
    limit: Annotated[int, Field(ge=1, le=200)] = 100
    nextToken: Annotated[str, Field(max_length=4096)] | None = None


@router.get("/api/audit/scenarios")
async def get_audit_scenarios(request: Request, call: Authenticated) -> Response:
    actions: defaultdict[str, set[str]] = defaultdict(set)
    for route in request.app.state.offered:
        if isinstance(route, APIRoute):
            for method in CHANGING & (route.methods or set()):
                act = act_of(method, route.path, {name: f"{{{name}}}" for name in route.param_convertors})
                if not act.inside:
                    actions[act.target_type].add(act.action)
    targets = [{"targetType": target, "actions": sorted(found)} for target, found in sorted(actions.items())]
    return JSONResponse({"targets": targets})


@router.get("/api/audit/organizations/{organization_id}")
async def get_organization_audit_logs(
    request: Request, call: Authenticated, organization_id: str, query: Annotated[PageQuery, Query()]
) -> Response:
    """By page or, where a ``nextToken`` is given, from there on."""
    await own_team(call, organization_id)
    asked = AuditQuery(
        limit=query.limit,
        cursor=query.nextToken,
        offset=(query.page - 1) * query.limit,
        conditions=tuple(conditions(request)),
    )
    found = await call.services.audit.page(call.principal, asked)
    total = await call.services.audit.count(call.principal, asked)
    answer = {
        "items": [entry_json(entry) for entry in found.items],
        "total": total,
        "page": query.page,
        "totalPages": ceil(total / query.limit),
    }
    if found.next_cursor is not None:
        answer["nextToken"] = found.next_cursor
    return JSONResponse(answer)


def entry_json(entry: Entry) -> dict[str, Any]:
    actor = entry.actor
    known = {
        "id": str(entry.id),
        "actorId": actor.user_id or "",
        "actorEmail": actor.email,
        "actorApiKeyPrefix": actor.key_prefix,
        "actorApiKeySuffix": actor.key_suffix,
        "organizationId": entry.team_id,
        "action": entry.action,
        "targetType": entry.target_type,
        "targetId": entry.target_id,
        "statusCode": entry.status,
        "errorMessage": entry.reason,
        "ipAddress": entry.address,
        "userAgent": entry.agent,
        "source": entry.api,
        "metadata": dict(entry.details) or None,
        "createdAt": timestamp(entry.created_at),
    }
    return {name: value for name, value in known.items() if value is not None}


# -- filters: ``action=start``, ``action[in]=start,stop``, ``createdAt[gte]=...`` --------------------------------------


def text(value: str, _field: str) -> str:
    return value


def number(value: str, field: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value[:12]) <= MAX_NUMBER):
        raise InvalidInput(f"{field}: a whole number", field=field)
    return int(value)


def moment(value: str, field: str) -> datetime:
    try:
        found = as_utc(MOMENT.validate_strings(value.replace(" ", "+") if "T" in value else value))
    except ValidationError:
        found = None
    if found is None:
        raise InvalidInput(f"{field}: a date and time as 2026-01-31T12:00:00Z", field=field)
    return found


COLUMNS: Mapping[str, tuple[str, Callable[[str, str], str | int | datetime]]] = {
    "id": ("id", number),
    "actorId": ("user_id", text),
    "actorEmail": ("actor_email", text),
    "actorApiKeyPrefix": ("key_prefix", text),
    "actorApiKeySuffix": ("key_suffix", text),
    "action": ("action", text),
    "targetType": ("target_type", text),
    "targetId": ("target_id", text),
    "statusCode": ("status", number),
    "createdAt": ("created_at", moment),
    "from": ("created_at", moment),
    "to": ("created_at", moment),
}
PLAIN = {"from": "gte", "to": "lte"}


def parts(name: str) -> tuple[str, str]:
    """``action[in]`` is the filter ``action`` with the word ``in``."""
    field, _, word = name.partition("[")
    return field, word.removesuffix("]") or PLAIN.get(field, "eq")


def conditions(request: Request) -> Iterator[Condition]:
    for name in dict.fromkeys(request.query_params):
        field, word = parts(name)
        if field not in COLUMNS:
            continue
        column, read = COLUMNS[field]
        if word not in WORDS or (word in COMPARED and read is text) or (read is moment and word not in COMPARED):
            raise InvalidInput(f"{field}: no such filter: {word[:20]}", field=field)
        given = request.query_params.getlist(name)
        values = [part for one in given for part in one.split(",")] if word in LISTS else given[:1]
        if len(values) > MAX_VALUES:
            raise InvalidInput(f"{field}: at most {MAX_VALUES} values", field=field)
        yield Condition(column, WORDS[word], tuple(read(value, field) for value in values))
