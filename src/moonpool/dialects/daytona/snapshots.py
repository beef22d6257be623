"""What sandboxes start from, to be listed, looked at and removed."""

import contextlib
import itertools
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona import mapping
from moonpool.dialects.daytona.answers import snapshot_json
from moonpool.dialects.daytona.call import Authenticated, Call
from moonpool.dialects.daytona.listing import Text
from moonpool.dialects.daytona.wire import QueryModel
from moonpool.errors import SandboxNotFound
from moonpool.snapshots.model import Snapshot, SnapshotQuery

MOST = 1000  # snapshots asked for at once

router = APIRouter()


class SnapshotsQuery(QueryModel):
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    limit: Annotated[int, Field(ge=1, le=200)] = 100
    name: Text | None = None
    sourceSandboxId: Text | None = None
    sort: Literal["name", "state", "lastUsedAt", "createdAt"] = "lastUsedAt"
    order: Literal["asc", "desc"] = "desc"


@router.get("/api/snapshots")
async def get_all_snapshots(call: Authenticated, query: Annotated[SnapshotsQuery, Query()]) -> Response:
    found, total = await (everything_of(call, query) if query.sourceSandboxId else one_page(call, query))
    return JSONResponse(
        {
            "items": [snapshot_json(snapshot, call.view) for snapshot in found],
            "total": total,
            "page": query.page,
            "totalPages": -(-total // query.limit),
        }
    )


async def one_page(call: Call, query: SnapshotsQuery) -> tuple[Sequence[Snapshot], int]:
    page = await call.services.snapshots.list(call.principal, wanted(query, query.page, query.limit))
    return page.items, page.total or 0


async def everything_of(call: Call, query: SnapshotsQuery) -> tuple[Sequence[Snapshot], int]:
    """The page of those that were taken of one sandbox, by id or name; it may be gone."""
    with contextlib.suppress(SandboxNotFound):
        sandbox = await call.services.sandboxes.get(call.principal, query.sourceSandboxId or "")
        query = query.model_copy(update={"sourceSandboxId": sandbox.id})
    found: list[Snapshot] = []
    for number in itertools.count(1):
        page = await call.services.snapshots.list(call.principal, wanted(query, number, MOST))
        found += [snapshot for snapshot in page.items if snapshot.source_sandbox_id == query.sourceSandboxId]
        if len(page.items) < MOST:
            break
    first = (query.page - 1) * query.limit
    return found[first : first + query.limit], len(found)


def wanted(query: SnapshotsQuery, page: int, limit: int) -> SnapshotQuery:
    return SnapshotQuery(
        name=query.name,
        sort=mapping.SNAPSHOT_SORTS[query.sort],
        descending=query.order == "desc",
        page=page,
        limit=limit,
    )


@router.get("/api/snapshots/{snapshot}")
async def get_snapshot(call: Authenticated, snapshot: str) -> Response:
    return JSONResponse(snapshot_json(await call.services.snapshots.get(call.principal, snapshot), call.view))


@router.post("/api/snapshots/{snapshot}/activate")
async def activate_snapshot(call: Authenticated, snapshot: str) -> Response:
    activated = await call.services.snapshots.activate(call.principal, snapshot)
    return JSONResponse(snapshot_json(activated, call.view))


@router.post("/api/snapshots/{snapshot}/deactivate", status_code=204)
async def deactivate_snapshot(call: Authenticated, snapshot: str) -> Response:
    await call.services.snapshots.deactivate(call.principal, snapshot)
    return Response(status_code=204)
