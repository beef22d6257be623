"""What every handler is given: who asks, the services, and the address by which the asker reached this server."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from moonpool.access.model import Principal
from moonpool.dialects.codesandbox.limits import RateLimits
from moonpool.dialects.codesandbox.pitcher.tokens import Tokens
from moonpool.dialects.common.authentication import principal
from moonpool.dialects.common.origin import origin
from moonpool.dialects.common.services import Services

REMEMBERED = 10_000  # forks that nobody has started yet


class Unstarted:
    """Sandboxes that were made and run, but whose client has not asked for a start yet: the first one is a fork's.

    In memory alone: after a restart of the server such a start is said to have found it running, which it did.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, sandbox_id: str) -> None:
        self._ids[sandbox_id] = None
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)

    def take(self, sandbox_id: str) -> bool:
        if sandbox_id not in self._ids:
            return False
        del self._ids[sandbox_id]
        return True


@dataclass(frozen=True)
class Shared:
    """What the requests of one server have in common."""

    services: Services
    limits: RateLimits
    tokens: Tokens
    unstarted: Unstarted

    @classmethod
    def of(cls, services: Services, limits: RateLimits) -> "Shared":
        return cls(services, limits, Tokens(services.server.signing_key, services.clock), Unstarted())


@dataclass(frozen=True)
class Call:
    """``origin`` is "http://host:port", as the asker wrote it."""

    principal: Principal
    shared: Shared
    origin: str
    user_agent: str

    @property
    def services(self) -> Services:
        return self.shared.services

    @property
    def cluster(self) -> str:
        """This server is the one cluster."""
        return self.services.server.region


def shared_of(connection: HTTPConnection) -> Shared:
    shared: Shared = connection.app.state.shared
    return shared


async def authenticated(connection: HTTPConnection) -> Call:
    """Raises Unauthorized, KeyExpired, or RateLimited."""
    shared = shared_of(connection)
    who = await principal(connection, shared.services.access)
    here = origin(connection.url.scheme, connection.headers, shared.services.server.public_url)
    return Call(who, shared, here, connection.headers.get("user-agent", ""))


Authenticated = Annotated[Call, Depends(authenticated)]
