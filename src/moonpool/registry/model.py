"""Images as they are pushed: what their names and manifests may be."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from moonpool.engine.images.oci.reference import COMPONENT, DIGEST, TAG
from moonpool.registry.errors import DigestInvalid, ManifestInvalid, RepositoryInvalid

MAX_NAME = 255  # characters of a repository's name
MAX_MANIFEST = 4 << 20  # bytes
MAX_PARTS = 1000  # that one manifest names
HEXADECIMAL = re.compile(r"[0-9a-f]{64}")
IMAGES = frozenset(
    {"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"}
)
INDEXES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)


@dataclass(frozen=True)
class RegistryLimits:
    """``blob_bytes`` of one part; ``uploads`` that one team has open at a time. What no image needs goes after
    ``unneeded_seconds``, uploads that nobody goes on with too; images without a tag after ``untagged_seconds``."""

    blob_bytes: int
    untagged_seconds: float
    unneeded_seconds: float = 24 * 3600.0
    uploads: int = 100


@dataclass(frozen=True)
class Part:
    """``size`` in bytes, as the manifest says."""

    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """``digest`` is SHA-256 in hexadecimal, as of everything here. ``parts`` are blobs, ``manifests`` those of an
    index."""

    digest: str
    media_type: str
    parts: tuple[Part, ...]
    manifests: tuple[Part, ...]


@dataclass(frozen=True)
class Found:
    """A manifest that is there."""

    digest: str
    media_type: str
    content: bytes


def check_repository(name: str) -> str:
    """RepositoryInvalid."""
    if len(name) > MAX_NAME or not all(COMPONENT.fullmatch(part) for part in name.split("/")):
        raise RepositoryInvalid(f"Not the name of a repository: {name[:100]!r}", hint="Use lower-case letters.")
    return name


def hexadecimal(digest: str) -> str:
    """Of ``sha256:...``; DigestInvalid."""
    if not DIGEST.fullmatch(digest):
        raise DigestInvalid(f"Not a SHA-256 digest: {digest[:80]!r}", hint="It is sha256: and 64 digits.")
    return digest.removeprefix("sha256:")


def check_tag(tag: str) -> str:
    """ManifestInvalid."""
    if not TAG.fullmatch(tag):
        raise ManifestInvalid(f"Not a tag: {tag[:80]!r}", hint="It has up to 128 letters, digits, '.', '-' and '_'.")
    return tag


def read_manifest(content: bytes, digest: str, announced: str) -> Manifest:
    """``announced`` is the media type that the client gives it. ManifestInvalid."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ManifestInvalid("The manifest is not JSON") from None
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise ManifestInvalid("The manifest is not one of schema version 2")
    kind = announced.partition(";")[0].strip() or str(document.get("mediaType", ""))
    if document.get("mediaType", kind) != kind:
        raise ManifestInvalid("The manifest's media type is not the one that was announced")
    if kind in INDEXES:
        return Manifest(digest, kind, (), tuple(parts_of(document.get("manifests"))))
    if kind not in IMAGES:
        raise ManifestInvalid(f"Manifests of this kind are not kept: {kind[:100]!r}")
    parts = (part_of(document.get("config")), *parts_of(document.get("layers")))
    return Manifest(digest, kind, parts, ())


def parts_of(described: object) -> Iterator[Part]:
    if not isinstance(described, list) or len(described) > MAX_PARTS:
        raise ManifestInvalid(f"The manifest does not list its parts, {MAX_PARTS} at most")
    return map(part_of, described)


def part_of(described: object) -> Part:
    entry: Mapping[str, Any] = described if isinstance(described, dict) else {}
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise ManifestInvalid(f"A part of the manifest has no SHA-256 digest: {str(digest)[:80]!r}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ManifestInvalid("A part of the manifest has no size")
    return Part(digest.removeprefix("sha256:"), size)
