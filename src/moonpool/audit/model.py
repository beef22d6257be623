"""Entries of the audit log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class ActorKind(StrEnum):
    """``UNKNOWN``: nobody was let in."""

    USER = "user"
    API_KEY = "api_key"
    SYSTEM = "system"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """``REFUSED``: not let in, not allowed, or over a rate."""

    SUCCESS = "success"
    FAILURE = "failure"
    REFUSED = "refused"


@dataclass(frozen=True)
class Deed:
    """A request as it ended. ``answer`` is its JSON answer's beginning, in which a made thing's id or the reason of a
    failure is looked for; ``status`` is HTTP's. ``target_id`` is as the API that was asked names it."""

    api: str
    action: str
    target_type: str
    target_id: str | None
    status: int
    at: datetime
    team_id: str | None = None
    user_id: str | None = None
    key_id: str | None = None
    address: str | None = None
    agent: str | None = None
    request_id: str | None = None
    answer: bytes = b""
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        if self.status in (401, 403, 429):
            return Outcome.REFUSED
        return Outcome.SUCCESS if self.status < 400 else Outcome.FAILURE


@dataclass(frozen=True)
class Actor:
    """As it was called then: users and keys may be gone by the time somebody reads of them."""

    kind: ActorKind
    user_id: str | None = None
    key_id: str | None = None
    name: str = ""
    email: str = ""
    key_prefix: str | None = None
    key_suffix: str | None = None


@dataclass(frozen=True)
class Entry:
    """``id`` grows with time. ``team_id`` None: nobody's, for the platform's admins alone."""

    id: int
    team_id: str | None
    actor: Actor
    api: str
    action: str
    target_type: str
    target_id: str | None
    status: int
    outcome: Outcome
    reason: str | None
    address: str | None
    agent: str | None
    request_id: str | None
    details: Mapping[str, str]
    created_at: datetime


class Operator(StrEnum):
    IS = "is"
    IS_NOT = "is_not"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    MORE = "more"
    LESS = "less"


@dataclass(frozen=True)
class Condition:
    """On one column of the log; ``values`` are alternatives for IS and IS_NOT, and one bound otherwise."""

    column: str
    operator: Operator
    values: tuple[str | int | datetime, ...]


@dataclass(frozen=True)
class AuditQuery:
    """The newest first. ``before``: what is older than that moment and, of the same moment, has a smaller id than
    ``before_id``; a ``cursor`` of an earlier page means both. ``offset`` entries are left out of what is found."""

    limit: int = 50
    cursor: str | None = None
    before: datetime | None = None
    before_id: int | None = None
    offset: int = 0
    conditions: tuple[Condition, ...] = ()
