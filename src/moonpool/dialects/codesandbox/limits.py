"""How much a team may still ask for, as the ``x-csb-*`` headers and ``/meta/info`` tell it; the core counts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonpool.access.model import Principal
from moonpool.access.throttling import Throttle
from moonpool.dialects.common.authentication import asker_of
from moonpool.dialects.common.services import Services

NO_LIMIT = 1_000_000_000  # what clients are told, who expect a number
VMS = 8190  # running ones: so many addresses a server has for them


@dataclass(frozen=True)
class Figures:
    """``reset`` is when all of it is there again, in seconds since 1970."""

    limit: int
    used: int
    reset: int | None = None

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)


class RateLimits:
    def __init__(self, services: Services) -> None:
        self._services = services

    def requests(self, asker: Principal) -> Figures:
        return self._hourly(asker, Throttle.REQUESTS)

    def sandboxes(self, asker: Principal) -> Figures:
        return self._hourly(asker, Throttle.CREATES)

    def vms(self, asker: Principal) -> Figures:
        """Of the limits of running and of all sandboxes the one that is nearer; ``VMS`` where there is neither."""
        sandboxes = self._services.sandboxes
        limits, holdings = sandboxes.limits(asker), sandboxes.holdings(asker)
        pairs = ((limits.running, holdings.running), (limits.sandboxes, holdings.sandboxes))
        bounded = [Figures(limit, used) for limit, used in pairs if limit is not None]
        return min(bounded, key=lambda figures: figures.remaining, default=Figures(VMS, holdings.running))

    def _hourly(self, asker: Principal, throttle: Throttle) -> Figures:
        allowance = self._services.access.throttles.allowance(asker, throttle)
        now = self._services.clock.now().timestamp()
        if allowance is None:
            return Figures(NO_LIMIT, 0, math.ceil(now))
        return Figures(allowance.limit, allowance.used, math.ceil(now + allowance.resets_in))


class WithFigures:
    """Adds the figures of whoever was let in to the answer."""

    def __init__(self, app: ASGIApp, limits: RateLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_figures(message: Message) -> None:
            if message["type"] == "http.response.start" and (asker := asker_of(scope)) is not None:
                headers = self._headers(asker, vms=scope["method"] == "POST")
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, send_with_figures if scope["type"] == "http" else send)

    def _headers(self, asker: Principal, *, vms: bool) -> Iterator[tuple[bytes, bytes]]:
        yield from named("rate-hourly", self._limits.requests(asker))
        yield from named("sandbox-hourly", self._limits.sandboxes(asker))
        if vms:
            yield from named("vms", self._limits.vms(asker))


def named(name: str, figures: Figures) -> Iterator[tuple[bytes, bytes]]:
    for part in ("limit", "used", "remaining", "reset"):
        if (value := getattr(figures, part)) is not None:
            yield f"x-csb-{name}-{part}".encode(), str(value).encode()
