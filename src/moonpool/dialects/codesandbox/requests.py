"""Reading what clients send, within limits."""

import json
import re
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from moonpool.errors import InvalidInput, TooLarge

MAX_BODY = 32 * 1024 * 1024  # bytes; a sandbox may be created with its files
HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")

Model = TypeVar("Model", bound=BaseModel)


async def parse(request: Request, model: type[Model]) -> Model:
    """The body as ``model``; no body at all counts as an empty object, as the contract's bodies are optional.

    TooLarge; InvalidInput names what is wrong and leaves out values, which may be secrets.
    """
    raw = await read_body(request) or b"{}"
    try:
        parsed = model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(error) from None
    if b"\\u0000" in raw and holds_nul(json.loads(raw)):
        raise InvalidInput("Text must not contain NUL characters")
    return parsed


def parse_query(request: Request, model: type[Model]) -> Model:
    """The query string as ``model``; InvalidInput."""
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidInput:
    problems = (
        f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    )
    return InvalidInput("; ".join(problems))


async def read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLarge(f"The request body is larger than {MAX_BODY // 1024 // 1024} MiB")
    return bytes(body)


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
    protocol = forwarded if forwarded in ("http", "https") else scheme
    for name in ("x-forwarded-host", "host"):
        host = first(headers.get(name, ""))
        if HOST.fullmatch(host):
            return public_url if public_url.partition("://")[2] == host else f"{protocol}://{host}"
    return public_url


def first(values: str) -> str:
    return values.split(",", 1)[0].strip()
