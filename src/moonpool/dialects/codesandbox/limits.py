"""How much a team may ask for: counted here, enforced here, and told in the ``x-csb-*`` headers."""

from collections.abc import Iterator
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonpool.access.model import Principal
from moonpool.clock import Clock
from moonpool.dialects.common.services import Services
from moonpool.errors import RateLimited
from moonpool.sandboxes.model import SandboxState

HOUR = 3600  # seconds
REQUESTS_HOURLY = 1_000_000
SANDBOXES_HOURLY = 100_000
VMS = 8190  # running ones: so many addresses a server has for them
ASKER = "moonpool.codesandbox.asker"


@dataclass(frozen=True)
class Figures:
    """``reset`` is when counting begins anew, in seconds since 1970."""

    limit: int
    used: int
    reset: int | None = None

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)


class Hourly:
    """A count for each team, from one full hour to the next."""

    def __init__(self, what: str, limit: int, clock: Clock) -> None:
        self._what = what
        self._limit = limit
        self._clock = clock
        self._hour = 0
        self._used: dict[str, int] = {}

    def spend(self, team_id: str) -> None:
        """Count one; RateLimited when the hour's are used up."""
        if self.figures(team_id).remaining <= 0:
            raise RateLimited(f"All {self._limit} {self._what} of this hour are used")
        self._used[team_id] = self._used.get(team_id, 0) + 1

    def figures(self, team_id: str) -> Figures:
        hour = int(self._clock.now().timestamp()) // HOUR
        if hour != self._hour:
            self._hour, self._used = hour, {}
        return Figures(self._limit, self._used.get(team_id, 0), (hour + 1) * HOUR)


class RateLimits:
    def __init__(
        self, services: Services, *, requests: int = REQUESTS_HOURLY, sandboxes: int = SANDBOXES_HOURLY
    ) -> None:
        self._services = services
        self.requests = Hourly("requests", requests, services.clock)
        self.sandboxes = Hourly("new sandboxes", sandboxes, services.clock)

    def vms(self, principal: Principal) -> Figures:
        """Where the server limits a team's sandboxes, a stopped one holds a place too; else only running ones do."""
        tally = self._services.sandboxes.tally(principal)
        limit = self._services.server.max_sandboxes
        if limit is None:
            return Figures(VMS, tally[SandboxState.RUNNING])
        return Figures(limit, tally.total())


class WithFigures:
    """Adds the figures of whoever was let in (see ``ASKER``) to the answer."""

    def __init__(self, app: ASGIApp, limits: RateLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_figures(message: Message) -> None:
            if message["type"] == "http.response.start" and (asker := scope.get(ASKER)) is not None:
                headers = self._headers(asker, vms=scope["method"] == "POST")
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, send_with_figures if scope["type"] == "http" else send)

    def _headers(self, asker: Principal, *, vms: bool) -> Iterator[tuple[bytes, bytes]]:
        yield from named("rate-hourly", self._limits.requests.figures(asker.team_id))
        yield from named("sandbox-hourly", self._limits.sandboxes.figures(asker.team_id))
        if vms:
            yield from named("vms", self._limits.vms(asker))


def named(name: str, figures: Figures) -> Iterator[tuple[bytes, bytes]]:
    for part in ("limit", "used", "remaining", "reset"):
        if (value := getattr(figures, part)) is not None:
            yield f"x-csb-{name}-{part}".encode(), str(value).encode()
