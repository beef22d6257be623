"""Receivers, and what is on its way to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from moonpool.events.model import Event


class Kind(StrEnum):
    """Who has it: Daytona's webhooks or Wrenn's channels; each is told in its own words."""

    ENDPOINT = "endpoint"
    CHANNEL = "channel"


class Provider(StrEnum):
    WEBHOOK = "webhook"
    DISCORD = "discord"
    SLACK = "slack"
    TEAMS = "teams"
    GOOGLECHAT = "googlechat"
    TELEGRAM = "telegram"
    MATRIX = "matrix"


@dataclass(frozen=True)
class Receiver:
    """``events`` empty: all. ``config`` is sealed: an address and secrets. ``failing_since``: nothing arrived since."""

    id: str
    team_id: str
    kind: Kind
    provider: Provider
    name: str
    description: str
    events: tuple[str, ...]
    config: str = field(repr=False)
    enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime

    def wants(self, event: Event, message_type: str) -> bool:
        if not self.enabled or event.team_id != self.team_id or event.created_at < self.created_at:
            return False
        return not self.events or message_type in self.events


@dataclass(frozen=True)
class Message:
    """What an event is in the words of one API; ``body`` is JSON-able."""

    type: str
    body: Mapping[str, Any]


# Of each kind of receiver; pure, and of the event alone, since what it tells of may be gone by then.
Render = Callable[[Event], Sequence[Message]]


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True)
class Attempt:
    """``status``: of the answer, where there was one; ``error`` names neither address nor secret."""

    at: datetime
    status: int | None
    error: str | None
    milliseconds: int


@dataclass(frozen=True)
class Delivery:
    """``message_id`` stays over retries and replays, so that a receiver can tell what it has had.
    ``body`` is the JSON text as it was rendered first."""

    id: int
    receiver_id: str
    team_id: str
    subject_id: str
    message_id: str
    type: str
    body: str
    state: DeliveryState
    attempts: tuple[Attempt, ...]
    next_attempt_at: datetime
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class NewEndpoint:
    """``events`` empty: all. ``secret`` None: one is made."""

    url: str
    description: str = ""
    events: tuple[str, ...] = ()
    secret: str | None = None


@dataclass(frozen=True)
class EndpointChange:
    """None leaves a field as it is."""

    url: str | None = None
    description: str | None = None
    events: tuple[str, ...] | None = None
    enabled: bool | None = None


@dataclass(frozen=True)
class PortalVisit:
    """What opens a team's webhooks to a browser, as it is stored: a link until somebody has ``entered`` by it. Whoever
    asked for it did so with that key, or (None) signed in."""

    id: str
    team_id: str
    user_id: str
    key_id: str | None
    entered: bool
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Opened:
    """A receiver with its address; ``secret`` where it was made just now, and never again."""

    receiver: Receiver
    url: str
    secret: str | None = None
