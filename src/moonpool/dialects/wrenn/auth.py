"""Getting in and out: sign-up, activation, login, logout, and the team that a session sees."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from moonpool.dialects.common.origin import origin_of
from moonpool.dialects.wrenn.cookies import same_origin
from moonpool.dialects.wrenn.people import (
    TEAM_PREFIX,
    LoginRequest,
    SignupRequest,
    TeamChoice,
    TokenBody,
    bare,
    client_of,
    session_answer,
    signed_out,
)
from moonpool.dialects.wrenn.requests import Provided, SignedInCaller, answer, parse, parse_strangers
from moonpool.dialects.wrenn.schemas import SignupResponse
from moonpool.errors import CsrfRefused

router = APIRouter(prefix="/v1/auth")


async def own_page(request: Request, services: Provided) -> None:
    """CsrfRefused for a page of somebody else's, which could sign its visitor in as whom it likes: there is no session
    yet that a CSRF token could be of. Pages of the operator's own are no strangers."""
    known = services.community.accounts.rules.web
    if not (same_origin(request, services.server.public_url) or same_origin(request, origin_of(known))):
        raise CsrfRefused("This page may sign nobody in")


OwnPage = Annotated[None, Depends(own_page)]


@router.post("/signup")
async def sign_up(request: Request, services: Provided) -> Response:
    wanted = await parse_strangers(request, SignupRequest)
    await services.community.accounts.sign_up(wanted.email, wanted.password, wanted.name, client_of(request))
    return answer(SignupResponse(message="A mail was sent to this address: open its link within 30 minutes."), 201)


@router.post("/activate")
async def activate(request: Request, services: Provided, _: OwnPage) -> Response:
    wanted = await parse_strangers(request, TokenBody)
    signed = await services.community.accounts.activate(wanted.token, client_of(request))
    return session_answer(request, services, signed)


@router.post("/login")
async def login(request: Request, services: Provided, _: OwnPage) -> Response:
    """Never takes up a session that the browser says it has: what was planted there is replaced."""
    wanted = await parse_strangers(request, LoginRequest)
    signed = await services.community.accounts.login(wanted.email, wanted.password, client_of(request))
    return session_answer(request, services, signed)


@router.post("/logout")
async def logout(request: Request, services: Provided, principal: SignedInCaller) -> Response:
    await services.community.sessions.end(principal)
    return signed_out(request, services)


@router.post("/logout-all")
async def logout_all(request: Request, services: Provided, principal: SignedInCaller) -> Response:
    await services.community.sessions.end_all(principal)
    return signed_out(request, services)


@router.post("/switch-team")
async def switch_team(request: Request, services: Provided, principal: SignedInCaller) -> Response:
    """404 for a team of others too: to whoever is no member it does not exist."""
    wanted = await parse(request, TeamChoice)
    signed = await services.community.sessions.switch(principal, bare(wanted.team_id, TEAM_PREFIX))
    return session_answer(request, services, signed)
