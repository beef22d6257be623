"""A checkpoint on disk: runsc's files and a manifest, which is written last and makes the folder whole."""

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moonpool.durability import sync
from moonpool.engine.gvisor.digests import Digests
from moonpool.engine.gvisor.model import Capabilities
from moonpool.errors import CheckpointCorrupt, CheckpointIncompatible

MANIFEST = "manifest.json"
FORMAT = 1
PARTIAL_SUFFIX = ".partial"


@dataclass(frozen=True)
class Manifest:
    """``files`` gives name -> (size in bytes, sha256 or None); ``extra`` what the maker wants to find again."""

    capabilities: Capabilities
    files: Mapping[str, tuple[int, str | None]]
    extra: Mapping[str, str]


def partial_folder(target: Path) -> Path:
    """A fresh folder beside ``target`` to write to; publish() gives it its name."""
    folder = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    folder.mkdir(parents=True, mode=0o700)
    return folder


def sweep(parent: Path) -> None:
    """Remove what checkpoints that were cut off left in ``parent``; only for when none is being made there."""
    for folder in parent.glob(f"*{PARTIAL_SUFFIX}"):
        shutil.rmtree(folder, ignore_errors=True)


def publish(
    partial: Path, target: Path, capabilities: Capabilities, *, digests: Digests | None, extra: Mapping[str, str]
) -> None:
    """Write all of ``partial`` and its manifest to the disk, then give it its name; an older ``target`` is replaced."""
    for path in partial.iterdir():
        sync(path)
    sync(seal(partial, capabilities, digests=digests, extra=extra))
    sync(partial)
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)
    sync(target.parent)


def seal(partial: Path, capabilities: Capabilities, *, digests: Digests | None, extra: Mapping[str, str]) -> Path:
    """Write the manifest, and answer with its path; nothing of the folder need be on disk when this returns. Without
    ``digests`` it has no checksums."""
    files: dict[str, Any] = {}
    for path in sorted(partial.iterdir()):
        files[path.name] = {"size": path.stat().st_size, "sha256": digests.of(path) if digests else None}
    manifest = {
        "format": FORMAT,
        "runsc": capabilities.version,
        "flags": list(capabilities.flags),
        "architecture": capabilities.architecture,
        "cpu_features": list(capabilities.cpu_features),
        "files": files,
        "extra": dict(extra),
    }
    path = partial / MANIFEST
    path.write_text(json.dumps(manifest, indent=1))
    return path


def load(image: Path) -> dict[str, Any]:
    """The manifest's content; raises CheckpointCorrupt where there is none or it is no manifest of ours."""
    try:
        manifest = json.loads((image / MANIFEST).read_text())
        if manifest["format"] != FORMAT:
            raise CheckpointIncompatible(f"{image.name}: a manifest of format {manifest['format']}")
        for key in ("runsc", "flags", "architecture", "cpu_features", "files", "extra"):
            manifest[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointCorrupt(f"{image.name} has no whole manifest: {error}") from error
    return dict(manifest)


def verify(image: Path, capabilities: Capabilities, *, digests: Digests | None = None) -> None:
    """Raises CheckpointIncompatible where this runsc or processor is another one, CheckpointCorrupt where files lack.

    Sizes are always compared; with ``digests`` every byte is.
    """
    manifest = load(image)
    reason = _difference(manifest, capabilities)
    if reason:
        raise CheckpointIncompatible(f"{image.name} was made {reason}")
    for name, told in manifest["files"].items():
        path = image / name
        size = path.stat().st_size if path.exists() else None
        if size != told["size"]:
            raise CheckpointCorrupt(f"{image.name}/{name} has {size} bytes instead of {told['size']}")
        if digests and told["sha256"] and digests.of(path) != told["sha256"]:
            raise CheckpointCorrupt(f"{image.name}/{name} does not have the checksum it was written with")


def _difference(manifest: Mapping[str, Any], capabilities: Capabilities) -> str:
    """What keeps this machine from restoring it; empty where nothing does. A richer processor is fine."""
    if manifest["runsc"] != capabilities.version:
        return f"by runsc {manifest['runsc']}, here is {capabilities.version}"
    if manifest["flags"] != list(capabilities.flags):
        return f"with the flags {' '.join(manifest['flags'])}"
    if manifest["architecture"] != capabilities.architecture:
        return f"on {manifest['architecture']}, this is {capabilities.architecture}"
    lacking = sorted(set(manifest["cpu_features"]) - set(capabilities.cpu_features))
    return f"on a processor with {' '.join(lacking)}, which this one lacks" if lacking else ""
