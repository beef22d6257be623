"""Frames: one msgpack map in each binary message. Requests come in; responses and notifications go out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgpack

MAX_ID = 1 << 53  # what JavaScript counts to


class Code(IntEnum):
    """The protocol's own numbers for what went wrong, as far as this server has use for them."""

    CRITICAL_ERROR = 0
    FEATURE_UNAVAILABLE = 1
    NO_ACCESS = 2
    RATE_LIMIT = 3
    INVALID_ID = 100
    INVALID_PATH = 101
    RAWFS_ERROR = 102
    SHELL_NOT_ACCESSIBLE = 200
    SHELL_CLOSED = 201
    SHELL_NOT_FOUND = 204
    TASK_NOT_FOUND = 601


class MalformedFrame(Exception):
    """What a client sent is no message of this protocol, and cannot even be answered with an error."""


class Failure(Exception):
    """An error as the client is told it. ``data`` must be there for RAWFS_ERROR: the SDK reads its ``errno``."""

    def __init__(self, code: Code, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


@dataclass(frozen=True)
class Incoming:
    """``number`` None: a notification, which wants no answer. ``size`` is the frame's, in bytes."""

    number: int | None
    method: str
    params: Mapping[str, Any]
    size: int


def parse(frame: bytes) -> Incoming:
    """Raises MalformedFrame."""
    try:
        document = msgpack.unpackb(frame, raw=False, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedFrame("not msgpack") from error
    if not isinstance(document, dict) or not isinstance(document.get("method"), str):
        raise MalformedFrame("not a message")
    number, params = document.get("id"), document.get("params")
    if number is not None and (type(number) is not int or not 0 <= number <= MAX_ID):
        raise MalformedFrame("not an id")
    return Incoming(number, document["method"], params if isinstance(params, dict) else {}, len(frame))


def result(request: Incoming, value: object) -> bytes:
    return pack({"id": request.number, "method": request.method, "status": 0, "result": value})


def failure(request: Incoming, error: Failure) -> bytes:
    """Never with a ``result`` beside it: clients go by which key is there."""
    told: dict[str, object] = {"code": int(error.code), "message": error.message}
    if error.data is not None:
        told["data"] = dict(error.data)
    return pack({"id": request.number, "method": request.method, "status": 1, "error": told})


def notification(method: str, params: Mapping[str, Any]) -> bytes:
    """No ``id``: with one it would pass for a response."""
    return pack({"method": method, "params": params})


def pack(document: Mapping[str, Any]) -> bytes:
    """File names that are no UTF-8 are told as nearly as text can tell them."""
    packed: bytes = msgpack.packb(document, use_bin_type=True, unicode_errors="replace")
    return packed
