"""Lifecycle events as server-sent events, resumable with ``Last-Event-ID``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from moonpool.access.model import Principal
from moonpool.access.model import Scope as KeyScope
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.cookies import SESSION_COOKIE
from moonpool.dialects.wrenn.happenings import happenings
from moonpool.dialects.wrenn.mapping import capsule
from moonpool.dialects.wrenn.requests import Caller, Provided, cancel
from moonpool.dialects.wrenn.schemas import Capsule, SSEEvent
from moonpool.dialects.wrenn.schemas import Event2 as Kind
from moonpool.errors import InvalidInput, SandboxNotFound, Unauthorized
from moonpool.events.model import Event
from moonpool.events.subscription import Subscription

KEEPALIVE_INTERVAL = 30.0  # seconds
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

router = APIRouter()


@router.get("/v1/events/stream")
async def stream_events(request: Request, services: Provided, principal: Caller) -> Response:
    services.access.require(principal, KeyScope.SANDBOXES_READ)
    return await opened(request, services, principal, principal.team_id)


@router.get("/v1/admin/events/stream")
async def stream_all_events(request: Request, services: Provided, principal: Caller) -> Response:
    services.access.require_platform_admin(principal)
    return await opened(request, services, principal, None)


async def opened(request: Request, services: Services, principal: Principal, team_id: str | None) -> Response:
    """``team_id`` None: of all teams. RateLimited where the asker's team has too many open."""
    since = last_event_id(request)
    async with AsyncExitStack() as stack:
        stack.enter_context(services.events.listening(principal.team_id))
        subscription = await stack.enter_async_context(services.events.subscribe(team_id, since=since))
        token = request.cookies.get(SESSION_COOKIE, "")
        return EventStream(frames(services, principal, token, subscription), stack.pop_all())


class EventStream(StreamingResponse):
    """Ends its subscription when the client is gone."""

    def __init__(self, content: AsyncIterator[str], resources: AsyncExitStack) -> None:
        super().__init__(content, media_type="text/event-stream", headers=HEADERS)
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._resources:
            await super().__call__(scope, receive, send)


async def frames(
    services: Services, principal: Principal, token: str, subscription: Subscription
) -> AsyncIterator[str]:
    """Until the client is too slow, or its key or session (``token``) has ended: that is looked at with each sign of
    life."""
    yield frame(SSEEvent(event=Kind.connected, timestamp=services.clock.now()))
    coming: asyncio.Future[Event | None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(following(subscription))
            await asyncio.wait({coming}, timeout=KEEPALIVE_INTERVAL)
            if not await welcome(services, principal, token):
                return
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


async def welcome(services: Services, principal: Principal, token: str) -> bool:
    """Whether the key, or the session, still lets its owner in."""
    try:
        if principal.session_id is not None:
            await services.community.sessions.authenticate(token)
        elif principal.key_id is not None:
            await services.access.still(principal.team_id, principal.key_id)
    except Unauthorized:
        return False
    return True


async def following(subscription: Subscription) -> Event | None:
    return await anext(subscription, None)


def frame(body: SSEEvent, event_id: int | None = None) -> str:
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"{head}event: {body.event}\ndata: {body.model_dump_json(exclude_none=True)}\n\n"


async def bodies(services: Services, principal: Principal, event: Event) -> list[SSEEvent]:
    """Each with the capsule as it is by now; the principal may hear of the event's team."""
    told = happenings(event)
    of_sandbox = told and event.type.startswith("sandbox.")
    sandbox = await capsule_of(services, replace(principal, team_id=event.team_id), event) if of_sandbox else None
    return [body.model_copy(update={"sandbox": sandbox}) for body in told]


async def capsule_of(services: Services, principal: Principal, event: Event) -> Capsule | None:
    try:
        return capsule(await services.sandboxes.get(principal, event.subject_id, include_destroyed=True))
    except SandboxNotFound:
        return None


def last_event_id(request: Request) -> int | None:
    value = request.headers.get("last-event-id", "")
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise InvalidInput("Last-Event-ID is not one of ours")
    return int(value)
