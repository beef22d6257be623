"""Providers by which somebody signs in to the account that they have."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moonpool.dialects.wrenn.oauth import callback_of, keep
from moonpool.errors import MoonpoolError
from moonpool.web.account import account
from moonpool.web.pages import PROVIDERS, message
from moonpool.web.visits import changing, lead_to, services_of


async def connect(request: Request) -> Response:
    """A page with a link, and no redirect: a form of ours leads to our own pages alone (``form-action``)."""
    services, provider = services_of(request), request.path_params["provider"]
    principal, _ = await changing(request)
    try:
        url, sealed = await services.community.logins.begin(provider, callback_of(services, provider), principal)
    except MoonpoolError as error:
        return await account(request, error)
    name = PROVIDERS.get(provider, provider)
    text = f"Sign in with {name} now, and you can sign in to this account that way from then on."
    response = message("Connect a login", text, to=url, link=f"Go on to {name}")
    keep(request, services, response, sealed)
    return response


async def disconnect(request: Request) -> Response:
    principal, _ = await changing(request)
    try:
        await services_of(request).community.logins.disconnect(principal, request.path_params["provider"])
    except MoonpoolError as error:
        return await account(request, error)
    return lead_to("/account")


ROUTES = (
    Route("/account/logins/{provider}/connect", connect, methods=["POST"]),
    Route("/account/logins/{provider}/disconnect", disconnect, methods=["POST"]),
)
