"""What opens a private preview."""

from dataclasses import dataclass
from datetime import datetime

LINK_LENGTH = 16  # characters [a-z0-9] of a signed link's token: 82 bits


@dataclass(frozen=True)
class PreviewToken:
    """A token as it is stored: its secret is gone, ``prefix`` lets a human recognise it. ``expires_at`` None: never."""

    id: str
    team_id: str
    sandbox_id: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True)
class NewPreviewToken:
    """A token just made: ``secret`` is shown once and cannot be had again."""

    token: PreviewToken
    secret: str


@dataclass(frozen=True)
class PreviewHost:
    """A host or origin whose pages may embed and drive the team's previews."""

    host: str
    created_at: datetime


@dataclass(frozen=True)
class SignedLink:
    """What opens one port of one sandbox for a while, to whoever has it."""

    team_id: str
    sandbox_id: str
    port: int
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class DomainMapping:
    """A domain under which a port of a sandbox is open to everybody. ``domain`` is in lower case, without a port."""

    domain: str
    team_id: str
    sandbox_id: str
    port: int
    created_at: datetime


@dataclass(frozen=True)
class NewLink:
    """A signed link just made: ``token`` is shown once."""

    link: SignedLink
    token: str
