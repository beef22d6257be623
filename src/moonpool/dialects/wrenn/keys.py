"""API keys of the session's team."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from moonpool.dialects.wrenn.people import KEY_PREFIX, api_key, bare, new_api_key
from moonpool.dialects.wrenn.requests import Provided, SignedInCaller, answer, answer_list, parse
from moonpool.dialects.wrenn.schemas import CreateAPIKeyRequest

UNNAMED = "Unnamed API Key"

router = APIRouter(prefix="/v1/api-keys")


@router.post("")
async def create_api_key(request: Request, services: Provided, principal: SignedInCaller) -> Response:
    """It may do what whoever makes it may. Wrenn's names need not be unique; ours get a number then."""
    wanted = await parse(request, CreateAPIKeyRequest)
    made = await services.access.create_key(principal, wanted.name or UNNAMED, principal.scopes, numbered=True)
    response = answer(new_api_key(made), 201)
    response.headers["cache-control"] = "no-store"
    return response


@router.get("")
async def list_api_keys(services: Provided, principal: SignedInCaller) -> Response:
    return answer_list([api_key(key) for key in await services.access.list_keys(principal)])


@router.delete("/{id}")
async def delete_api_key(id: str, services: Provided, principal: SignedInCaller) -> Response:
    await services.access.revoke_key(principal, bare(id, KEY_PREFIX))
    return Response(status_code=204)
