"""The page of somebody who is signed in: who they are, invitations, a key for programs."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moonpool.access.model import Principal, Scope
from moonpool.errors import MoonpoolError
from moonpool.web.pages import page
from moonpool.web.visits import changing, csrf_of, lead_to, let_in, services_of, visitor

KEY_NAME = "Made in a browser"


async def account_page(request: Request) -> Response:
    return await account(request)


async def account(request: Request, error: MoonpoolError | None = None) -> Response:
    services, principal = services_of(request), await visitor(request)
    community = services.community
    connected = await community.accounts.providers(principal)
    return page(
        "account",
        error=error,
        user=await community.accounts.user(principal),
        teams=await community.teams.of_user(principal),
        current=principal.team_id,
        logins={name: name in connected for name in dict.fromkeys((*community.logins.names, *connected))},
        manages=principal.allows(Scope.ADMIN),
        invitations=await community.invitations.mine(principal),
        csrf=csrf_of(request),
    )


async def accept(request: Request) -> Response:
    return await answer_invitation(request, services_of(request).community.invitations.accept)


async def decline(request: Request) -> Response:
    return await answer_invitation(request, services_of(request).community.invitations.decline)


async def answer_invitation(request: Request, answer: Callable[[Principal, str], Awaitable[object]]) -> Response:
    principal, _ = await changing(request)
    try:
        await answer(principal, request.path_params["id"])
    except MoonpoolError as error:
        return await account(request, error)
    return lead_to("/account")


async def enter_team(request: Request) -> Response:
    """The session sees another of the user's teams from now on, with a new token."""
    principal, form = await changing(request)
    try:
        signed = await services_of(request).community.sessions.switch(principal, form.get("team", ""))
    except MoonpoolError as error:
        return await account(request, error)
    return let_in(request, signed)


async def create_key(request: Request) -> Response:
    """It may do what whoever makes it may, in the team that the session sees. Shown this once."""
    services = services_of(request)
    principal, form = await changing(request)
    name = form.get("name", "").strip() or KEY_NAME
    try:
        made = await services.access.create_key(principal, name, principal.scopes, numbered=True)
    except MoonpoolError as error:
        return await account(request, error)
    return page("key", secret=made.secret, name=made.key.name, url=services.server.public_url)


ROUTES = (
    Route("/account", account_page),
    Route("/account/team", enter_team, methods=["POST"]),
    Route("/invitations/{id}/accept", accept, methods=["POST"]),
    Route("/invitations/{id}/decline", decline, methods=["POST"]),
    Route("/api-keys", create_key, methods=["POST"]),
)
