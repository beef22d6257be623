"""A team's webhooks: where they go, what was sent and whether it arrived. Opened by a link, or an admin's account."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moonpool.access.model import Principal
from moonpool.deliveries.model import DeliveryState, EndpointChange, NewEndpoint
from moonpool.dialects.daytona.webhook_events import KINDS
from moonpool.dialects.daytona.webhooks import PORTAL, delivery_id
from moonpool.errors import InvalidInput, MoonpoolError, PortalClosed
from moonpool.web.forms import form_of
from moonpool.web.pages import message, page
from moonpool.web.portal_visits import changing, csrf_of, let_in, let_out, visitor
from moonpool.web.visits import changing as signed_in
from moonpool.web.visits import lead_to, services_of

PER_PAGE = 25  # deliveries
ENDPOINT = PORTAL + "/endpoints/{endpoint}"
DELIVERY = ENDPOINT + "/deliveries/{delivery}"
EVENT = "event:"  # how the names of an event's field begin

# -- coming and going --------------------------------------------------------------------------------------------------


async def portal(request: Request) -> Response:
    """With a link's token: whose it is, and a button; looking uses up no link. Else the list, for whoever is in."""
    token = request.query_params.get("token")
    if token is None:
        return await endpoints(request)
    team = await services_of(request).portal.leads_to(token)
    return page("webhook_link", team=team.name, token=token)


async def enter(request: Request) -> Response:
    services = services_of(request)
    form = await form_of(request, services)
    return let_in(request, await services.portal.enter(form.get("token", "")))


async def enter_from_account(request: Request) -> Response:
    principal, _ = await signed_in(request)
    return let_in(request, await services_of(request).portal.open(principal))


async def leave(request: Request) -> Response:
    _, secret, _ = await changing(request)
    await services_of(request).portal.leave(secret)
    return let_out(request, message("You have left", "To come back, ask for a new link."))


# -- endpoints ---------------------------------------------------------------------------------------------------------


async def endpoints(
    request: Request, error: MoonpoolError | None = None, typed: Mapping[str, str] | None = None
) -> Response:
    services, principal = services_of(request), await visitor(request)
    return page(
        "webhooks",
        error=error,
        team=(await services.access.team(principal)).name,
        endpoints=services.webhooks.list(principal),
        kinds=KINDS,
        typed=typed or {},
        csrf=csrf_of(request),
    )


async def create(request: Request) -> Response:
    principal, _, form = await changing(request)
    new = NewEndpoint(form.get("url", "").strip(), form.get("description", ""), events_of(form))
    try:
        made = await services_of(request).webhooks.create(principal, new)
    except MoonpoolError as error:
        return await endpoints(request, error, form)
    return page("webhook_secret", endpoint=made, title="A new endpoint")


async def endpoint(
    request: Request, error: MoonpoolError | None = None, told: str = "", *, well: bool = True
) -> Response:
    """With its deliveries, the newest first: ``?state=`` and ``?cursor=`` say which."""
    services, principal = services_of(request), await visitor(request)
    webhooks, endpoint_id = services.webhooks, request.path_params["endpoint"]
    found = webhooks.get(principal, endpoint_id)
    state, cursor = state_of(request), request.query_params.get("cursor") or None
    deliveries = await webhooks.deliveries(principal, endpoint_id, state=state, cursor=cursor, limit=PER_PAGE)
    return page(
        "webhook",
        error=error,
        told=told,
        well=well,
        endpoint=found,
        kinds=KINDS,
        deliveries=deliveries,
        state=state.value if state else "",
        states=[one.value for one in DeliveryState],
        csrf=csrf_of(request),
    )


def state_of(request: Request) -> DeliveryState | None:
    text = request.query_params.get("state", "")
    try:
        return DeliveryState(text) if text else None
    except ValueError:
        raise InvalidInput(f"There is no such state: {text[:50]!r}", field="state") from None


