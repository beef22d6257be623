"""Log records, spans and traces as they are kept, and what can be asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Settings name a target, and commands that read them do without the engine.
    from moonpool.sandboxes.model import Sandbox


class Signal(StrEnum):
    """Programs' own metrics are handed on, and not kept: the figures of a sandbox are measured from outside."""

    LOGS = "logs"
    TRACES = "traces"
    METRICS = "metrics"


@dataclass(frozen=True)
class LogRecord:
    """``at`` in nanoseconds since 1970; ids in hexadecimal."""

    at: int
    body: str
    severity: int
    severity_text: str
    service: str
    resource: Mapping[str, str]
    attributes: Mapping[str, str]
    trace_id: str | None = None
    span_id: str | None = None


class Status(StrEnum):
    UNSET = "Unset"
    OK = "Ok"
    ERROR = "Error"


@dataclass(frozen=True)
class Span:
    """``at`` as above, ``duration`` in nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    at: int
    duration: int
    service: str
    attributes: Mapping[str, str]
    status: Status
    status_message: str


@dataclass(frozen=True)
class Trace:
    """The sum of a trace's spans; ``name`` and ``status`` are those of its root, or of its first span."""

    trace_id: str
    name: str
    begin: int
    end: int
    spans: int
    status: Status


@dataclass(frozen=True)
class TelemetryQuery:
    """A page (from 1) of what happened between two moments, the newest first. ``severities`` (text, in any case) and
    ``search`` (anywhere in a body, in any case) are of logs."""

    since: datetime
    until: datetime
    page: int = 1
    limit: int = 100
    severities: tuple[str, ...] = ()
    search: str = ""


@dataclass(frozen=True)
class Target:
    """Where telemetry goes on to: ``/v1/logs`` and the like are added to ``endpoint``."""

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class KeptTarget:
    """A team's, as it is stored: ``headers`` are encrypted."""

    team_id: str
    endpoint: str
    headers: str = field(repr=False)
    updated_at: datetime


def marks_of(sandbox: "Sandbox") -> dict[str, str]:
    """What collectors are told of whose something is."""
    return {"sandbox.id": sandbox.id, "sandbox.name": sandbox.name, "organization.id": sandbox.team_id}
