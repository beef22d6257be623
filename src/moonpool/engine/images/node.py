"""Packages of the npm registry, checked against their pinned integrity."""

import base64
import hashlib
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from moonpool.engine.images.recipe import NodePackage
from moonpool.errors import EngineError

TIMEOUT = 60  # seconds, for each answer of the registry
LEFT_OUT = ("docs/", "man/", "changelogs/")


def install(package: NodePackage, modules: Path, downloads: Path) -> None:
    """Unpack a package below ``modules``, from ``downloads`` where it is there already."""
    archive = downloads / f"{package.name.replace('/', '-')}-{package.version}.tgz"
    if not archive.exists() or not matches(archive.read_bytes(), package.integrity):
        _download(package, archive)
    target = modules / package.folder
    with tarfile.open(archive) as members:
        for member in members:
            inside = member.name.partition("/")[2]
            source = members.extractfile(member) if member.isfile() else None
            if source is not None and not inside.startswith(LEFT_OUT):
                _write(source, target, inside, executable=bool(member.mode & 0o100))


def matches(content: bytes, integrity: str) -> bool:
    """Whether ``content`` has this Subresource Integrity, ``sha512-`` and base64."""
    algorithm, _, expected = integrity.partition("-")
    return hashlib.new(algorithm, content).digest() == base64.b64decode(expected)


def _download(package: NodePackage, archive: Path) -> None:
    try:
        with urllib.request.urlopen(package.url, timeout=TIMEOUT) as answer:  # noqa: S310 (always https)
            content = answer.read()
    except (urllib.error.URLError, TimeoutError) as error:
        raise EngineError(f"Cannot fetch {package.url}: {error}", hint="The first build needs the network.") from error
    if not matches(content, package.integrity):
        raise EngineError(f"{package.url} is not what it was when it was pinned", hint="Try again; do not go round it.")
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(content)


def _write(source: IO[bytes], target: Path, inside: str, *, executable: bool) -> None:
    path = target / inside
    if not path.resolve().is_relative_to(target.resolve()):
        raise EngineError(f"A package wants to write to {inside}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.read())
    path.chmod(0o755 if executable else 0o644)
