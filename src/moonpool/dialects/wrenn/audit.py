"""The audit log: of the caller's team, and of all teams for the platform's admins."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import JSONResponse, Response

from moonpool.audit.model import ActorKind, AuditQuery, Entry, Outcome
from moonpool.dialects.wrenn.mapping import capsule_id
from moonpool.dialects.wrenn.requests import Caller, Provided
from moonpool.dialects.wrenn.schemas import ActorType, AuditLogEntry, Status2
from moonpool.errors import InvalidInput

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
MAX_DIGITS = 18
# Of ours: whoever was not let in has no type of Wrenn's.
ACTORS = {
    ActorKind.USER: ActorType.user,
    ActorKind.API_KEY: ActorType.api_key,
    ActorKind.SYSTEM: ActorType.system,
}
KINDS = {"sandbox": "capsule", "snapshot": "template"}
MOMENT: TypeAdapter[datetime] = TypeAdapter(datetime)

router = APIRouter()


@router.get("/v1/audit-logs")
async def list_audit_logs(request: Request, services: Provided, principal: Caller) -> Response:
    page = await services.audit.page(principal, query_of(request))
    return answer_page(page.items, more=page.next_cursor is not None)


@router.get("/v1/admin/audit-logs")
async def list_all_audit_logs(request: Request, services: Provided, principal: Caller) -> Response:
    services.access.require_platform_admin(principal)
    page = await services.audit.page_of_all(query_of(request))
    return answer_page(page.items, more=page.next_cursor is not None)


def answer_page(entries: Sequence[Entry], *, more: bool) -> Response:
    last = entries[-1] if more else None
    cursor = None if last is None else {"before": last.created_at.isoformat(), "before_id": str(last.id)}
    shown = [entry_of(entry).model_dump(mode="json", exclude_none=True) for entry in entries]
    return JSONResponse({"entries": shown, "next_cursor": cursor})


def entry_of(entry: Entry) -> AuditLogEntry:
    actor, target = entry.actor, entry.target_id
    if entry.target_type == "sandbox" and target is not None:
        target = capsule_id(target.removeprefix("cl-"))
    return AuditLogEntry(
        id=str(entry.id),
        actor_type=ACTORS.get(actor.kind),
        actor_id=actor.key_id or actor.user_id,
        actor_name=actor.name or None,
        resource_type=KINDS.get(entry.target_type, entry.target_type),
        resource_id=target,
        action=entry.action,
        scope="team" if entry.team_id else "platform",
        status=Status2.success if entry.outcome is Outcome.SUCCESS else Status2.failure,
        metadata=metadata(entry),
        created_at=entry.created_at,
    )


def metadata(entry: Entry) -> dict[str, Any]:
    """What Wrenn's entry has no field for."""
    known = {
        "api": entry.api,
        "outcome": entry.outcome.value,
        "status_code": entry.status,
        "error": entry.reason,
        "ip_address": entry.address,
        "user_agent": entry.agent,
        "request_id": entry.request_id,
        "actor_email": entry.actor.email or None,
        "team_id": entry.team_id,
    }
    return {**entry.details, **{name: value for name, value in known.items() if value is not None}}


def query_of(request: Request) -> AuditQuery:
    given = request.query_params
    return AuditQuery(
        limit=number("limit", given.get("limit", str(DEFAULT_LIMIT)), lambda value: 1 <= value <= MAX_LIMIT),
        before=moment("before", given["before"]) if "before" in given else None,
        before_id=number("before_id", given["before_id"], lambda value: value >= 0) if "before_id" in given else None,
    )


def number(field: str, text: str, fits: Callable[[int], bool]) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and fits(int(text))):
        most = f" up to {MAX_LIMIT}" if field == "limit" else ""
        raise InvalidInput(f"{field}: a whole number{most}", field=field)
    return int(text)


def moment(field: str, text: str) -> datetime:
    """A space where a plus was: clients forget to encode it."""
    try:
        found = MOMENT.validate_strings(text.replace(" ", "+") if "T" in text else text)
    except ValidationError:
        raise InvalidInput(f"{field}: a date and time as 2026-01-31T12:00:00Z", field=field) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
