"""Secrets of a team."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True)
class TeamSecret:
    """``value`` is sealed. ``hosts``: those that it may be sent to; empty: any. ``placeholder`` names it in
    public."""

    id: str
    team_id: str
    name: str
    description: str | None
    hosts: tuple[str, ...]
    placeholder: str
    value: str = field(repr=False)
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class SecretChange:
    """None leaves a field as it is."""

    value: str | None = field(default=None, repr=False)
    description: str | None = None
    hosts: tuple[str, ...] | None = None


class SecretSort(StrEnum):
    NAME = "name"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@dataclass(frozen=True)
class SecretQuery:
    """``name``: a part of it."""

    name: str | None = None
    sort: SecretSort = SecretSort.CREATED_AT
    descending: bool = True
    cursor: str | None = None
    limit: int = 100
