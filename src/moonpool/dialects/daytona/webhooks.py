"""Webhooks. Endpoints are managed in a portal, as the vendor's are, and by operations of their own."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.deliveries.model import Delivery, DeliveryState, EndpointChange, NewEndpoint, Opened
from moonpool.dialects.daytona.call import Authenticated, Call
from moonpool.dialects.daytona.extensions import RequestModel
from moonpool.dialects.daytona.organizations import own_team
from moonpool.dialects.daytona.requests import parse
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.dialects.daytona.webhook_events import KINDS
from moonpool.dialects.daytona.wire import QueryModel
from moonpool.errors import DeliveryNotFound

HERE = "/api/webhooks/organizations/{organization_id}"
ENDPOINT = HERE + "/endpoints/{endpoint}"
DELIVERY = ENDPOINT + "/deliveries/{delivery}"
MAX_DIGITS = 18
PORTAL = "/webhook-portal"  # of the pages

Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Events = Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=len(KINDS))]
Secret = Annotated[str, StringConstraints(max_length=400)]
Description = Annotated[str, StringConstraints(max_length=500)]

router = APIRouter()


class CreateEndpoint(RequestModel):
    url: Url
    description: Description = ""
    events: Events = Field(default_factory=list)
    secret: Secret | None = None


class UpdateEndpoint(RequestModel):
    url: Url | None = None
    description: Description | None = None
    events: Events | None = None
    enabled: bool | None = None


class RotateSecret(RequestModel):
    secret: Secret | None = None


class Recover(RequestModel):
    since: Annotated[AwareDatetime, Field(strict=False)]


class DeliveriesQuery(QueryModel):
    state: DeliveryState | None = None
    cursor: Annotated[str, Field(max_length=4096)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


# -- what the document has ---------------------------------------------------------------------------------------------


@router.get(HERE + "/initialization-status")
async def get_initialization_status(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    return JSONResponse(status_json(call, *await call.services.webhooks.initialised(call.principal)))


@router.post(HERE + "/initialize", status_code=201)
async def initialize_webhooks(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    return JSONResponse(status_json(call, *await call.services.webhooks.initialise(call.principal)), 201)


@router.post(HERE + "/refresh-endpoints", status_code=204)
async def refresh_endpoints(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    await call.services.webhooks.refresh(call.principal)
    return Response(status_code=204)


@router.post(HERE + "/app-portal-access")
async def get_app_portal_access(call: Authenticated, organization_id: str) -> Response:
    """The token is a part of the address, and opens no API."""
    await own_team(call, organization_id)
    token = await call.services.portal.link(call.principal)
    answer = {"token": token, "url": f"{call.origin}{PORTAL}?token={token}"}
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


def status_json(call: Call, since: datetime, updated: datetime) -> Mapping[str, Any]:
    """There is no application at Svix: this server sends by itself."""
    return {
        "organizationId": call.principal.team_id,
        "svixApplicationId": None,
        "lastError": None,
        "retryCount": 0,
        "createdAt": timestamp(since),
        "updatedAt": timestamp(updated),
    }


# -- endpoints ---------------------------------------------------------------------------------------------------------


@router.get(HERE + "/endpoints")
async def list_endpoints(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    return JSONResponse([endpoint_json(one) for one in call.services.webhooks.list(call.principal)])


@router.post(HERE + "/endpoints", status_code=201)
async def create_endpoint(request: Request, call: Authenticated, organization_id: str) -> Response:
    """The answer alone has the secret."""
    await own_team(call, organization_id)
    body = await parse(request, CreateEndpoint)
    new = NewEndpoint(body.url, body.description, tuple(body.events), body.secret)
    return JSONResponse(endpoint_json(await call.services.webhooks.create(call.principal, new)), 201)


@router.get(ENDPOINT)
async def get_endpoint(call: Authenticated, organization_id: str, endpoint: str) -> Response:
    await own_team(call, organization_id)
    return JSONResponse(endpoint_json(call.services.webhooks.get(call.principal, endpoint)))


@router.patch(ENDPOINT)
async def update_endpoint(request: Request, call: Authenticated, organization_id: str, endpoint: str) -> Response:
    await own_team(call, organization_id)
    body = await parse(request, UpdateEndpoint)
    events = None if body.events is None else tuple(body.events)
    change = EndpointChange(body.url, body.description, events, body.enabled)
    return JSONResponse(endpoint_json(await call.services.webhooks.update(call.principal, endpoint, change)))


@router.delete(ENDPOINT, status_code=204)
async def delete_endpoint(call: Authenticated, organization_id: str, endpoint: str) -> Response:
    await own_team(call, organization_id)
    await call.services.webhooks.delete(call.principal, endpoint)
    return Response(status_code=204)


@router.post(ENDPOINT + "/rotate-secret")
async def rotate_secret(request: Request, call: Authenticated, organization_id: str, endpoint: str) -> Response:
    """The answer alone has the new secret."""
    await own_team(call, organization_id)
    body = await parse(request, RotateSecret)
    return JSONResponse(endpoint_json(await call.services.webhooks.rotate(call.principal, endpoint, body.secret)))


@router.post(ENDPOINT + "/test")
async def test_endpoint(call: Authenticated, organization_id: str, endpoint: str) -> Response:
    await own_team(call, organization_id)
    attempt = await call.services.webhooks.test(call.principal, endpoint)
    return JSONResponse({"status": attempt.status, "error": attempt.error, "milliseconds": attempt.milliseconds})


@router.post(ENDPOINT + "/recover")
async def recover_endpoint(request: Request, call: Authenticated, organization_id: str, endpoint: str) -> Response:
    await own_team(call, organization_id)
    body = await parse(request, Recover)
    return JSONResponse({"messages": await call.services.webhooks.recover(call.principal, endpoint, body.since)})


# -- deliveries --------------------------------------------------------------------------------------------------------


@router.get(ENDPOINT + "/deliveries")
async def list_deliveries(
    call: Authenticated, organization_id: str, endpoint: str, query: Annotated[DeliveriesQuery, Query()]
) -> Response:
    await own_team(call, organization_id)
    page = await call.services.webhooks.deliveries(call.principal, endpoint, **query.model_dump())
    items = [delivery_json(delivery) for delivery in page.items]
    return JSONResponse({"items": items, "nextCursor": page.next_cursor})


@router.get(DELIVERY)
async def get_delivery(call: Authenticated, organization_id: str, endpoint: str, delivery: str) -> Response:
    await own_team(call, organization_id)
    found = await call.services.webhooks.delivery(call.principal, endpoint, delivery_id(delivery))
    return JSONResponse({**delivery_json(found), "payload": found.body})


@router.post(DELIVERY + "/replay", status_code=201)
async def replay_delivery(call: Authenticated, organization_id: str, endpoint: str, delivery: str) -> Response:
    await own_team(call, organization_id)
    again = await call.services.webhooks.replay(call.principal, endpoint, delivery_id(delivery))
    return JSONResponse(delivery_json(again), 201)


def delivery_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise DeliveryNotFound
    return int(text)


def endpoint_json(opened: Opened) -> dict[str, Any]:
    receiver = opened.receiver
    shown = {
        "id": receiver.id,
        "url": opened.url,
        "description": receiver.description,
        "events": list(receiver.events or KINDS),
        "enabled": receiver.enabled,
        "disabledReason": receiver.disabled_reason,
        "failingSince": timestamp(receiver.failing_since),
        "createdAt": timestamp(receiver.created_at),
        "updatedAt": timestamp(receiver.updated_at),
    }
    return shown if opened.secret is None else {**shown, "secret": opened.secret}


def delivery_json(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": str(delivery.id),
        "messageId": delivery.message_id,
        "event": delivery.type,
        "subjectId": delivery.subject_id,
        "state": delivery.state.value,
        "attempts": [
            {
                "at": timestamp(attempt.at),
                "status": attempt.status,
                "error": attempt.error,
                "milliseconds": attempt.milliseconds,
            }
            for attempt in delivery.attempts
        ],
        "nextAttemptAt": timestamp(delivery.next_attempt_at) if delivery.state is DeliveryState.PENDING else None,
        "createdAt": timestamp(delivery.created_at),
        "finishedAt": timestamp(delivery.finished_at),
    }
