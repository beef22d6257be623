"""Filters and orders of sandbox lists, of the cursor kind and of the older one by page numbers."""

import json
import math
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from moonpool.dialects.daytona import mapping
from moonpool.dialects.daytona.answers import SANDBOX_CLASS
from moonpool.dialects.daytona.extensions import SandboxClass, SandboxState
from moonpool.dialects.daytona.timestamps import as_utc
from moonpool.dialects.daytona.wire import QueryModel
from moonpool.errors import InvalidInput
from moonpool.sandboxes.query import SandboxQuery

Amount = Annotated[float, Field(ge=1, le=1_000_000, allow_inf_nan=False)]
Gpus = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=255, pattern="^[^\\x00]*$")]
SortField = Literal["name", "cpu", "memoryGib", "diskGib", "lastActivityAt", "createdAt"]


class Filters(QueryModel):
    id: Text | None = None
    name: Text | None = None
    labels: str | None = None
    includeErroredDeleted: bool = False
    includeWarm: bool = False
    states: list[SandboxState] = Field(default_factory=list)
    snapshots: list[Text] = Field(default_factory=list)
    sandboxClasses: list[SandboxClass] = Field(default_factory=list)
    minCpu: Amount | None = None
    maxCpu: Amount | None = None
    minMemoryGiB: Amount | None = None
    maxMemoryGiB: Amount | None = None
    minDiskGiB: Amount | None = None
    maxDiskGiB: Amount | None = None
    minGpu: Gpus | None = None
    maxGpu: Gpus | None = None
    isPublic: bool | None = None
    isRecoverable: bool | None = None
    createdAtAfter: datetime | None = None
    createdAtBefore: datetime | None = None
    lastEventAfter: datetime | None = None
    lastEventBefore: datetime | None = None
    autoDestroyAtAfter: datetime | None = None
    autoDestroyAtBefore: datetime | None = None
    order: Literal["asc", "desc"] = "desc"
    limit: Annotated[int, Field(ge=1, le=200)] = 100


class ListQuery(Filters):
    cursor: Annotated[str, Field(max_length=4096)] | None = None
    regionIds: list[str] = Field(default_factory=list)
    sort: SortField = "createdAt"


class PaginatedQuery(Filters):
    """The old list sorts by more than is known here; such an order falls back to the time of creation."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    regions: list[str] = Field(default_factory=list)
    sort: SortField | Literal["id", "state", "snapshot", "region", "updatedAt"] = "createdAt"

    @property
    def regionIds(self) -> list[str]:
        return self.regions


def nothing_matches(query: ListQuery | PaginatedQuery, region: str) -> bool:
    """Whether a filter asks for what this server never has: other regions, other classes, GPUs, builds."""
    return bool(
        (query.regionIds and region not in query.regionIds)
        or (query.sandboxClasses and SANDBOX_CLASS not in query.sandboxClasses)
        or (query.minGpu or 0) > 0
        or (query.states and not any(state in mapping.STATES_ASKED_FOR for state in query.states))
    )


def sandbox_query(
    query: ListQuery | PaginatedQuery, *, cursor: str | None = None, page: int | None = None
) -> SandboxQuery:
    return SandboxQuery(
        id_prefix=query.id,
        name_prefix=query.name,
        labels=labels(query.labels),
        states=tuple({mapping.STATES_ASKED_FOR[s]: None for s in query.states if s in mapping.STATES_ASKED_FOR}),
        snapshots=tuple(query.snapshots),
        public=query.isPublic,
        recoverable=query.isRecoverable,
        created_after=as_utc(query.createdAtAfter),
        created_before=as_utc(query.createdAtBefore),
        active_after=as_utc(query.lastEventAfter),
        active_before=as_utc(query.lastEventBefore),
        expires_after=as_utc(query.autoDestroyAtAfter),
        expires_before=as_utc(query.autoDestroyAtBefore),
        min_cpu=query.minCpu,
        max_cpu=query.maxCpu,
        min_memory_mib=mebibytes(query.minMemoryGiB),
        max_memory_mib=mebibytes(query.maxMemoryGiB),
        min_disk_mib=mebibytes(query.minDiskGiB),
        max_disk_mib=mebibytes(query.maxDiskGiB),
        include_failed_destroys=query.includeErroredDeleted,
        sort=mapping.SANDBOX_SORTS.get(query.sort, mapping.SANDBOX_SORTS["createdAt"]),
        descending=query.order == "desc",
        cursor=cursor,
        page=page,
        limit=query.limit,
    )


def labels(text: str | None) -> dict[str, str]:
    """The JSON object of a ``labels`` parameter; raises InvalidInput for anything else.

    Old SDKs send ``null`` when there is nothing to filter by.
    """
    if not text or text == "null":
        return {}
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict) or not all(isinstance(value, str) for value in parsed.values()):
        raise InvalidInput("labels must be a JSON object of strings", field="labels")
    if any("\0" in text for pair in parsed.items() for text in pair):
        raise InvalidInput("labels must not contain NUL characters", field="labels")
    return parsed


def mebibytes(gibibytes: float | None) -> int | None:
    return None if gibibytes is None else math.ceil(gibibytes * mapping.MEBIBYTES_PER_GIBIBYTE)
