"""What is served beside the APIs: readiness, to anyone, and figures, to admins."""

import json
from collections.abc import Callable
from dataclasses import asdict

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import HTTPConnection
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from moonpool.access.service import AccessService
from moonpool.dialects.common.authentication import principal
from moonpool.dialects.common.figures import ServerFigures
from moonpool.dialects.common.routing import answer_json, not_found
from moonpool.errors import Forbidden, Unauthorized
from moonpool.hosts.model import Readiness


class Health:
    """``GET /healthz``: 200 when a create need not wait, else 503; with counts."""

    def __init__(self, readiness: Callable[[], Readiness]) -> None:
        self._readiness = readiness

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await not_found(scope, receive, send)
            return
        readiness = self._readiness()
        body = {**asdict(readiness), "status": "ready" if readiness.ready else "warming"}
        await answer_json(send, 200 if readiness.ready else 503, json.dumps(body).encode())


class Metrics:
    """``GET /metrics`` in Prometheus' text format; needs an admin's key."""

    def __init__(self, access: AccessService, registry: CollectorRegistry, figures: ServerFigures) -> None:
        self._access = access
        self._registry = registry
        self._figures = figures

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await not_found(scope, receive, send)
            return
        try:
            self._access.require_platform_admin(await principal(HTTPConnection(scope), self._access))
        except (Unauthorized, Forbidden) as error:
            body = json.dumps({"error": {"code": error.code, "message": error.message}}).encode()
            await answer_json(send, 401 if isinstance(error, Unauthorized) else 403, body)
            return
        await self._figures.refresh()
        await answer_json(send, 200, generate_latest(self._registry), CONTENT_TYPE_LATEST.encode())
