"""Archives as the core knows them, and what stands in a store.

An archive is a disk as a stream, cut into parts that are compressed each by itself and named by their checksums. Its
manifest lists them, is written last, and is itself known by its checksum, which only the server's own row holds.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from moonpool.errors import ArchiveCorrupt
from moonpool.hosts.model import Base

PART = 16 * 1024**2  # bytes of the stream in each part but the last
FORMAT = "moonpool archive 1"
DIGEST_LENGTH = 64  # characters


class BackupState(StrEnum):
    NONE = "none"
    IN_PROGRESS = "in progress"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True)
class Archive:
    """A whole copy of a sandbox's disk, verified. ``digest`` is its manifest's SHA-256; ``stored_bytes`` what it takes
    in the store, ``disk_bytes`` what its stream has; ``base`` names what the pool must hold for it to be restored."""

    digest: str
    created_at: datetime
    stored_bytes: int
    disk_bytes: int
    base: str | None


@dataclass(frozen=True)
class Backup:
    """What there is of a sandbox outside of its host: the last whole archive, and how the last attempt at one went."""

    state: BackupState = BackupState.NONE
    archive: Archive | None = None
    reason: str | None = None


NO_BACKUP = Backup()


def begun(old: Backup) -> Backup:
    """A further attempt is under way."""
    return Backup(BackupState.IN_PROGRESS, old.archive)


@dataclass(frozen=True)
class Part:
    """``sha256`` and ``stored_bytes`` are those of the compressed bytes; ``stream_bytes`` what they unfold to."""

    sha256: str
    stored_bytes: int
    stream_bytes: int


@dataclass(frozen=True)
class Manifest:
    sandbox_id: str
    created_at: datetime
    base: Base | None
    parts: tuple[Part, ...]

    @property
    def stored_bytes(self) -> int:
        """Equal parts are kept once."""
        return sum({part.sha256: part.stored_bytes for part in self.parts}.values())

    @property
    def disk_bytes(self) -> int:
        return sum(part.stream_bytes for part in self.parts)

    def encode(self) -> bytes:
        document = {
            "format": FORMAT,
            "sandbox": self.sandbox_id,
            "created_at": self.created_at.isoformat(),
            "base": None if self.base is None else asdict(self.base),
            "parts": [asdict(part) for part in self.parts],
        }
        return json.dumps(document, indent=1).encode()

    def archive(self) -> Archive:
        base = None if self.base is None else self.base.name
        return Archive(digest_of(self.encode()), self.created_at, self.stored_bytes, self.disk_bytes, base)


def digest_of(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest_of(data: bytes, digest: str, sandbox_id: str) -> Manifest:
    """The manifest whose checksum is ``digest``, of that sandbox; ArchiveCorrupt for anything else."""
    if digest_of(data) != digest:
        raise ArchiveCorrupt("The archive's manifest is not the one that was written")
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ArchiveCorrupt(f"The archive's format is {document['format']!r}, not {FORMAT!r}")
        base = None if document["base"] is None else Base(**document["base"])
        parts = tuple(Part(**part) for part in document["parts"])
        found = Manifest(document["sandbox"], datetime.fromisoformat(document["created_at"]), base, parts)
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveCorrupt("The archive's manifest cannot be read") from error
    if found.sandbox_id != sandbox_id or any(part.stream_bytes > PART for part in found.parts):
        raise ArchiveCorrupt("The archive is not this sandbox's")
    return found


def backup_document(backup: Backup) -> dict[str, Any] | None:
    """As it is kept in a row; None for ``NO_BACKUP``."""
    if backup == NO_BACKUP:
        return None
    archive = backup.archive
    kept = None if archive is None else {**asdict(archive), "created_at": archive.created_at.isoformat()}
    return {"state": backup.state.value, "archive": kept, "reason": backup.reason}


def backup_of(document: Mapping[str, Any] | None) -> Backup:
    """The inverse of ``backup_document``."""
    if document is None:
        return NO_BACKUP
    kept = document["archive"]
    archive = None
    if kept is not None:
        archive = Archive(**{**kept, "created_at": datetime.fromisoformat(kept["created_at"]).astimezone(UTC)})
    return Backup(BackupState(document["state"]), archive, document["reason"])
