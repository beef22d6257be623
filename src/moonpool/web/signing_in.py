"""Signing in, up and out; where a provider's login ends."""

import secrets
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moonpool.access.people import ACTIVATION_LIFETIME
from moonpool.errors import MoonpoolError, ProviderNotFound, SignUpClosed
from moonpool.web.forms import form_of
from moonpool.web.pages import message, page
from moonpool.web.visits import changing, client_of, is_signed_in, lead_to, let_in, let_out, services_of

UNKNOWN_BYTES = 32  # of a password that nobody knows

# What Wrenn's contract has as the reasons of a login that ended without a session.
REASONS: Mapping[str, str] = {
    "access_denied": "You were not let in: there is no account for this login, or you said no.",
    "email_taken": "There is an account with this address already. Sign in to it, and connect this login there.",
    "invalid_state": "This login was begun elsewhere, or too long ago.",
    "missing_code": "The login provider sent no answer.",
    "exchange_failed": "The login provider did not confirm the login.",
}


def ways_in(request: Request) -> dict[str, Any]:
    community = services_of(request).community
    accounts = community.accounts
    return {
        "providers": community.logins.names,
        "may_sign_up": accounts.mails and accounts.rules.sign_up != "closed",
        "may_reset": accounts.mails,
    }


async def login_page(request: Request) -> Response:
    if await is_signed_in(request):
        return lead_to("/account")
    return page("login", email="", **ways_in(request))


async def login(request: Request) -> Response:
    """Whatever session the browser had is not taken up."""
    services = services_of(request)
    form = await form_of(request, services)
    email = form.get("email", "")
    try:
        signed = await services.community.accounts.login(email, form.get("password", ""), client_of(request))
    except MoonpoolError as error:
        return page("login", error=error, email=email, **ways_in(request))
    return let_in(request, signed)


async def logout(request: Request) -> Response:
    principal, _ = await changing(request)
    await services_of(request).community.sessions.end(principal)
    return let_out(request)


async def sign_up_page(request: Request) -> Response:
    if not ways_in(request)["may_sign_up"]:
        raise SignUpClosed
    return page("sign_up", email="", name="")


async def sign_up(request: Request) -> Response:
    """The password is chosen by who opens the mail, so that nobody makes one for somebody else's address."""
    services = services_of(request)
    form, unknown = await form_of(request, services), secrets.token_urlsafe(UNKNOWN_BYTES)
    email, name = form.get("email", ""), form.get("name", "")
    try:
        await services.community.accounts.sign_up(email, unknown, name, client_of(request))
    except MoonpoolError as error:
        return page("sign_up", error=error, email=email, name=name)
    minutes = int(ACTIVATION_LIFETIME.total_seconds()) // 60
    return message("Look at your mail", f"A mail is on its way to {email}. Open its link within {minutes} minutes.")


async def provider_end(request: Request) -> Response:
    """No look at the session: its cookie is strict, and does not come with a way that began at the provider."""
    if request.path_params["provider"] not in services_of(request).community.logins.names:
        raise ProviderNotFound
    reason = request.query_params.get("error")
    if reason is None:
        return message("You are signed in", "Go on to your account.", to="/account", link="Your account")
    text = REASONS.get(reason, REASONS["access_denied"])
    return message("You are not signed in", text, to="/login", link="Sign in", status=401)


ROUTES = (
    Route("/login", login_page),
    Route("/login", login, methods=["POST"]),
    Route("/logout", logout, methods=["POST"]),
    Route("/sign-up", sign_up_page),
    Route("/sign-up", sign_up, methods=["POST"]),
    Route("/auth/{provider}/callback", provider_end),
)
