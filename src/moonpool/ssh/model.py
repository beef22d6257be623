"""What lets a client in by SSH."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SshAccess:
    """A token as it is stored: its secret is gone."""

    id: str
    team_id: str
    sandbox_id: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Visitor:
    """Whom a user's name has let in, as ``user`` (None: the sandbox's own). ``id`` names what ended, when it has."""

    id: str
    sandbox_id: str
    user: str | None = None


@dataclass(frozen=True)
class NewSshAccess:
    """A token just made: ``token`` is shown once. It is the user's name for SSH."""

    access: SshAccess
    token: str
