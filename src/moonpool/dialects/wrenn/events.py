"""Lifecycle events as server-sent events, resumable with ``Last-Event-ID``."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from moonpool.access.model import Principal
from moonpool.access.model import Scope as KeyScope
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.mapping import STATUSES, capsule, capsule_id
from moonpool.dialects.wrenn.requests import Caller, Provided, cancel
from moonpool.dialects.wrenn.schemas import Event2 as Kind
from moonpool.dialects.wrenn.schemas import Outcome, Resource, SSEEvent
from moonpool.errors import InvalidInput, SandboxNotFound
from moonpool.events.model import Event, EventType
from moonpool.events.subscription import Subscription
from moonpool.sandboxes.model import SandboxState

KEEPALIVE_INTERVAL = 30.0  # seconds
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

S = SandboxState

# What a change of state ends, well or not; None stands for any state before.
ACTIONS: Mapping[tuple[SandboxState | None, SandboxState], tuple[Kind, Outcome]] = {
    (S.PAUSING, S.PAUSED): (Kind.capsule_pause, Outcome.success),
    (S.STOPPING, S.STOPPED): (Kind.capsule_pause, Outcome.success),
    (S.PAUSING, S.RUNNING): (Kind.capsule_pause, Outcome.error),
    (S.PAUSING, S.ERROR): (Kind.capsule_pause, Outcome.error),
    (S.RESUMING, S.RUNNING): (Kind.capsule_resume, Outcome.success),
    (S.RESUMING, S.PAUSED): (Kind.capsule_resume, Outcome.error),
    (S.RESUMING, S.ERROR): (Kind.capsule_resume, Outcome.error),
    (S.STARTING, S.ERROR): (Kind.capsule_create, Outcome.error),
    (S.DESTROYING, S.ERROR): (Kind.capsule_destroy, Outcome.error),
    (None, S.DESTROYED): (Kind.capsule_destroy, Outcome.success),
}

router = APIRouter()


@router.get("/v1/events/stream")
async def stream_events(request: Request, services: Provided, principal: Caller) -> Response:
    services.access.require(principal, KeyScope.SANDBOXES_READ)
    async with AsyncExitStack() as stack:
        since = last_event_id(request)
        subscription = await stack.enter_async_context(services.events.subscribe(principal.team_id, since=since))
        return EventStream(frames(services, principal, subscription), stack.pop_all())


class EventStream(StreamingResponse):
    """Ends its subscription when the client is gone."""

    def __init__(self, content: AsyncIterator[str], resources: AsyncExitStack) -> None:
        super().__init__(content, media_type="text/event-stream", headers=HEADERS)
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._resources:
            await super().__call__(scope, receive, send)


async def frames(services: Services, principal: Principal, subscription: Subscription) -> AsyncIterator[str]:
    yield frame(SSEEvent(event=Kind.connected, timestamp=services.clock.now()))
    coming: asyncio.Future[Event | None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(following(subscription))
            await asyncio.wait({coming}, timeout=KEEPALIVE_INTERVAL)
            if not coming.done():
                yield ": keepalive\n\n"
                continue
            event, coming = coming.result(), None
            if event is None:
                return
            for body in await bodies(services, principal, event):
                yield frame(body, event.id)
    finally:
        if coming is not None:
            await cancel(coming)


async def following(subscription: Subscription) -> Event | None:
    return await anext(subscription, None)


def frame(body: SSEEvent, event_id: int | None = None) -> str:
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"{head}event: {body.event}\ndata: {body.model_dump_json(exclude_none=True)}\n\n"


async def bodies(services: Services, principal: Principal, event: Event) -> list[SSEEvent]:
    """What one event of ours is to Wrenn: an action that ended, a change of state, both, or nothing."""
    try:
        sandbox = capsule(await services.sandboxes.get(principal, event.subject_id, include_destroyed=True))
    except SandboxNotFound:
        sandbox = None
    told = SSEEvent(
        resource=Resource(id=capsule_id(event.subject_id), type="capsule"), sandbox=sandbox, timestamp=event.created_at
    )
    return [told.model_copy(update=part) for part in parts(event)]


def parts(event: Event) -> Iterator[dict[str, object]]:
    if event.type is EventType.SANDBOX_CREATED:
        yield {"event": Kind.capsule_create, "outcome": Outcome.success}
    if event.type is not EventType.SANDBOX_STATE_UPDATED:
        return
    old, new = SandboxState(event.data["old_state"]), SandboxState(event.data["new_state"])
    if STATUSES[old] is not STATUSES[new]:
        change = {"from": str(STATUSES[old]), "to": str(STATUSES[new])}
        yield {"event": Kind.capsule_state_changed, "metadata": change}
    if action := ACTIONS.get((old, new)) or ACTIONS.get((None, new)):
        kind, outcome = action
        yield {"event": kind, "outcome": outcome, "error": failure(event) if outcome is Outcome.error else None}


def failure(event: Event) -> str:
    return str(event.data.get("reason") or "failed")


def last_event_id(request: Request) -> int | None:
    value = request.headers.get("last-event-id", "")
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise InvalidInput("Last-Event-ID is not one of ours")
    return int(value)
