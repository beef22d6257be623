"""Reading bodies and queries."""

from pydantic import ValidationError
from starlette.requests import Request

from moonpool.dialects.common.bodies import Model, described, problems_of, read_body, validated
from moonpool.errors import InvalidInput

MAX_BODY = 32 * 1024 * 1024  # bytes; a sandbox may be created with its files


async def parse(request: Request, model: type[Model]) -> Model:
    """The body as ``model``; no body at all counts as an empty object, as the contract's bodies are optional.

    TooLarge; InvalidInput names what is wrong and leaves out values, which may be secrets.
    """
    return validated(await read_body(request, MAX_BODY) or b"{}", model)


def parse_query(request: Request, model: type[Model]) -> Model:
    """The query string as ``model``; InvalidInput."""
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise InvalidInput(described(problems_of(error))) from None
