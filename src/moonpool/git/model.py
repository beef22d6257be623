"""What git's operations take and give."""

from dataclasses import dataclass, field
from enum import StrEnum


class FileState(StrEnum):
    UNMODIFIED = "unmodified"
    UNTRACKED = "untracked"
    MODIFIED = "modified"
    ADDED = "added"
    DELETED = "deleted"
    RENAMED = "renamed"
    COPIED = "copied"
    UNMERGED = "unmerged"


class ConfigScope(StrEnum):
    GLOBAL = "global"
    LOCAL = "local"
    SYSTEM = "system"


class ResetMode(StrEnum):
    SOFT = "soft"
    MIXED = "mixed"
    HARD = "hard"
    MERGE = "merge"
    KEEP = "keep"


@dataclass(frozen=True)
class Credentials:
    """For remotes over HTTP."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Clone:
    """``commit`` is checked out, detached, instead of a branch. ``depth`` in commits. ``verify_tls`` False takes any
    certificate."""

    url: str
    path: str
    branch: str | None = None
    commit: str | None = None
    depth: int | None = None
    credentials: Credentials | None = None
    verify_tls: bool = True


@dataclass(frozen=True)
class Commit:
    message: str
    author: str
    email: str
    allow_empty: bool = False


@dataclass(frozen=True)
class CommitInfo:
    """``timestamp`` is the author's, ISO 8601 with a zone."""

    hash: str
    message: str
    author: str
    email: str
    timestamp: str


@dataclass(frozen=True)
class FileStatus:
    """``staging`` is the index against HEAD, ``worktree`` the files against the index; ``old_name`` of a rename."""

    name: str
    staging: FileState
    worktree: FileState
    old_name: str = ""


@dataclass(frozen=True)
class Status:
    """``branch`` is "HEAD" when none is checked out. ``ahead`` and ``behind`` count commits against ``upstream``
    ("origin/main", or "" where there is none). ``published``: the remote was seen to have this branch."""

    branch: str
    detached: bool
    upstream: str
    ahead: int
    behind: int
    published: bool
    files: tuple[FileStatus, ...]


@dataclass(frozen=True)
class Branches:
    """Local branches; ``current`` is "" when HEAD is detached."""

    names: tuple[str, ...]
    current: str


@dataclass(frozen=True)
class Remote:
    name: str
    url: str
