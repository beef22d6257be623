"""Reading what clients send, within limits."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from moonpool.errors import InvalidInput, TooLarge
from moonpool.headroom import ensure_room

MEBIBYTE = 1024 * 1024
SILENCE = 30.0  # seconds between two pieces of a body
WHOLE = 300.0  # seconds for all of it

ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")  # in JSON; a backslash that is escaped itself is none of it

Model = TypeVar("Model", bound=BaseModel)
Problems = Sequence[Mapping[str, Any]]


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; TooLarge, before it is read where it says so itself, beyond ``limit`` bytes. InvalidInput where
    it does not come: some are read of whoever connects. Overloaded."""
    too_large = TooLarge(f"The request body is larger than {limit // MEBIBYTE} MiB")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    body, loop = bytearray(), asyncio.get_running_loop()
    end = loop.time() + WHOLE
    try:
        async with asyncio.timeout(SILENCE) as patience:
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
                if len(body) > MEBIBYTE:
                    ensure_room()
                patience.reschedule(min(end, loop.time() + SILENCE))
    except TimeoutError:
        raise InvalidInput("The request's body did not come in time") from None
    return bytes(body)


def described(problems: Problems) -> str:
    """What is wrong, the values left out: they may be secrets."""
    return "; ".join(f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}" for problem in problems)


def problems_of(error: ValidationError) -> Problems:
    return error.errors(include_url=False, include_context=False, include_input=False)


def validated(
    raw: bytes,
    model: type[Model],
    *,
    nul: bool = False,
    invalid: type[InvalidInput] = InvalidInput,
    describe: Callable[[Problems], str] = described,
) -> Model:
    """JSON as ``model``; ``invalid`` for anything else. ``nul``: NUL characters are allowed, as in a file."""
    try:
        parsed = model.model_validate_json(raw)
        has_nul = not nul and b"\\u0000" in raw and ESCAPED_NUL.search(raw) is not None
    except ValidationError as error:
        raise invalid(describe(problems_of(error))) from None
    except RecursionError:
        raise invalid("The body is nested too deeply") from None
    if has_nul:
        raise invalid("Text must not contain NUL characters")
    return parsed
