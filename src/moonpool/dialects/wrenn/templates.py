"""Templates: what capsules are made from. Wrenn files them under ``snapshots``."""

from fastapi import APIRouter
from starlette.responses import Response

from moonpool.dialects.wrenn.mapping import template
from moonpool.dialects.wrenn.requests import Caller, Provided, answer_list
from moonpool.dialects.wrenn.schemas import Type
from moonpool.errors import InvalidInput
from moonpool.snapshots.model import SnapshotQuery, SnapshotSort
from moonpool.snapshots.service import MAX_PAGE_SIZE

router = APIRouter()


@router.get("/v1/snapshots")
async def list_templates(services: Provided, principal: Caller, type: str | None = None) -> Response:
    """All of them: Wrenn has no pages."""
    if type is not None and type not in list(Type):
        raise InvalidInput(f"type: must be one of {', '.join(Type)}", field="type")
    found = []
    page = 1
    while True:
        query = SnapshotQuery(sort=SnapshotSort.NAME, descending=False, page=page, limit=MAX_PAGE_SIZE)
        listed = await services.snapshots.list(principal, query)
        found += [template(snapshot) for snapshot in listed.items]
        if len(listed.items) < MAX_PAGE_SIZE:
            return answer_list([item for item in found if type is None or item.type == type])
        page += 1
