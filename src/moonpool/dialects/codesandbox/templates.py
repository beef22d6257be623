"""Templates: sandboxes with a tag, and readable names of tags."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from moonpool.dialects.codesandbox.call import Authenticated
from moonpool.dialects.codesandbox.creation import Wanted, make
from moonpool.dialects.codesandbox.details import Details, first_tags
from moonpool.dialects.codesandbox.errors import success
from moonpool.dialects.codesandbox.requests import parse
from moonpool.dialects.codesandbox.schemas import (
    StartOptions,
    TemplateCreateRequest,
    VMAssignTagAliasRequest,
    VMCreateTagRequest,
)

router = APIRouter()


@router.post("/templates")
async def create_template(request: Request, call: Authenticated) -> Response:
    """A copy that is still to be made what it shall be, and the tag under which it can be forked by then. One for each
    cluster, and there is one."""
    body = await parse(request, TemplateCreateRequest)
    details = Details(title=body.title or None, description=body.description, tags=first_tags(body.tags))
    made = await make(call, body.forkOf, Wanted(details, StartOptions()))
    tag = await call.services.tags.create(call.principal, [made.id])
    return success({"tag": tag, "sandboxes": [{"id": made.id, "cluster": call.cluster}]}, 201)


@router.post("/vm/tag")
async def create_tag(request: Request, call: Authenticated) -> Response:
    body = await parse(request, VMCreateTagRequest)
    return success({"tag_id": await call.services.tags.create(call.principal, body.vm_ids)})


@router.put("/vm/alias/{namespace}/{alias}")
async def assign_alias(request: Request, call: Authenticated, namespace: str, alias: str) -> Response:
    body = await parse(request, VMAssignTagAliasRequest)
    assigned = await call.services.tags.assign(call.principal, namespace, alias, body.tag_id)
    return success(
        {
            "tag_alias_id": assigned.id,
            "team_id": assigned.team_id,
            "tag_id": assigned.tag_id,
            "namespace": assigned.namespace,
            "alias": assigned.alias,
        }
    )
