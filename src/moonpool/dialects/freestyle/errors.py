"""Freestyle's envelope, ``{code, error, message}``, for everything that goes wrong.

The contract has ``error``, the SDKs read ``code``: both are sent.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler

from moonpool.dialects.common.retry import retry_after
from moonpool.dialects.freestyle.mapping import FreestyleError, sentence, status_and_code
from moonpool.errors import InvalidState, LimitExceeded, MoonpoolError, SandboxEnded, Unauthorized

HTTP_CODES: Mapping[int, str] = {404: "NOT_FOUND"}


def envelope(status: int, code: str, message: str, fields: Mapping[str, Any] | None = None) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    named = {spelling: value for name, value in (fields or {}).items() for spelling in (name, camel(name))}
    # Of a code that they do not know, the SDKs tell their users the description.
    body = {"code": code, "error": code, "message": message, "description": message, **named}
    return JSONResponse(body, status, headers)


def camel(name: str) -> str:
    """freestyle-sandboxes reads ``vm_id``, freestyle ``vmId``."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def error_response(error: MoonpoolError, operation: str = "", path: Mapping[str, str] | None = None) -> JSONResponse:
    """``path``: the parameters of the path, of which some errors repeat the VM's id."""
    status, code = status_and_code(error, operation)
    fields: dict[str, Any] = {}
    if isinstance(error, FreestyleError):
        fields = error.fields
    elif isinstance(error, LimitExceeded):
        fields = {name: error.details[name] for name in ("limit", "current") if name in error.details}
    elif isinstance(error, InvalidState | SandboxEnded) and code == "VM_NOT_RUNNING":
        fields = {"vm_id": (path or {}).get("vm_id") or (path or {}).get("id", "")}
    message = Unauthorized.default if type(error) is Unauthorized else sentence(error)
    answer = envelope(status, code, message, fields)
    answer.headers.update(retry_after(error))
    return answer


async def http_error(request: Request, error: Exception) -> Response:
    """What the router itself answers: unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise error
    message = f"No such path: {request.url.path}" if error.status_code == 404 else error.detail
    return envelope(error.status_code, HTTP_CODES.get(error.status_code, "BAD_REQUEST"), message)


async def domain_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, MoonpoolError):
        raise error
    return error_response(error)


async def unexpected_error(_: Request, __: Exception) -> Response:
    """No internals to the client: an id by which the log, which is written further out, tells them."""
    request_id = structlog.contextvars.get_contextvars().get("request_id", "unknown")
    return envelope(500, "INTERNAL_ERROR", f"Unexpected error (request {request_id})")


async def client_gone(_: Request, __: Exception) -> Response:
    """Nobody reads this; 499 is what proxies log for it."""
    return Response(status_code=499)


HANDLERS: Mapping[Any, ExceptionHandler] = {
    HTTPException: http_error,
    MoonpoolError: domain_error,
    ClientDisconnect: client_gone,
    Exception: unexpected_error,
}
