"""CodeSandbox's envelope: ``{"success": true, "data": {...}}``, and ``{"success": false, "errors": ["text"]}``.

The SDK reads ``data``, which must not be empty of meaning (``{}`` will do), and the first of ``errors``, a text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.codesandbox.mapping import sentence, status_of
from moonpool.dialects.common.retry import retry_after
from moonpool.errors import MoonpoolError, Unauthorized


def success(data: Mapping[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse({"success": True, "data": data}, status)


def failure(status: int, texts: Sequence[str], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"success": False, "errors": list(texts)}, status, headers)


def error_response(error: MoonpoolError) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else retry_after(error)
    return failure(status_of(error), [sentence(error)], headers)


async def domain_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, MoonpoolError):
        raise error
    return error_response(error)


async def http_error(request: Request, error: Exception) -> Response:
    """What the router itself answers: unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise error
    message = f"No such path: {request.method} {request.url.path}" if error.status_code in (404, 405) else error.detail
    return failure(error.status_code, [message], error.headers)


async def unexpected_error(_: Request, __: Exception) -> Response:
    """No internals to the client: an id by which the log, which is written further out, tells them."""
    request_id = structlog.contextvars.get_contextvars().get("request_id", "unknown")
    return failure(500, [f"Unexpected error (request {request_id})"])


async def client_gone(_: Request, __: Exception) -> Response:
    """Nobody reads this; 499 is what proxies log for it."""
    return Response(status_code=499)


def install(app: FastAPI) -> None:
    app.add_exception_handler(MoonpoolError, domain_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, client_gone)
    app.add_exception_handler(Exception, unexpected_error)
