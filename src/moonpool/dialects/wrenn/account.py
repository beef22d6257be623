"""The user's own account: profile, sessions, password, and its end."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from moonpool.dialects.wrenn.people import (
    SESSION_PREFIX,
    Address,
    Confirmation,
    MeResponse,
    NewPassword,
    OwnSessions,
    PersonName,
    bare,
    client_of,
    own_session,
    signed_out,
)
from moonpool.dialects.wrenn.requests import Provided, SignedInCaller, answer, parse, parse_strangers
from moonpool.dialects.wrenn.schemas import ChangePasswordRequest
from moonpool.errors import InvalidInput

router = APIRouter(prefix="/v1/me")


@router.get("")
async def get_me(services: Provided, principal: SignedInCaller) -> Response:
    user = await services.community.accounts.user(principal)
    providers = await services.community.accounts.providers(principal)
    told = MeResponse(name=user.name, email=user.email, has_password=user.has_password, providers=providers)
    return answer(told)


@router.patch("")
async def update_name(request: Request, services: Provided, principal: SignedInCaller) -> Response:
    await services.community.accounts.rename(principal, (await parse(request, PersonName)).name)
    return Response(status_code=204)


@router.delete("")
async def delete_account(request: Request, services: Provided, principal: SignedInCaller) -> Response:
    wanted = await parse(request, Confirmation)
    await services.community.administration.delete_account(principal, wanted.confirmation)
    return signed_out(request, services)


@router.get("/sessions")
async def list_sessions(services: Provided, principal: SignedInCaller) -> Response:
    sessions = await services.community.sessions.list(principal)
    return answer(OwnSessions(sessions=[own_session(one, principal.session_id) for one in sessions]))


@router.delete("/sessions/{id}")
async def revoke_session(id: str, services: Provided, principal: SignedInCaller) -> Response:
    await services.community.sessions.revoke(principal, bare(id, SESSION_PREFIX))
    return Response(status_code=204)


@router.post("/password")
async def change_password(request: Request, services: Provided, principal: SignedInCaller) -> Response:
    """Every other session ends. The first password of somebody who signs in with a provider is typed twice, and any
    that is, is so without a slip."""
    wanted = await parse(request, ChangePasswordRequest)
    user = await services.community.accounts.user(principal)
    typed_twice = wanted.confirm_password is not None or not user.has_password
    if typed_twice and wanted.confirm_password != wanted.new_password:
        raise InvalidInput("confirm_password: is not the new password", field="confirm_password")
    await services.community.accounts.change_password(principal, wanted.current_password, wanted.new_password)
    return Response(status_code=204)


@router.post("/password/reset")
async def request_password_reset(request: Request, services: Provided) -> Response:
    wanted = await parse_strangers(request, Address)
    await services.community.accounts.request_reset(wanted.email, client_of(request))
    return Response(status_code=204)


@router.post("/password/reset/confirm")
async def confirm_password_reset(request: Request, services: Provided) -> Response:
    wanted = await parse_strangers(request, NewPassword)
    await services.community.accounts.confirm_reset(wanted.token, wanted.new_password)
    return Response(status_code=204)
