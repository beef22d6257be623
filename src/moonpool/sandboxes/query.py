"""What a list asks for, and the pages it answers with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from moonpool.sandboxes.model import SandboxState
from moonpool.store.paging import Page

__all__ = ["Page", "SandboxQuery", "SandboxSort"]


class SandboxSort(StrEnum):
    NAME = "name"
    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    LAST_ACTIVITY_AT = "last_activity_at"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@dataclass(frozen=True)
class SandboxQuery:
    """Filters, all of which must match; empty or None does not filter. Prefixes ignore case, ranges include their ends.

    Destroyed sandboxes are left out unless ``states`` names them; failed ones on their way to destruction unless
    ``include_failed_destroys``. Either ``cursor`` (from a page before, with the same filters and order) or ``page``
    (from 1; then the page carries a total) steps through the result; ``limit`` None means everything.
    """

    ids: tuple[str, ...] = ()
    id_prefix: str | None = None
    name_prefix: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    states: tuple[SandboxState, ...] = ()
    snapshots: tuple[str, ...] = ()
    public: bool | None = None
    recoverable: bool | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    active_after: datetime | None = None
    active_before: datetime | None = None
    expires_after: datetime | None = None
    expires_before: datetime | None = None
    min_cpu: float | None = None
    max_cpu: float | None = None
    min_memory_mib: int | None = None
    max_memory_mib: int | None = None
    min_disk_mib: int | None = None
    max_disk_mib: int | None = None
    include_failed_destroys: bool = False
    sort: SandboxSort = SandboxSort.CREATED_AT
    descending: bool = True
    cursor: str | None = None
    page: int | None = None
    limit: int | None = 100
