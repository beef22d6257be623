"""An identity, what lets it in, and where to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from moonpool.access.model import Principal

Users = tuple[str, ...] | None
"""Linux users as whom an identity may act; None: as any."""


@dataclass(frozen=True)
class Identity:
    id: str
    team_id: str
    created_at: datetime


@dataclass(frozen=True)
class Permission:
    """For one sandbox. ``granted_by`` is a user's id."""

    id: str
    identity_id: str
    team_id: str
    sandbox_id: str
    users: Users
    granted_by: str
    created_at: datetime


@dataclass(frozen=True)
class IdentityToken:
    """As it is stored: its secret is gone."""

    id: str
    identity_id: str
    team_id: str
    created_at: datetime


@dataclass(frozen=True)
class NewIdentityToken:
    """``secret`` is shown once and cannot be had again."""

    token: IdentityToken
    secret: str


@dataclass(frozen=True)
class Guest:
    """Whom a token has let in. ``principal`` sees the sandboxes of ``permissions`` alone, and changes nothing that
    belongs to the team."""

    identity_id: str
    token_id: str
    principal: Principal
    permissions: Mapping[str, Users]

    def may_act_as(self, sandbox_id: str, user: str) -> bool:
        if sandbox_id not in self.permissions:
            return False
        users = self.permissions[sandbox_id]
        return users is None or user in users
