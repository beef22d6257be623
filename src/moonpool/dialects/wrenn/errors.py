"""Wrenn's one envelope, ``{"error": {"code", "message"}}``, for everything that goes wrong."""

from collections.abc import Mapping

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.common.retry import retry_after
from moonpool.dialects.wrenn.mapping import sentence, status_and_code
from moonpool.errors import MoonpoolError, Unauthorized

HTTP_CODES: Mapping[int, str] = {404: "not_found", 405: "method_not_allowed"}


def envelope(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def error_response(error: MoonpoolError) -> JSONResponse:
    status, code = status_and_code(error)
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else retry_after(error)
    return envelope(status, code, sentence(error), headers)


async def domain_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, MoonpoolError):
        raise error
    return error_response(error)


async def http_error(request: Request, error: Exception) -> Response:
    """What the router itself answers: unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise error
    message = f"No such path: {request.url.path}" if error.status_code == 404 else error.detail
    return envelope(error.status_code, HTTP_CODES.get(error.status_code, "invalid_request"), message, error.headers)


async def unexpected_error(_: Request, __: Exception) -> Response:
    """No internals to the client: an id by which the log, which is written further out, tells them."""
    request_id = structlog.contextvars.get_contextvars().get("request_id", "unknown")
    return envelope(500, "internal_error", f"Unexpected error (request {request_id})")


async def client_gone(_: Request, __: Exception) -> Response:
    """Nobody reads this; 499 is what proxies log for it."""
    return Response(status_code=499)


def install(app: FastAPI) -> None:
    app.add_exception_handler(MoonpoolError, domain_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, client_gone)
    app.add_exception_handler(Exception, unexpected_error)
