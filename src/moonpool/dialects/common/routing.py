"""One listener, several APIs: which application a path belongs to."""

import json
from collections.abc import Mapping

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

NOT_FOUND = json.dumps({"error": {"code": "not_found", "message": "Not found"}}).encode()


class PrefixRouter:
    """Hands a request to the application with the longest prefix that ends at a path segment; scopes stay unchanged."""

    def __init__(self, applications: Mapping[str, ASGIApp]) -> None:
        self._applications = sorted(applications.items(), key=lambda entry: len(entry[0]), reverse=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        for prefix, application in self._applications:
            if path == prefix or path.startswith(prefix + "/"):
                await application(scope, receive, send)
                return
        await not_found(scope, receive, send)


def serve_routes(app: FastAPI, router: APIRouter) -> None:
    """What ``app.include_router(router)`` does, with the routes as they are: they need neither prefix nor dependencies
    of the application, for which FastAPI would make each of them anew at the first request."""
    app.router.routes.extend(router.routes)


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """No API has this path."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        return
    await answer_json(send, 404, NOT_FOUND)


async def answer_json(send: Send, status: int, body: bytes, content_type: bytes = b"application/json") -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
