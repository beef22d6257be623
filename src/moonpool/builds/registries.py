"""Registries that a team has images of its own in."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Registry:
    """``host`` is host[:port]; ``secret`` the encrypted password."""

    id: str
    team_id: str
    name: str
    host: str
    username: str
    secret: str = field(repr=False)
    project: str
    created_at: datetime
    updated_at: datetime
