"""Addresses under which a file or a folder of a sandbox can be fetched for a few minutes, without any key."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from moonpool.dialects.codesandbox.pitcher.call import Call
from moonpool.dialects.codesandbox.pitcher.globs import choices
from moonpool.dialects.codesandbox.pitcher.paths import resolved
from moonpool.dialects.codesandbox.pitcher.tokens import LONGEST, Download, Tokens
from moonpool.dialects.common.services import Services
from moonpool.errors import Forbidden, GuestError, InvalidState, MoonpoolError, SandboxNotFound, TooLarge, Unauthorized
from moonpool.guest.client import AgentClient

DEFAULT_EXCLUDES = ("node_modules",)
STATUSES: tuple[tuple[type[MoonpoolError], int], ...] = (
    (Unauthorized, 403),
    (Forbidden, 403),
    (SandboxNotFound, 404),
    (InvalidState, 409),
    (GuestError, 404),
)


async def offer(call: Call) -> dict[str, Any]:
    """The address; raises FileNotFound for what is not there."""
    path = resolved(call.grant, call.params.text("path"))
    patterns = call.params.texts("excludes") or DEFAULT_EXCLUDES
    excludes = tuple(choice for pattern in patterns for choice in choices(pattern) if choice)
    async with call.hub.place.agent() as agent:
        info = await agent.stat(path, user=call.grant.user)
    name = (info.name.strip("/") or "root") + (".zip" if info.kind == "directory" else "")
    token = call.hub.tokens.mint_download(Download(call.grant, path, excludes))
    if len(token) > LONGEST:
        raise TooLarge("These path and excludes do not fit into an address")
    where = f"/pitcher/{call.hub.place.sandbox_id}/download/{quote(name, safe='')}"
    return {"downloadUrl": f"{call.client.origin}{where}?token={token}"}


class Downloads:
    """``GET /pitcher/{sandbox_id}/download/{name}?token=...``; the name is for whoever saves it."""

    def __init__(self, services: Services, tokens: Tokens) -> None:
        self._services = services
        self._tokens = tokens

    async def serve(self, request: Request) -> Response:
        sandbox_id = request.path_params["sandbox_id"]
        async with AsyncExitStack() as stack:
            try:
                wanted = self._tokens.verify_download(request.query_params.get("token", ""), sandbox_id)
                principal = (await wanted.grant.confirmed(self._services.access)).principal
                session = await stack.enter_async_context(self._services.sandboxes.session(principal, sandbox_id))
                content, headers = await self._open(stack, session.agent, wanted)
            except MoonpoolError as error:
                status = next((status for kind, status in STATUSES if isinstance(error, kind)), 502)
                return JSONResponse({"success": False, "errors": [error.message]}, status)
            return Streamed(content, headers, stack.pop_all())

    async def _open(
        self, stack: AsyncExitStack, agent: AgentClient, wanted: Download
    ) -> tuple[AsyncIterator[bytes], dict[str, str]]:
        user = wanted.grant.user
        info = await agent.stat(wanted.path, user=user)
        if info.kind == "directory":
            archive = await stack.enter_async_context(agent.archive(wanted.path, excludes=wanted.excludes, user=user))
            return aiter(archive), headers_of(f"{info.name.strip('/') or 'root'}.zip", "application/zip")
        reader = await stack.enter_async_context(agent.read(wanted.path, user=user))
        headers = headers_of(info.name, "application/octet-stream")
        if reader.info.size:  # Of what the kernel makes up as it is read, 0 is said.
            headers["content-length"] = str(reader.info.size)
        return aiter(reader), headers


class Streamed(StreamingResponse):
    """Lets go of the sandbox when everything is sent, or the client is gone."""

    def __init__(self, content: AsyncIterator[bytes], headers: dict[str, str], resources: AsyncExitStack) -> None:
        super().__init__(content, headers=headers)
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._resources:
            await super().__call__(scope, receive, send)


def headers_of(name: str, kind: str) -> dict[str, str]:
    encoded = quote(name.encode(errors="replace"), safe="")
    return {
        "content-type": kind,
        "content-disposition": f"attachment; filename*=UTF-8''{encoded}",
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
    }
