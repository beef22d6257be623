"""What every handler is given: who asks, by which access, and for which repository."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from moonpool.access.model import Principal
from moonpool.dialects.common.auditing import ACT
from moonpool.dialects.common.authentication import admitted
from moonpool.dialects.common.deeds import Act
from moonpool.dialects.common.services import Services
from moonpool.errors import Unauthorized
from moonpool.registry.service import PushedImages

KIND = "image"  # in the audit log
HINT = "Ask GET /api/docker-registry/registry-push-access for a user name and a secret."


@dataclass(frozen=True)
class Call:
    request: Request
    principal: Principal
    images: PushedImages

    def parameter(self, name: str) -> str:
        """Of the path."""
        return str(self.request.path_params[name])

    @property
    def repository(self) -> str:
        return self.parameter("name")


Handler = Callable[[Call], Awaitable[Response]]


class Endpoint:
    """Handlers by method. ``whole``: a change is one of its own to the audit log, and not a part of another."""

    def __init__(self, services: Services, whole: bool = False, /, **handlers: Handler) -> None:
        self._services, self._whole, self._handlers = services, whole, handlers

    @property
    def methods(self) -> list[str]:
        return list(self._handlers)

    async def answer(self, request: Request) -> Response:
        request.scope[ACT] = self._act(request)
        who = await self._services.images.admitted(*credentials(request))
        call = Call(request, admitted(request, who, self._services.access), self._services.images)
        return await self._handlers[request.method](call)

    def _act(self, request: Request) -> Act:
        parameters = request.path_params
        target = str(parameters.get("name", ""))
        if reference := parameters.get("reference") or parameters.get("digest"):
            target += ("@" if ":" in reference else ":") + str(reference)
        reading = request.method in ("GET", "HEAD")
        deed = "delete" if request.method == "DELETE" else "pull" if reading else "push"
        return Act(deed, KIND, target[:512] or None, inside=not self._whole)


def credentials(request: Request) -> tuple[str, str]:
    """User name and secret; Unauthorized."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise Unauthorized("No credentials were sent", hint=HINT)
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise Unauthorized("The credentials cannot be read", hint=HINT) from None
    username, _, secret = text.partition(":")
    return username, secret
