"""Snapshots out of images and folders, made by a running server while its log is shown."""

import hashlib
import os
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import httpx
from e2b_dockerfile_utils import PatternMatcher

from moonpool.cli.client import CommandFailed, call, find_target, open_client
from moonpool.dialects.common.sigv4 import headers_of

CHUNK = 1 << 20  # bytes


def make(body: dict[str, Any]) -> str:
    """Ask for a snapshot; its id."""
    with open_client(find_target()) as client:
        return str(call(client, "POST", "/api/snapshots", json=body)["id"])


def follow(snapshot: str) -> None:
    """Show what its build says, to the end; CommandFailed where it cannot be made."""
    with open_client(find_target()) as client:
        try:
            path = f"/api/snapshots/{snapshot}/build-logs"
            with client.stream("GET", path, params={"follow": "true"}, timeout=None) as log:
                for text in log.iter_text():
                    sys.stderr.write(text)
        except httpx.TransportError as error:
            raise CommandFailed(f"The server was lost ({error}); the build goes on when it is back.") from error
        found = call(client, "GET", f"/api/snapshots/{snapshot}")
    if found["state"] != "active":
        raise CommandFailed(found["errorReason"] or f"The snapshot is {found['state']}")
    print(found["name"])


def arguments_of(given: Sequence[str]) -> dict[str, str]:
    """Of ``NAME=VALUE`` and ``NAME``, which has its value in the environment, if any."""
    pairs = [each.partition("=") for each in given]
    return {
        name: value if equals else os.environ[name] for name, equals, value in pairs if equals or name in os.environ
    }


def build_folder(folder: Path, dockerfile: Path, name: str, asked: Mapping[str, object]) -> None:
    """``asked``: further fields of the API's ``buildInfo``."""
    try:
        text = dockerfile.read_text()
        with tempfile.TemporaryFile() as archive:
            digest = pack(folder, ignore_file(folder, dockerfile), archive)
            context = upload(archive, digest)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"Cannot read {folder}: {error}") from error
    except ValueError as error:
        raise CommandFailed(f"{ignore_file(folder, dockerfile)}: {error}") from error
    follow(make({"name": name, "buildInfo": {**asked, "dockerfileContent": text, "contextHashes": [context]}}))


def ignore_file(folder: Path, dockerfile: Path) -> Path:
    """One that belongs to this Dockerfile alone comes before the folder's."""
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    return own if own.is_file() else folder / ".dockerignore"


def pack(folder: Path, ignored: Path, archive: IO[bytes]) -> str:
    """What ``.dockerignore`` leaves of a folder, as a tar archive with no times in it; its SHA-256 (hexadecimal)."""
    lines = ignored.read_text().splitlines() if ignored.is_file() else []
    matcher = PatternMatcher([line.strip() for line in lines if line.strip() and not line.startswith("#")])
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder).as_posix()
            if not matcher.matches(relative):
                tar.add(path, relative, recursive=False, filter=without_times)
    digest = hashlib.sha256()
    archive.seek(0)
    while data := archive.read(CHUNK):
        digest.update(data)
    return digest.hexdigest()


def without_times(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member if member.isreg() or member.isdir() or member.issym() or member.islnk() else None


def upload(archive: IO[bytes], digest: str) -> str:
    """Put it where the server looks for it; the name it has there."""
    with open_client(find_target()) as client:
        given = call(client, "GET", "/api/object-storage/push-access")
        url = httpx.URL(f"{given['storageUrl']}/{given['bucket']}/{given['organizationId']}/{digest}/context.tar")
        headers = headers_of(
            *(given["accessKey"], given["secret"], given["sessionToken"]),
            method="PUT",
            host=url.netloc.decode(),
            path=url.path,
            digest=digest,
            region=given["region"],
            now=datetime.now(UTC),
        )
        archive.seek(0)
        answer = client.put(url, content=iter(lambda: archive.read(CHUNK), b""), headers=headers, timeout=None)
    if answer.is_error:
        raise CommandFailed(f"The files could not be uploaded: {answer.text[:500]}")
    return digest
