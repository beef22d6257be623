"""A build: a recipe on its way to becoming a snapshot."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from moonpool.hosts.model import Resources


class BuildState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({BuildState.SUCCEEDED, BuildState.FAILED, BuildState.CANCELLED})


@dataclass(frozen=True)
class Login:
    """For a registry (host[:port]). In a row its ``password`` is encrypted."""

    registry: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Readiness:
    """A shell command that succeeds when all is there; it is tried every ``interval`` seconds, each time for
    ``timeout`` at most, and for ``patience`` in all."""

    command: str
    interval: float = 1.0
    timeout: float = 10.0
    patience: float = 60.0


@dataclass(frozen=True)
class Recipe:
    """What to make: either ``image``, a reference, or ``dockerfile``, its text.

    ``template`` is the image of a snapshot of this server, which ``FROM template`` in a Dockerfile stands for, and
    ``template_config`` its configuration. ``start`` are shell commands that go on running: the snapshot has their
    memory, as of when the shell command ``ready`` succeeds.
    ``context`` names stored archives whose files a COPY or ADD finds, later ones laid over earlier ones. ``entrypoint``
    takes the place of the image's own command. ``skip_cache``: nothing that was made before is used.
    """

    image: str | None = None
    dockerfile: str | None = None
    context: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    entrypoint: tuple[str, ...] | None = None
    logins: tuple[Login, ...] = ()
    skip_cache: bool = False
    template: str | None = None
    template_config: Mapping[str, Any] = field(default_factory=dict)
    start: tuple[str, ...] = ()
    ready: Readiness | None = None

    def document(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Recipe":
        entrypoint = document["entrypoint"]
        return cls(
            **{
                **document,
                "context": tuple(document["context"]),
                "entrypoint": None if entrypoint is None else tuple(entrypoint),
                "logins": tuple(Login(**login) for login in document["logins"]),
                "start": tuple(document.get("start", ())),
                "ready": Readiness(**ready) if (ready := document.get("ready")) else None,
            }
        )


@dataclass(frozen=True)
class Phase:
    """A part of a build that has begun; it ended when the next one began, or with the build."""

    name: str
    started_at: datetime
    cached: bool = False


@dataclass(frozen=True)
class Build:
    """One row. ``planned`` are the names of the phases to come, as far as they are known; ``phases`` are only ever
    added to. ``reason`` and ``code`` say why it failed."""

    id: str
    team_id: str
    snapshot_id: str
    state: BuildState
    recipe: Recipe
    created_at: datetime
    planned: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    reason: str | None = None
    code: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    dialect_data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class NewBuild:
    """What is asked for. ``name`` and ``id`` are the snapshot's (None: its id, a new one); ``resources`` what sandboxes
    of it get; ``dialect_data`` is the snapshot's, ``build_data`` the build's own. ``general``: the snapshot is there
    for every team; only administrators of the server may ask for that."""

    recipe: Recipe
    resources: Resources
    name: str | None = None
    id: str | None = None
    dialect_data: Mapping[str, Any] = field(default_factory=dict)
    build_data: Mapping[str, Any] = field(default_factory=dict)
    general: bool = False


@dataclass(frozen=True)
class Layer:
    """A disk of the cache. ``config`` is the image's, for one that was fetched."""

    id: str
    team_id: str
    key: str
    config: Mapping[str, Any] | None
    size_bytes: int
    created_at: datetime
    last_used_at: datetime


@dataclass(frozen=True)
class BuildLimits:
    """``resources`` of the machine that a RUN gets, ``step_seconds`` for one, ``seconds`` for a build, ``log_bytes`` of
    its log; ``parallel`` builds at once, ``queued`` of one team. ``cache_bytes``, ``cache_seconds``: layers above that
    size in all, or unused for so long, are removed. ``context_bytes`` of the files that come with a recipe,
    ``contexts_bytes`` of all of a team's."""

    resources: Resources
    step_seconds: float = 1800.0
    seconds: float = 7200.0
    log_bytes: int = 16 << 20
    parallel: int = 2
    queued: int = 100
    context_bytes: int = 2 << 30
    contexts_bytes: int = 10 << 30
    cache_bytes: int = 50 << 30
    cache_seconds: float = 14 * 24 * 3600.0
