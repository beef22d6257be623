"""The platform API's one envelope for everything that goes wrong.

``{path, timestamp, statusCode, error, message, source}``; the hint of a domain error is part of the message, because
the SDK shows users nothing else.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from moonpool.dialects.common.retry import retry_after
from moonpool.dialects.daytona.mapping import status_of
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.errors import MoonpoolError, TransitionInProgress, Unauthorized

SOURCE = "DAYTONA_API"  # which of the vendor's services speaks, to the SDK
IN_PROGRESS = "State change in progress: "  # the vendor's words, by which clients know that they may try again


def envelope(request: Request, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = {
        "path": request.url.path,
        "timestamp": timestamp(datetime.now(UTC)),
        "statusCode": status,
        "error": HTTPStatus(status).phrase,
        "message": message,
        "source": SOURCE,
    }
    return JSONResponse(body, status, headers)


def domain_error(request: Request, error: MoonpoolError) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else retry_after(error)
    return envelope(request, status_of(error), sentence(error), headers=headers)


def sentence(error: MoonpoolError) -> str:
    """The message, and the hint after it; bad and missing credentials are answered in the vendor's exact words."""
    if type(error) is Unauthorized:
        return Unauthorized.default
    message = f"{IN_PROGRESS}{error.message}" if type(error) is TransitionInProgress else error.message
    if not error.hint or isinstance(error, Unauthorized):
        return message
    return f"{message.rstrip('.')}. {error.hint}"


def validation_message(errors: Sequence[Mapping[str, Any]]) -> str:
    """One line for all that is wrong with a body or query, the values left out: they may be secrets."""
    return ", ".join(f"{location(error['loc'])}: {error['msg']}" for error in errors)


def location(parts: Sequence[object]) -> str:
    names = [str(part) for part in parts if part not in ("body", "query", "path")]
    return ".".join(names) or "body"