async def doing(request: Request, act: Callable[[Principal, str, Mapping[str, str]], Awaitable[Response]]) -> Response:
    """``act`` on the endpoint of the address; what goes wrong is told on its page."""
    principal, _, form = await changing(request)
    endpoint_id = request.path_params["endpoint"]
    services_of(request).webhooks.get(principal, endpoint_id)
    try:
        return await act(principal, endpoint_id, form)
    except MoonpoolError as error:
        return await endpoint(request, error)


async def change(request: Request) -> Response:
    async def act(principal: Principal, name: str, form: Mapping[str, str]) -> Response:
        wanted = EndpointChange(form.get("url", "").strip(), form.get("description", ""), events_of(form))
        await services_of(request).webhooks.update(principal, name, wanted)
        return to_endpoint(name)

    return await doing(request, act)


async def enable(request: Request) -> Response:
    async def act(principal: Principal, name: str, form: Mapping[str, str]) -> Response:
        await services_of(request).webhooks.update(
            principal, name, EndpointChange(enabled=form.get("enabled") == "yes")
        )
        return to_endpoint(name)

    return await doing(request, act)


async def rotate(request: Request) -> Response:
    async def act(principal: Principal, name: str, _: Mapping[str, str]) -> Response:
        made = await services_of(request).webhooks.rotate(principal, name)
        return page("webhook_secret", endpoint=made, title="A new secret")

    return await doing(request, act)


async def test(request: Request) -> Response:
    async def act(principal: Principal, name: str, _: Mapping[str, str]) -> Response:
        tried = await services_of(request).webhooks.test(principal, name)
        outcome = f"it answered {tried.status}" if tried.error is None else tried.error
        arrived = tried.status is not None and 200 <= tried.status < 300
        return await endpoint(request, told=f"A message of the type 'test' was sent: {outcome}", well=arrived)

    return await doing(request, act)


async def remove(request: Request) -> Response:
    async def act(principal: Principal, name: str, _: Mapping[str, str]) -> Response:
        await services_of(request).webhooks.delete(principal, name)
        return lead_to(PORTAL)

    return await doing(request, act)


# -- deliveries --------------------------------------------------------------------------------------------------------


async def delivery(request: Request) -> Response:
    services, principal = services_of(request), await visitor(request)
    endpoint_id, number = request.path_params["endpoint"], delivery_id(request.path_params["delivery"])
    found = await services.webhooks.delivery(principal, endpoint_id, number)
    opened = services.webhooks.get(principal, endpoint_id)
    return page("webhook_delivery", delivery=found, endpoint=opened, csrf=csrf_of(request))


async def replay(request: Request) -> Response:
    async def act(principal: Principal, name: str, _: Mapping[str, str]) -> Response:
        await services_of(request).webhooks.replay(principal, name, delivery_id(request.path_params["delivery"]))
        return to_endpoint(name)

    return await doing(request, act)


def to_endpoint(endpoint_id: str) -> Response:
    """``endpoint_id`` was found to be one: nobody is led elsewhere."""
    return lead_to(f"{PORTAL}/endpoints/{endpoint_id}")


def events_of(form: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name.removeprefix(EVENT) for name in form if name.startswith(EVENT))


def closed(error: PortalClosed) -> Response:
    return page("webhook_closed", error=error)


def routes() -> list[Route]:
    posts: dict[str, Any] = {
        f"{PORTAL}/enter": enter,
        f"{PORTAL}/leave": leave,
        f"{PORTAL}/endpoints": create,
        f"{ENDPOINT}/change": change,
        f"{ENDPOINT}/enable": enable,
        f"{ENDPOINT}/rotate-secret": rotate,
        f"{ENDPOINT}/test": test,
        f"{ENDPOINT}/remove": remove,
        f"{DELIVERY}/replay": replay,
    }
    looked_at = [Route(PORTAL, portal), Route(ENDPOINT, endpoint), Route(DELIVERY, delivery)]
    return [*looked_at, *(Route(path, handler, methods=["POST"]) for path, handler in posts.items())]


ROUTES = routes()
FROM_ACCOUNT = (Route("/account/webhooks", enter_from_account, methods=["POST"]),)
