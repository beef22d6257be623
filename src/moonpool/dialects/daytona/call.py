"""What every handler is given: who asks, the services, and the address by which the asker reached this server."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from moonpool.access.model import Principal
from moonpool.dialects.common.authentication import principal
from moonpool.dialects.common.origin import origin
from moonpool.dialects.common.services import Services
from moonpool.dialects.daytona.answers import View
from moonpool.dialects.daytona.mapping import DIALECT


@dataclass(frozen=True)
class Call:
    """``origin`` is "http://host:port", as the asker wrote it."""

    principal: Principal
    services: Services
    origin: str

    @property
    def view(self) -> View:
        return View(self.origin, self.services.server.region, self.services.sandboxes.progress)


def default_queue_timeout(call: Call) -> int | None:
    """The organization's, in minutes."""
    return call.services.preferences.of(call.principal.team_id, DIALECT).get("defaultQueueTimeout")


def services_of(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


async def authenticated(connection: HTTPConnection) -> Call:
    """Raises Unauthorized or KeyExpired. An organization header is not looked at: a key implies its team."""
    services = services_of(connection)
    who = await principal(connection, services.access)
    return Call(who, services, origin(connection.url.scheme, connection.headers, services.server.public_url))


Authenticated = Annotated[Call, Depends(authenticated)]
