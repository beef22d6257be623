"""What sandboxes start from, to be listed and looked at."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona import mapping
from moonpool.dialects.daytona.answers import snapshot_json
from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.listing import Text
from moonpool.dialects.daytona.wire import QueryModel
from moonpool.snapshots.model import SnapshotQuery

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
    if query.sourceSandboxId:  # no snapshot here was made from a sandbox
        return JSONResponse({"items": [], "total": 0, "page": query.page, "totalPages": 0})
    page = await call.services.snapshots.list(
        call.principal,
        SnapshotQuery(
            name=query.name,
            sort=mapping.SNAPSHOT_SORTS[query.sort],
            descending=query.order == "desc",
            page=query.page,
            limit=query.limit,
        ),
    )
    total = page.total or 0
    return JSONResponse(
        {
            "items": [snapshot_json(snapshot, call.view) for snapshot in page.items],
            "total": total,
            "page": query.page,
            "totalPages": -(-total // query.limit),
        }
    )


@router.get("/api/snapshots/{snapshot}")
async def get_snapshot(call: Authenticated, snapshot: str) -> Response:
    return JSONResponse(snapshot_json(await call.services.snapshots.get(call.principal, snapshot), call.view))
