"""Reading JSON bodies, with what is wrong told in Daytona's words."""

from starlette.requests import Request

from moonpool.dialects.common import bodies
from moonpool.dialects.common.bodies import Model, read_body
from moonpool.dialects.daytona.errors import validation_message
from moonpool.errors import InvalidInput

BODY_LIMIT = 10 * 1024 * 1024  # bytes


async def parse(request: Request, model: type[Model]) -> Model:
    """The JSON body as ``model``; no body at all counts as an empty object.

    Raises TooLarge beyond ``BODY_LIMIT``, InvalidInput for malformed JSON, wrong types, ranges and NUL characters.
    """
    return validated(await read_body(request, BODY_LIMIT), model, InvalidInput)


def validated(raw: bytes, model: type[Model], invalid: type[InvalidInput], prefix: str = "") -> Model:
    """Raises ``invalid``; ``prefix`` begins its message."""

    def describe(problems: bodies.Problems) -> str:
        return prefix + validation_message(problems)

    return bodies.validated(raw or b"{}", model, invalid=invalid, describe=describe)
