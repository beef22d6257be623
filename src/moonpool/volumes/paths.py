"""Where a volume may be mounted, and which part of it."""

from collections.abc import Collection, Sequence
from itertools import pairwise

from moonpool.errors import InvalidInput, LimitExceeded
from moonpool.hosts.model import MAX_MOUNTS, Mount
from moonpool.store.text import storable

MAX_PATH = 1024  # bytes
MAX_NAME = 255  # bytes of one folder's name
# A system that has something else there does not work, or only seems to.
RESERVED = ("proc", "sys", "dev", "boot", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32", ".agent", ".volumes")
RESERVED_WHOLE = ("/usr", "/var", "/run", "/tmp", "/root", "/home")  # noqa: S108 - below them it may be


def check_path(path: str) -> str:
    """The path in its shortest form, without a slash at its end; InvalidInput."""
    if not path.startswith("/"):
        raise _bad("must be absolute", "path")
    parts = path.rstrip("/").split("/")[1:]
    _check_parts(parts, "path")
    if not parts:
        raise _bad("must not be /", "path")
    found = "/" + "/".join(parts)
    if parts[0] in RESERVED or found in RESERVED_WHOLE:
        raise _bad(f"must not be {found if found in RESERVED_WHOLE else f'in /{parts[0]}'}", "path")
    return found


def check_subpath(subpath: str | None) -> str | None:
    """None for the whole volume; InvalidInput."""
    if not subpath:
        return None
    if subpath.startswith("/"):
        raise _bad("must not be absolute", "subpath")
    parts = subpath.removesuffix("/").split("/")
    _check_parts(parts, "subpath")
    return "/".join(parts)


def check_together(mounts: Sequence[Mount]) -> None:
    """No two at one path, and none in another one; InvalidInput, LimitExceeded."""
    if len(mounts) > MAX_MOUNTS:
        raise LimitExceeded(f"A sandbox has at most {MAX_MOUNTS} volumes", field="volumes")
    paths = sorted(f"{mount.path}/" for mount in mounts)
    for first, second in pairwise(paths):
        if second.startswith(first):
            message = f"{second.rstrip('/')} and {first.rstrip('/')} cannot both be mounted"
            raise InvalidInput(message, field="path", hint="A mount path must not lie in another one.")


def free_slot(taken: Collection[int]) -> int:
    """LimitExceeded when there is none."""
    for slot in range(MAX_MOUNTS):
        if slot not in taken:
            return slot
    raise LimitExceeded(f"A sandbox has at most {MAX_MOUNTS} volumes", field="volumes")


def _check_parts(parts: Sequence[str], field: str) -> None:
    for part in parts:
        if part in ("", ".", ".."):
            raise _bad("must not have '.', '..' or empty parts", field)
        if not part.isprintable() or not storable(part) or len(part.encode()) > MAX_NAME:
            raise _bad("has a part that is too long or not printable", field)
    if len("/".join(parts).encode()) > MAX_PATH:
        raise _bad(f"is longer than {MAX_PATH} bytes", field)


def _bad(what: str, field: str) -> InvalidInput:
    subject = {"path": "A volume's mount path", "subpath": "A volume's subpath"}[field]
    return InvalidInput(f"{subject} {what}", field=field)
