"""Images that sandboxes can start from."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moonpool.engine.storage import Kind, Pool
from moonpool.errors import EngineError

# Only the host's root can see or write it, so that what a sandbox does to a copy of the image means nothing.
ATTRIBUTE = "trusted.moonpool.image"

Progress = Callable[[str, float], None]
"""Called with what is being done, and how far the whole is (0 to 1)."""


@dataclass(frozen=True)
class Image:
    """``hash`` says what it was made from; ``path`` is its read-only subvolume."""

    name: str
    hash: str
    path: Path


def mark(root: Path, digest: str) -> None:
    """Note what a subvolume was made from; to be done before it is published."""
    os.setxattr(root, ATTRIBUTE, json.dumps({"hash": digest}).encode())


def digest_of(root: Path) -> str | None:
    """None for a subvolume that is not an image."""
    try:
        return str(json.loads(os.getxattr(root, ATTRIBUTE))["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def publish(pool: Pool, staged: str, name: str, digest: str) -> Image:
    """Make the staged subvolume the image ``name``, in one step even when there is one of that name already."""
    source = pool.path / Kind.STAGING.value / staged
    mark(source, digest)
    if name in pool.names(Kind.IMAGES):
        path = pool.exchange(Kind.STAGING, staged, Kind.IMAGES, name)
        pool.delete(Kind.STAGING, staged)
    else:
        path = pool.rename(Kind.STAGING, staged, Kind.IMAGES, name)
    pool.set_read_only(path, True)
    pool.sync(path)
    return Image(name, digest, path)


def find_image(pool: Pool, name: str) -> Image | None:
    path = pool.path / Kind.IMAGES.value / name
    digest = digest_of(path)
    return Image(name, digest, path) if digest is not None else None


def list_images(pool: Pool) -> list[Image]:
    found = (find_image(pool, name) for name in pool.names(Kind.IMAGES))
    return [image for image in found if image is not None]


def stage(pool: Pool, name: str) -> Path:
    """An empty subvolume to fill; whatever a crash left under this name is removed first."""
    pool.delete(Kind.STAGING, name)
    path = pool.create(Kind.STAGING, name)
    if digest_of(path) is not None:
        raise EngineError(f"{path} is not empty")
    return path
