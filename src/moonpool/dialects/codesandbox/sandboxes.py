"""Sandboxes: list, get, create, fork."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from moonpool.dialects.codesandbox.call import Authenticated
from moonpool.dialects.codesandbox.contents import Package, contents, write_contents
from moonpool.dialects.codesandbox.creation import Wanted, checked_privacy, created_json, make
from moonpool.dialects.codesandbox.details import TAG, Details, details_of, first_tags
from moonpool.dialects.codesandbox.errors import success
from moonpool.dialects.codesandbox.mapping import DEFAULT_TEMPLATE, SORTS
from moonpool.dialects.codesandbox.requests import parse, parse_query
from moonpool.dialects.codesandbox.schemas import (
    AutomaticWakeupConfig,
    Runtime,
    SandboxCreateRequest,
    SandboxForkRequest,
    StartOptions,
)
from moonpool.dialects.codesandbox.starting import start, waking
from moonpool.dialects.codesandbox.timestamps import timestamp
from moonpool.dialects.codesandbox.wire import WireModel
from moonpool.errors import InvalidInput
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.query import SandboxQuery

MAX_DESCRIPTION = 4096  # characters

router = APIRouter()


class ListQuery(WireModel):
    tags: str | None = None
    order_by: Literal["inserted_at", "updated_at"] = "updated_at"
    direction: Literal["asc", "desc"] = "desc"
    page_size: Annotated[int, Field(ge=1, le=50)] = 20
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    status: Literal["running"] | None = None


@router.get("/sandbox")
async def list_sandboxes(request: Request, call: Authenticated) -> Response:
    """Those that have every one of the tags."""
    query = parse_query(request, ListQuery)
    tags = [tag.strip() for tag in (query.tags or "").split(",")]
    page = await call.services.sandboxes.list(
        call.principal,
        SandboxQuery(
            labels={tag: TAG for tag in tags if tag},
            states=(SandboxState.RUNNING,) if query.status else (),
            sort=SORTS[query.order_by],
            descending=query.direction == "desc",
            page=query.page,
            limit=query.page_size,
        ),
    )
    total = page.total or 0
    pagination = {
        "total_records": total,
        "current_page": query.page,
        "next_page": query.page + 1 if query.page * query.page_size < total else None,
    }
    return success({"sandboxes": [sandbox_json(sandbox) for sandbox in page.items], "pagination": pagination})


@router.get("/sandbox/{id}")
async def get_sandbox(call: Authenticated, id: str) -> Response:
    return success(sandbox_json(await call.services.sandboxes.get(call.principal, id)))


@router.post("/sandbox")
async def create_sandbox(request: Request, call: Authenticated) -> Response:
    """On the template's machine, where its own tools build what is for a browser."""
    body = await parse(request, SandboxCreateRequest)
    check_creation(body)
    files = contents(body.files, Package(body.entry, body.npm_dependencies))
    made = await make(call, body.template or DEFAULT_TEMPLATE, Wanted(details_of_body(body), StartOptions()))
    try:
        await write_contents(call, made, files)
    except BaseException:  # Also a client that has gone: it never learns the sandbox's id.
        await asyncio.shield(call.services.sandboxes.destroy(call.principal, made.id))
        raise
    return success(created_json(made), 201)


def check_creation(body: SandboxCreateRequest) -> None:
    """The contract's default runtime is the browser; who says nothing means no runtime in particular."""
    if body.runtime is Runtime.browser and "runtime" in body.model_fields_set:
        message = "runtime: nothing here bundles files for a browser; vm has them in a workspace, where tools can run"
        raise InvalidInput(message, field="runtime")
    if body.external_resources:
        message = "external_resources: nothing puts them into pages here; name them in the sandbox's own HTML"
        raise InvalidInput(message, field="external_resources")
    if len(body.description or "") > MAX_DESCRIPTION:
        raise InvalidInput(f"description: at most {MAX_DESCRIPTION} characters", field="description")


@router.post("/sandbox/{id}/fork")
async def fork_sandbox(request: Request, call: Authenticated, id: str) -> Response:
    """Copies run from the first moment on, whether ``start_options`` ask for a start or the client does so later."""
    body = await parse(request, SandboxForkRequest)
    options = body.start_options or StartOptions()
    made = await make(call, id, Wanted(details_of_body(body, options.automatic_wakeup_config), options))
    if body.start_options is None:
        return success(created_json(made), 201)
    return success(created_json(made, await start(call, made.id, options)), 201)


def details_of_body(
    body: SandboxCreateRequest | SandboxForkRequest, wakeup: AutomaticWakeupConfig | None = None
) -> Details:
    details = Details(
        title=body.title or None,
        description=body.description,
        privacy=checked_privacy(body.privacy),
        private_preview=body.private_preview is not False,
        is_frozen=bool(body.is_frozen),
        path=body.path or "/",
        tags=first_tags(body.tags),
    )
    return details if wakeup is None else waking(details, wakeup)


def sandbox_json(sandbox: Sandbox) -> dict[str, Any]:
    details = details_of(sandbox)
    return {
        "id": sandbox.id,
        "title": details.title,
        "description": details.description,
        "privacy": details.privacy,
        "is_frozen": details.is_frozen,
        "tags": list(details.tags),
        "settings": {"use_pint": False},
        "created_at": timestamp(sandbox.created_at),
        "updated_at": timestamp(sandbox.updated_at),
    }
