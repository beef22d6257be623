"""Packages of the npm registry, checked against their pinned integrity."""

import base64
import hashlib
import tarfile
from pathlib import Path
from typing import IO

from moonpool.engine.images.download import fetch
from moonpool.engine.images.recipe import NodePackage
from moonpool.errors import EngineError

LEFT_OUT = ("docs/", "man/", "changelogs/")


def install(package: NodePackage, modules: Path, downloads: Path) -> None:
    """Unpack a package below ``modules``, from ``downloads`` where it is there already."""
    archive = downloads / f"{package.name.replace('/', '-')}-{package.version}.tgz"
    fetch(package.url, archive, lambda content: matches(content, package.integrity))
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


def _write(source: IO[bytes], target: Path, inside: str, *, executable: bool) -> None:
    path = target / inside
    if not path.resolve().is_relative_to(target.resolve()):
        raise EngineError(f"A package wants to write to {inside}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.read())
    path.chmod(0o755 if executable else 0o644)
