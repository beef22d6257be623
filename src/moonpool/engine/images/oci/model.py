"""What is fetched, from where, and how much of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moonpool.engine.images.oci.reference import Reference

GIBIBYTE = 1024**3


@dataclass(frozen=True)
class Credentials:
    """For one registry (host[:port])."""

    registry: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Registry:
    """An image in a registry."""

    reference: Reference
    credentials: Credentials | None = None


@dataclass(frozen=True)
class Archive:
    """An OCI layout (a folder), or an archive of one (``docker``: as ``docker save`` writes it)."""

    path: Path
    docker: bool = False


@dataclass(frozen=True)
class Stored:
    """An image whose parts are files of this machine, in one folder: each named by its SHA-256 in hexadecimal, as is
    the manifest, or index, that ``digest`` means."""

    blobs: Path
    digest: str


Source = Registry | Archive | Stored


@dataclass(frozen=True)
class FetchPolicy:
    """``allowed`` registries (host[:port]) may have private addresses, ``insecure`` ones may in addition speak plain
    HTTP or show any certificate. Every other host must have a public address."""

    allowed: frozenset[str] = frozenset()
    insecure: frozenset[str] = frozenset()

    def permits_private(self, host: str, port: int) -> bool:
        return bool({host, f"{host}:{port}"} & (self.allowed | self.insecure))

    def is_insecure(self, registry: str) -> bool:
        return registry in self.insecure


@dataclass(frozen=True)
class ImageLimits:
    """``download`` and ``unpacked`` in bytes, ``files`` of all layers together, ``seconds`` for all of it."""

    download: int = 10 * GIBIBYTE
    unpacked: int = 20 * GIBIBYTE
    files: int = 1_000_000
    seconds: float = 1800.0


@dataclass(frozen=True)
class ImageConfig:
    """How its maker wants an image to be run. ``entrypoint`` and ``cmd`` None: not said. ``ports`` as ``8080/tcp``."""

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    shell: tuple[str, ...] | None = None
    stop_signal: str | None = None
    healthcheck: Mapping[str, Any] | None = None
    onbuild: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        """What a container of it would run."""
        return (*(self.entrypoint or ()), *(self.cmd or ()))

    def document(self) -> dict[str, Any]:
        """As the image format has it, without what is not said."""
        parts: dict[str, Any] = {
            "Entrypoint": None if self.entrypoint is None else list(self.entrypoint),
            "Cmd": None if self.cmd is None else list(self.cmd),
            "Env": [f"{name}={value}" for name, value in self.env.items()],
            "User": self.user,
            "WorkingDir": self.workdir,
            "ExposedPorts": {port: {} for port in self.ports},
            "Volumes": {path: {} for path in self.volumes},
            "Labels": dict(self.labels),
            "Shell": None if self.shell is None else list(self.shell),
            "StopSignal": self.stop_signal,
            "Healthcheck": self.healthcheck,
            "OnBuild": list(self.onbuild),
        }
        return {name: part for name, part in parts.items() if part not in (None, "", [], {}) or name == "Entrypoint"}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "ImageConfig":
        """The inverse of ``document``; takes what it can use of anything, since images are made by many hands."""
        return cls(
            entrypoint=_words(document.get("Entrypoint")),
            cmd=_words(document.get("Cmd")),
            env=dict(entry.split("=", 1) for entry in _words(document.get("Env")) or () if "=" in entry[1:]),
            user=_text(document.get("User")),
            workdir=_text(document.get("WorkingDir")),
            ports=tuple(_table(document.get("ExposedPorts"))),
            volumes=tuple(_table(document.get("Volumes"))),
            labels={name: _text(value) for name, value in _table(document.get("Labels")).items()},
            shell=_words(document.get("Shell")),
            stop_signal=_text(document.get("StopSignal")) or None,
            healthcheck=_table(document.get("Healthcheck")) or None,
            onbuild=_words(document.get("OnBuild")) or (),
        )


def _words(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,)
    return tuple(_text(item) for item in value) if isinstance(value, list) else None


def _text(value: object) -> str:
    return value.replace("\0", "") if isinstance(value, str) else ""


def _table(value: object) -> dict[str, Any]:
    return {_text(name): item for name, item in value.items()} if isinstance(value, dict) else {}
