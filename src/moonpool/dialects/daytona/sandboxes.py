"""Making, finding and ending sandboxes, and changing their state."""

from asyncio import timeout
from collections.abc import Awaitable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona.answers import listed_json, sandbox_json
from moonpool.dialects.daytona.builds import create_from_build
from moonpool.dialects.daytona.call import Authenticated, Call, default_queue_timeout
from moonpool.dialects.daytona.clients import sdk_version
from moonpool.dialects.daytona.creation import checked, new_sandbox
from moonpool.dialects.daytona.extensions import CreateSandbox
from moonpool.dialects.daytona.listing import ListQuery, PaginatedQuery, nothing_matches, sandbox_query
from moonpool.dialects.daytona.requests import parse
from moonpool.dialects.daytona.secrets import refusal
from moonpool.errors import (
    AgentTimeout,
    InvalidInput,
    InvalidState,
    NotSupported,
    SandboxNotFound,
    SecretNotFound,
    SnapshotNotFound,
)
from moonpool.sandboxes.model import Sandbox, SandboxState

ANSWER_WITHIN = 30.0  # seconds that a change of state may keep the client; then it is told the state as it is
PAGES_SINCE = (0, 113)  # version of the SDK

router = APIRouter()


async def settle(call: Call, sandbox: str, change: Awaitable[Sandbox]) -> Response:
    """Answer with the sandbox after ``change``, or as it is after ``ANSWER_WITHIN``; the change goes on then."""
    try:
        async with timeout(ANSWER_WITHIN):
            return answer(call, await change)
    except TimeoutError:
        return answer(call, await call.services.sandboxes.get(call.principal, sandbox))


def answer(call: Call, sandbox: Sandbox) -> Response:
    return JSONResponse(sandbox_json(sandbox, call.view))


@router.post("/api/sandbox")
async def create_sandbox(request: Request, call: Authenticated) -> Response:
    body = await parse(request, CreateSandbox)
    if body.buildInfo is not None:
        return await create_from_build(call, checked(body), body.buildInfo)
    new = new_sandbox(call.principal, body, call.view.region, default_queue_timeout(call))
    try:
        return await settle(call, new.id or "", call.services.sandboxes.create(call.principal, new))
    except (NotSupported, SecretNotFound) as error:
        raise refusal(error) from None
    except SandboxNotFound:  # Its row waits for a turn in the store.
        raise AgentTimeout("The server is too busy", hint="List the sandboxes in a while: it may come to be.") from None
    except SnapshotNotFound:
        hint = "GET /api/snapshots lists what is there."
        raise InvalidInput(f"Snapshot {new.snapshot} not found", field="snapshot", hint=hint) from None


@router.get("/api/sandbox")
async def list_sandboxes(request: Request, call: Authenticated, query: Annotated[ListQuery, Query()]) -> Response:
    version = sdk_version(request.headers)
    if version is not None and version < PAGES_SINCE:
        return JSONResponse(await whole_list(call, query))
    items: list[dict[str, Any]] = []
    next_cursor = None
    if not nothing_matches(query, call.view.region):
        page = await call.services.sandboxes.list(call.principal, sandbox_query(query, cursor=query.cursor))
        items = [listed_json(sandbox, call.view) for sandbox in page.items]
        next_cursor = page.next_cursor
    return JSONResponse({"items": items, "nextCursor": next_cursor})


async def whole_list(call: Call, query: ListQuery) -> list[dict[str, Any]]:
    """What SDKs take a list for that know neither cursors nor pages."""
    items: list[dict[str, Any]] = []
    wanted = sandbox_query(query)
    while True:
        page = await call.services.sandboxes.list(call.principal, wanted)
        items += [sandbox_json(sandbox, call.view) for sandbox in page.items]
        if page.next_cursor is None:
            return items
        wanted = replace(wanted, cursor=page.next_cursor)


@router.get("/api/sandbox/paginated")
async def list_sandboxes_paginated(call: Authenticated, query: Annotated[PaginatedQuery, Query()]) -> Response:
    """The list of clients before cursors came."""
    items: list[dict[str, Any]] = []
    total = 0
    if not nothing_matches(query, call.view.region):
        page = await call.services.sandboxes.list(call.principal, sandbox_query(query, page=query.page))
        items = [sandbox_json(sandbox, call.view) for sandbox in page.items]
        total = page.total or 0
    pages = -(-total // query.limit)
    return JSONResponse({"items": items, "total": total, "page": query.page, "totalPages": pages})


@router.get("/api/sandbox/{sandbox}")
async def get_sandbox(call: Authenticated, sandbox: str) -> Response:
    return answer(call, await call.services.sandboxes.get(call.principal, sandbox))


@router.delete("/api/sandbox/{sandbox}")
async def delete_sandbox(call: Authenticated, sandbox: str) -> Response:
    """Answers at once; the SDK waits for ``destroyed``, or for 404, where its user wants that."""
    return answer(call, await call.services.sandboxes.destroy(call.principal, sandbox, wait=False))


@router.post("/api/sandbox/{sandbox}/start")
async def start_sandbox(call: Authenticated, sandbox: str) -> Response:
    return await settle(call, sandbox, call.services.sandboxes.start(call.principal, sandbox))


@router.post("/api/sandbox/{sandbox}/stop")
async def stop_sandbox(call: Authenticated, sandbox: str, force: bool = False) -> Response:
    """Stopping never asks the programs inside, so ``force`` changes nothing."""
    return await settle(call, sandbox, call.services.sandboxes.stop(call.principal, sandbox))


@router.post("/api/sandbox/{sandbox}/pause")
async def pause_sandbox(call: Authenticated, sandbox: str) -> Response:
    return await settle(call, sandbox, call.services.sandboxes.pause(call.principal, sandbox))


@router.post("/api/sandbox/{sandbox}/archive")
async def archive_sandbox(call: Authenticated, sandbox: str) -> Response:
    """Answers at once with ``archiving``; a start calls it off, or brings the sandbox back."""
    return answer(call, await call.services.sandboxes.archive(call.principal, sandbox, wait=False))


@router.post("/api/sandbox/{sandbox}/backup")
async def create_backup(call: Authenticated, sandbox: str) -> Response:
    """Answers at once; ``backupState`` tells how it goes."""
    return answer(call, await call.services.sandboxes.back_up(call.principal, sandbox))


@router.post("/api/sandbox/{sandbox}/recover")
async def recover_sandbox(call: Authenticated, sandbox: str, skipStart: bool = False) -> Response:
    """Bring a failed sandbox back from its disk; with ``skipStart`` it stays stopped."""
    sandboxes = call.services.sandboxes
    found = await sandboxes.get(call.principal, sandbox)
    if found.state is not SandboxState.ERROR:
        raise InvalidState("Sandbox is not in an error state", state=found.state)
    if not found.recoverable:
        raise InvalidState("The error of this sandbox is not recoverable", state=found.state)
    change = sandboxes.stop if skipStart else sandboxes.start
    return await settle(call, found.id, change(call.principal, found.id))
