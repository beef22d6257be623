"""Templates: what capsules are made from. Wrenn files them under ``snapshots``."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request
from starlette.responses import Response

from moonpool.access.model import Principal
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.lookup import living
from moonpool.dialects.wrenn.mapping import template
from moonpool.dialects.wrenn.requests import Caller, Provided, answer, answer_list, parse
from moonpool.dialects.wrenn.schemas import CreateSnapshotRequest, Type
from moonpool.errors import InvalidInput, SnapshotNotFound
from moonpool.snapshots.model import Snapshot, SnapshotQuery, SnapshotSort, SnapshotState
from moonpool.snapshots.service import MAX_PAGE_SIZE

router = APIRouter()


@router.get("/v1/snapshots")
async def list_templates(services: Provided, principal: Caller, type: str | None = None) -> Response:
    """All of them, but for those that could not be made: Wrenn has neither pages nor states of templates."""
    if type is not None and type not in list(Type):
        raise InvalidInput(f"type: must be one of {', '.join(Type)}", field="type")
    found = []
    page = 1
    while True:
        query = SnapshotQuery(sort=SnapshotSort.NAME, descending=False, page=page, limit=MAX_PAGE_SIZE)
        listed = await services.snapshots.list(principal, query)
        found += [template(snapshot) for snapshot in listed.items if snapshot.state is not SnapshotState.ERROR]
        if len(listed.items) < MAX_PAGE_SIZE:
            return answer_list([item for item in found if type is None or item.type == type])
        page += 1


@router.post("/v1/snapshots")
async def create_template(request: Request, services: Provided, principal: Caller, overwrite: bool = False) -> Response:
    """Disk and, of a capsule that runs or is paused, memory: capsules made from it go on where that one was."""
    wanted = await parse(request, CreateSnapshotRequest)
    source = await living(services, principal, wanted.sandbox_id)
    async with out_of_the_way(services, principal, wanted.name if overwrite else None):
        made = await services.snapshots.capture(principal, source.id, name=wanted.name)
    return answer(template(made), 201)


@asynccontextmanager
async def out_of_the_way(services: Services, principal: Principal, name: str | None) -> AsyncIterator[None]:
    """The team's template of this name gives it away meanwhile, and is gone afterwards; not after a failure."""
    old = await own_template(services, principal, name) if name is not None else None
    if old is None:
        yield
        return
    await services.snapshots.update(principal, old.id, name=old.id)
    try:
        yield
    except BaseException:
        await services.snapshots.update(principal, old.id, name=old.name)
        raise
    await services.snapshots.delete(principal, old.id)


async def own_template(services: Services, principal: Principal, name: str) -> Snapshot | None:
    with contextlib.suppress(SnapshotNotFound):
        found = await services.snapshots.get(principal, name)
        return None if found.general or found.name != name else found
    return None


@router.delete("/v1/snapshots/{name}")
async def delete_template(name: str, services: Provided, principal: Caller) -> Response:
    await services.snapshots.delete(principal, name)
    return Response(status_code=204)
