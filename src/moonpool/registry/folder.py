"""One team's images on disk: parts by their digests, manifests and tags of each repository.

A file that has its name is whole, also after a power cut: it is written beside, synced, and renamed. Nothing of one
team's is in the folder of another, so no name and no digest leads there.
"""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from moonpool.durability import sync
from moonpool.registry.model import HEXADECIMAL, Found, Manifest

BLOBS, UPLOADS, REPOSITORIES = "blobs", "uploads", "repositories"
MANIFESTS, TAGS = "_manifests", "_tags"  # no part of a repository's name begins like that
SMALL = 64 * 1024  # bytes that any file counts for at least, so that a limit in bytes is one of files too


def weight(size: int) -> int:
    """What a file of ``size`` bytes counts for."""
    return max(size, SMALL)


class TeamFolder:
    """Every method blocks. Digests are SHA-256 in hexadecimal, names were checked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blobs, self.uploads, self._repositories = path / BLOBS, path / UPLOADS, path / REPOSITORIES

    def weight(self) -> int:
        """Bytes that all of it counts for."""
        return sum(weight(size_of(Path(root, name))) for root, _folders, names in os.walk(self.path) for name in names)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def blob_size(self, digest: str) -> int | None:
        """None: it is not there. One that somebody was told of stays for a while, so that a push can count on it."""
        blob = self.blobs / digest
        try:
            os.utime(blob)
            return blob.stat().st_size
        except FileNotFoundError:
            return None

    def add_blob(self, file: Path, digest: str) -> None:
        """A synced file becomes the part, and is gone; one that is there already stays."""
        make_folder(self.blobs)
        target = self.blobs / digest
        if target.exists():
            os.utime(target)
            file.unlink(missing_ok=True)
            return
        os.rename(file, target)
        sync(self.blobs)

    def remove_blob(self, digest: str) -> bool:
        """False: an image needs it."""
        if any(digest in {link.name, *references_of(link)} for link in self._links()):
            return False
        (self.blobs / digest).unlink(missing_ok=True)
        return True

    # -- images --------------------------------------------------------------------------------------------------------

    def digest_of(self, repository: str, tag: str) -> str | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            text = (self._repository(repository) / TAGS / tag).read_text().strip()
            return text if HEXADECIMAL.fullmatch(text) else None
        return None

    def manifest(self, repository: str, digest: str) -> Found | None:
        link = self._repository(repository) / MANIFESTS / digest
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError, KeyError):
            media_type = str(json.loads(link.read_bytes())["mediaType"])
            os.utime(link)  # It is in use, which counts where it has no tag.
            return Found(digest, media_type, (self.blobs / digest).read_bytes())
        return None

    def add_manifest(self, repository: str, manifest: Manifest, content: bytes, tag: str | None) -> None:
        folder = self._repository(repository)
        if self.blob_size(manifest.digest) is None:
            self._put(self.blobs / manifest.digest, content)
        references = [part.digest for part in (*manifest.parts, *manifest.manifests)]
        link = {"mediaType": manifest.media_type, "references": references}
        self._put(folder / MANIFESTS / manifest.digest, json.dumps(link).encode())
        if tag is not None:
            self._put(folder / TAGS / tag, manifest.digest.encode())

    def remove_tag(self, repository: str, tag: str) -> bool:
        """Whether it was there."""
        return removed(self._repository(repository) / TAGS / tag)

    def remove_manifest(self, repository: str, digest: str) -> bool:
        """With its tags; whether it was there. Its parts go when nothing else needs them."""
        for tag in self.tags(repository) or ():
            if self.digest_of(repository, tag) == digest:
                self.remove_tag(repository, tag)
        return removed(self._repository(repository) / MANIFESTS / digest)

    def tags(self, repository: str) -> list[str] | None:
        """In order; None: there is no such repository."""
        folder = self._repository(repository)
        if not (folder / MANIFESTS).is_dir():
            return None
        return names_in(folder / TAGS)

    def repositories(self) -> list[str]:
        """In order."""
        found = [Path(root) for root, folders, _names in os.walk(self._repositories) if MANIFESTS in folders]
        return sorted(str(path.relative_to(self._repositories)) for path in found)

    # -- what nobody needs ---------------------------------------------------------------------------------------------

    def collect(self, *, untagged: float, unneeded: float) -> None:
        """Removes images without a tag that were not used since ``untagged``, and then what no image needs and nobody
        asked for since ``unneeded`` (seconds since 1970)."""
        kept: set[str] = set()
        for repository in self.repositories():
            kept |= self._collect_repository(repository, untagged)
        for folder in (self.blobs, self.uploads):
            for name in names_in(folder):
                path = folder / name
                if (folder == self.uploads or name not in kept) and changed_at(path) < unneeded:
                    path.unlink(missing_ok=True)

    def _collect_repository(self, repository: str, untagged: float) -> set[str]:
        """What its images need, themselves too."""
        folder = self._repository(repository)
        links = {path.name: path for path in map((folder / MANIFESTS).joinpath, names_in(folder / MANIFESTS))}
        tagged = {self.digest_of(repository, tag) for tag in self.tags(repository) or ()}
        wanted = [name for name, path in links.items() if name in tagged or changed_at(path) >= untagged]
        needed: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name not in needed:
                needed.add(name)
                wanted += references_of(links[name]) if name in links else []
        for name, path in links.items():
            if name not in needed:
                path.unlink(missing_ok=True)
        if not names_in(folder / MANIFESTS):
            self._remove_repository(repository)
        return needed

    def _remove_repository(self, repository: str) -> None:
        """With the folders above that hold nothing else."""
        folder = self._repository(repository)
        for part in (MANIFESTS, TAGS):
            shutil.rmtree(folder / part, ignore_errors=True)
        while folder != self._repositories:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    # -- inside --------------------------------------------------------------------------------------------------------

    def _links(self) -> Iterator[Path]:
        for repository in self.repositories():
            folder = self._repository(repository) / MANIFESTS
            yield from map(folder.joinpath, names_in(folder))

    def _repository(self, name: str) -> Path:
        return self._repositories / name

    def _put(self, target: Path, content: bytes) -> None:
        make_folder(self.uploads)
        make_folder(target.parent)
        fresh = self.uploads / f"{secrets.token_hex(16)}.new"
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(fresh, target)
        finally:
            fresh.unlink(missing_ok=True)
        sync(target.parent)


def references_of(link: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
        return [str(digest) for digest in json.loads(link.read_bytes())["references"]]
    return []


def removed(path: Path) -> bool:
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    sync(path.parent)
    return True


def names_in(folder: Path) -> list[str]:
    """In order; none where there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def size_of(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def changed_at(path: Path) -> float:
    """Seconds since 1970; what is gone was never old."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime
    return float("inf")


def make_folder(path: Path) -> None:
    """With those above it; each new one is there after a power cut too."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    sync(path.parent)
