"""The protocol's envelope, and its codes for everything that goes wrong."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from moonpool.dialects.common.retry import retry_after
from moonpool.errors import (
    Forbidden,
    InvalidInput,
    LimitExceeded,
    MoonpoolError,
    NoCapacity,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthorized,
)
from moonpool.registry import errors

VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
CHALLENGE = {"WWW-Authenticate": 'Basic realm="Moonpool", charset="UTF-8"'}

# By class; the nearest one above counts.
WORDS: Mapping[type[MoonpoolError], tuple[int, str]] = {
    Unauthorized: (401, "UNAUTHORIZED"),
    Forbidden: (403, "DENIED"),
    LimitExceeded: (403, "DENIED"),
    RateLimited: (429, "TOOMANYREQUESTS"),
    TooLarge: (413, "SIZE_INVALID"),
    NoCapacity: (507, "UNAVAILABLE"),
    NotFound: (404, "NAME_UNKNOWN"),
    InvalidInput: (400, "UNSUPPORTED"),
    errors.RepositoryInvalid: (400, "NAME_INVALID"),
    errors.RepositoryNotFound: (404, "NAME_UNKNOWN"),
    errors.BlobNotFound: (404, "BLOB_UNKNOWN"),
    errors.ManifestNotFound: (404, "MANIFEST_UNKNOWN"),
    errors.UploadNotFound: (404, "BLOB_UPLOAD_UNKNOWN"),
    errors.DigestInvalid: (400, "DIGEST_INVALID"),
    errors.ManifestInvalid: (400, "MANIFEST_INVALID"),
    errors.PartMissing: (400, "MANIFEST_BLOB_UNKNOWN"),
    errors.UploadInvalid: (400, "BLOB_UPLOAD_INVALID"),
    errors.OutOfOrder: (416, "BLOB_UPLOAD_INVALID"),
    errors.PartInUse: (405, "UNSUPPORTED"),
}

log = structlog.get_logger(__name__)


def envelope(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]})
    return Response(body, status, {**VERSION, **(headers or {})}, "application/json")


def domain_error(_request: Request, error: Any) -> Response:
    """Of a MoonpoolError."""
    kinds = (kind for kind in type(error).__mro__ if kind in WORDS)
    status, code = WORDS.get(next(kinds, MoonpoolError), (500, "UNKNOWN"))
    headers = dict(CHALLENGE) if status == 401 else retry_after(error) or {}
    if isinstance(error, errors.OutOfOrder):
        headers = {"Range": range_of(error.size)}
    message = f"{error.message.rstrip('.')}. {error.hint}" if error.hint else error.message
    return envelope(status, code, message, headers)


def http_error(request: Request, error: Any) -> Response:
    """Of an HTTPException: no such path, or not with that method."""
    assert isinstance(error, HTTPException)
    return envelope(error.status_code, "UNSUPPORTED", f"Cannot {request.method} {request.url.path}", error.headers)


def client_gone(_request: Request, _error: Any) -> Response:
    """Nobody reads it."""
    return envelope(400, "BLOB_UPLOAD_INVALID", "The content ended too early")


def unexpected_error(request: Request, error: Exception) -> Response:
    """The client gets a number to tell the operator, who finds it in the log beside the trace."""
    request_id = uuid.uuid4().hex
    log.error("unexpected error", request_id=request_id, path=request.url.path, exc_info=error)
    return envelope(500, "UNKNOWN", f"Internal server error (request {request_id})")


def range_of(size: int) -> str:
    """Of an upload, as this protocol says it: the last byte's number, and 0 where there is none."""
    return f"0-{max(0, size - 1)}"


HANDLERS: Mapping[Any, Any] = {
    MoonpoolError: domain_error,
    HTTPException: http_error,
    ClientDisconnect: client_gone,
    Exception: unexpected_error,
}
