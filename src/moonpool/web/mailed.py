"""What mailed links lead to. Looking at a page uses up no link: programs that read mail do that, too."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moonpool.access.passwords import MIN_LENGTH
from moonpool.errors import InvalidInput, MoonpoolError, TokenInvalid
from moonpool.web.forms import form_of
from moonpool.web.pages import message, page
from moonpool.web.visits import client_of, let_in, services_of


async def activation_page(request: Request) -> Response:
    return page("activate", token=token_of(request), least=MIN_LENGTH)


async def activate(request: Request) -> Response:
    services = services_of(request)
    form = await form_of(request, services)
    token, password = form.get("token", ""), form.get("password", "")
    try:
        signed = await services.community.accounts.activate(token, client_of(request), password)
    except MoonpoolError as error:
        return page("activate", error=error, token=token, least=MIN_LENGTH)
    return let_in(request, signed)


async def forgotten_page(request: Request) -> Response:
    return page("forgot_password", email="")


async def forgotten(request: Request) -> Response:
    """The same answer whether there is such an account or not."""
    services = services_of(request)
    email = (await form_of(request, services)).get("email", "")
    try:
        await services.community.accounts.request_reset(email, client_of(request))
    except MoonpoolError as error:
        return page("forgot_password", error=error, email=email)
    return message("Look at your mail", f"If {email} has an account here, a mail with a link is on its way there.")


async def reset_page(request: Request) -> Response:
    return page("reset_password", token=token_of(request), least=MIN_LENGTH)


async def reset(request: Request) -> Response:
    services = services_of(request)
    form = await form_of(request, services)
    token, password = form.get("token", ""), form.get("password", "")
    try:
        if password != form.get("again", ""):
            raise InvalidInput("The two passwords are not the same", field="again")
        await services.community.accounts.confirm_reset(token, password)
    except MoonpoolError as error:
        return page("reset_password", error=error, token=token, least=MIN_LENGTH)
    return message("Your password is set", "Every session has ended.", to="/login", link="Sign in")


def token_of(request: Request) -> str:
    """TokenInvalid for an address without one."""
    token = request.query_params.get("token", "")
    if not token:
        raise TokenInvalid
    return token


ROUTES = (
    Route("/activate", activation_page),
    Route("/activate", activate, methods=["POST"]),
    Route("/forgot-password", forgotten_page),
    Route("/forgot-password", forgotten, methods=["POST"]),
    Route("/reset-password", reset_page),
    Route("/reset-password", reset, methods=["POST"]),
)
