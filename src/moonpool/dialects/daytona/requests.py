"""Reading what clients send, within limits."""

import json
import re
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from moonpool.dialects.daytona.errors import validation_message
from moonpool.errors import InvalidInput, TooLarge

BODY_LIMIT = 10 * 1024 * 1024  # bytes
HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")

Model = TypeVar("Model", bound=BaseModel)


async def parse(request: Request, model: type[Model]) -> Model:
    """The JSON body as ``model``; no body at all counts as an empty object.

    Raises TooLarge beyond ``BODY_LIMIT``, InvalidInput for malformed JSON, wrong types, ranges and NUL characters.
    """
    return validated(await read(request, BODY_LIMIT), model, InvalidInput)


def validated(raw: bytes, model: type[Model], invalid: type[InvalidInput]) -> Model:
    """Raises ``invalid``."""
    try:
        parsed = model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(validation_message(details)) from None
    if b"\\u0000" in raw and holds_nul(json.loads(raw)):
        raise invalid("Text must not contain NUL characters")
    return parsed


async def read(request: Request, limit: int) -> bytes:
    """The whole body; TooLarge, before it is read where it says so itself, beyond ``limit`` bytes."""
    too_large = TooLarge(f"The request body is larger than {limit // 1024 // 1024} MiB")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(holds_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(holds_nul(part) for part in value)


def origin(scheme: str, headers: Mapping[str, str], public_url: str) -> str:
    """``scheme://host`` under which the asker reached this server; ``headers`` has lower-case names.

    What proxies in front say counts first, nonsense in a Host header does not. ``public_url`` stands in when there is
    no host, and gives the scheme when the host is its own, since a proxy may end TLS without saying so.
    """
    forwarded = first(headers.get("x-forwarded-proto", "")).lower()
    protocol = forwarded if forwarded in ("http", "https") else {"ws": "http", "wss": "https"}.get(scheme, scheme)
    for name in ("x-forwarded-host", "host"):
        host = first(headers.get(name, ""))
        if HOST.fullmatch(host):
            return public_url if public_url.partition("://")[2] == host else f"{protocol}://{host}"
    return public_url


def first(values: str) -> str:
    return values.split(",", 1)[0].strip()
