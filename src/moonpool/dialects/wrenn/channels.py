"""Notification channels: where the team is told of its events."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from moonpool.deliveries.model import Message, Provider, Receiver
from moonpool.dialects.wrenn import schemas
from moonpool.dialects.wrenn.happenings import happenings
from moonpool.dialects.wrenn.requests import Caller, Provided, answer, answer_list, parse
from moonpool.dialects.wrenn.schemas import (
    ChannelResponse,
    CreateChannelRequest,
    RotateConfigRequest,
    TestChannelRequest,
    UpdateChannelRequest,
)
from moonpool.events.model import Event

KINDS = tuple(kind.value for kind in schemas.Event)

router = APIRouter()


def render(event: Event) -> list[Message]:
    """What channels can be told of an event; changes of state alone are not among it."""
    return [
        Message(str(told.event), told.model_dump(mode="json", exclude_none=True))
        for told in happenings(event)
        if told.event in KINDS
    ]


@router.get("/v1/channels")
async def list_channels(services: Provided, principal: Caller) -> Response:
    return answer_list([channel(one) for one in services.channels.list(principal)])


@router.post("/v1/channels")
async def create_channel(request: Request, services: Provided, principal: Caller) -> Response:
    wanted = await parse(request, CreateChannelRequest)
    made, secret = await services.channels.create(
        principal, wanted.name, Provider(wanted.provider), wanted.config, [str(event) for event in wanted.events]
    )
    return answer(channel(made, secret), 201)


@router.post("/v1/channels/test")
async def test_channel(request: Request, services: Provided, principal: Caller) -> Response:
    wanted = await parse(request, TestChannelRequest)
    await services.channels.test(principal, Provider(wanted.provider), wanted.config)
    return JSONResponse({"status": "ok"})


@router.get("/v1/channels/{id}")
async def get_channel(id: str, services: Provided, principal: Caller) -> Response:
    return answer(channel(services.channels.get(principal, id)))


@router.patch("/v1/channels/{id}")
async def update_channel(id: str, request: Request, services: Provided, principal: Caller) -> Response:
    wanted = await parse(request, UpdateChannelRequest)
    events = [str(event) for event in wanted.events]
    return answer(channel(await services.channels.update(principal, id, wanted.name, events)))


@router.delete("/v1/channels/{id}")
async def delete_channel(id: str, services: Provided, principal: Caller) -> Response:
    await services.channels.delete(principal, id)
    return Response(status_code=204)


@router.put("/v1/channels/{id}/config")
async def rotate_channel_config(id: str, request: Request, services: Provided, principal: Caller) -> Response:
    wanted = await parse(request, RotateConfigRequest)
    changed, secret = await services.channels.rotate(principal, id, wanted.config)
    return answer(channel(changed, secret))


def channel(receiver: Receiver, secret: str | None = None) -> ChannelResponse:
    return ChannelResponse(
        id=receiver.id,
        team_id=receiver.team_id,
        name=receiver.name,
        provider=schemas.Provider(receiver.provider.value),
        events=list(receiver.events),
        created_at=receiver.created_at,
        updated_at=receiver.updated_at,
        secret=secret,
    )
