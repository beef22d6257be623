"""The ``X-RateLimit-*`` headers, by the names of the vendor's throttlers; the core counts."""

import math
import re
from collections.abc import Iterator, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonpool.access.model import Principal
from moonpool.access.throttling import HOUR, Throttle, Throttles
from moonpool.dialects.common.authentication import asker_of

NAMES: Mapping[Throttle, str] = {
    Throttle.REQUESTS: "authenticated",
    Throttle.CREATES: "sandbox-create",
    Throttle.CHANGES: "sandbox-lifecycle",
}
# In the organization's fields and the server's configuration.
FIELDS: Mapping[Throttle, str] = {
    Throttle.REQUESTS: "authenticated",
    Throttle.CREATES: "sandboxCreate",
    Throttle.CHANGES: "sandboxLifecycle",
}
CREATES = re.compile(r"/api/sandbox(/[^/]+/fork)?/?")
CHANGES = re.compile(r"/api/sandbox/[^/]+/(start|stop|pause|resume|recover|archive)/?")


class WithRateLimits:
    """Adds the figures of whoever was let in to the answer."""

    def __init__(self, app: ASGIApp, throttles: Throttles) -> None:
        self._app = app
        self._throttles = throttles

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_figures(message: Message) -> None:
            if message["type"] == "http.response.start" and (asker := asker_of(scope)) is not None:
                headers = self._headers(asker, scope, refused=message["status"] == 429)
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, send_with_figures if scope["type"] == "http" else send)

    def _headers(self, asker: Principal, scope: Scope, *, refused: bool) -> Iterator[tuple[bytes, bytes]]:
        for throttle in throttles_of(scope["method"], scope["path"]):
            allowance = self._throttles.allowance(asker, throttle)
            if allowance is None:
                continue
            figures = {
                "Limit": allowance.limit,
                "Remaining": allowance.remaining,
                "Reset": math.ceil(allowance.resets_in),
            }
            for what, figure in figures.items():
                yield f"x-ratelimit-{what.lower()}-{NAMES[throttle]}".encode(), str(figure).encode()
            if refused and not allowance.remaining:
                wait = math.ceil(HOUR / allowance.limit) if allowance.limit else int(HOUR)
                yield f"retry-after-{NAMES[throttle]}".encode(), str(wait).encode()


def throttles_of(method: str, path: str) -> Iterator[Throttle]:
    """Those that count such a request."""
    yield Throttle.REQUESTS
    if method == "POST" and CREATES.fullmatch(path):
        yield Throttle.CREATES
    elif method == "POST" and CHANGES.fullmatch(path):
        yield Throttle.CHANGES


def limits_told(throttles: Throttles, asker: Principal) -> dict[str, dict[str, int]]:
    """Those there are, each ``limit`` requests in ``ttl`` seconds, by ``FIELDS``."""
    found = {field: throttles.allowance(asker, throttle) for throttle, field in FIELDS.items()}
    return {field: {"ttl": int(HOUR), "limit": one.limit} for field, one in found.items() if one is not None}
