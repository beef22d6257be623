"""What git prints for programs, as data."""

from collections.abc import Iterator

from moonpool.git.model import CommitInfo, FileState, FileStatus, Remote, Status

STATES = {
    ".": FileState.UNMODIFIED,
    "M": FileState.MODIFIED,
    "T": FileState.MODIFIED,
    "A": FileState.ADDED,
    "D": FileState.DELETED,
    "R": FileState.RENAMED,
    "C": FileState.COPIED,
    "U": FileState.UNMERGED,
}
# Fields before the name, by kind of entry: ordinary, renamed, unmerged.
FIELDS = {"1": 8, "2": 9, "u": 10}
HISTORY_FORMAT = "%H%x00%an%x00%ae%x00%aI%x00%B"
DETACHED = "(detached)"
HEAD = "HEAD"


def text_of(data: bytes) -> str:
    return data.decode(errors="replace")


def status_of(output: bytes) -> Status:
    """Of ``git status --porcelain=v2 --branch -z``."""
    headers: dict[str, str] = {}
    files: list[FileStatus] = []
    entries = iter(text_of(output).split("\0"))
    for entry in entries:
        if entry.startswith("# "):
            name, _, value = entry[2:].partition(" ")
            headers[name] = value
        elif entry:
            files.append(file_of(entry, entries))
    branch, upstream = headers.get("branch.head", HEAD), headers.get("branch.upstream", "")
    ahead, behind = (abs(int(count)) for count in headers.get("branch.ab", "+0 -0").split())
    detached = branch == DETACHED
    return Status(
        branch=HEAD if detached else branch,
        detached=detached,
        upstream=upstream,
        ahead=ahead,
        behind=behind,
        published="branch.ab" in headers,
        files=tuple(files),
    )


def file_of(entry: str, following: Iterator[str]) -> FileStatus:
    """A renamed file's old name is an entry of its own."""
    kind = entry[0]
    if kind not in FIELDS:
        return FileStatus(entry[2:], FileState.UNTRACKED, FileState.UNTRACKED)
    *fields, name = entry.split(" ", FIELDS[kind])
    index, worktree = (STATES[letter] for letter in fields[1])
    return FileStatus(name, index, worktree, next(following, "") if kind == "2" else "")


def history_of(output: bytes) -> list[CommitInfo]:
    """Of ``git log -z`` with HISTORY_FORMAT, each commit five fields."""
    fields = text_of(output).split("\0")
    commits = (fields[start : start + 5] for start in range(0, len(fields) - 4, 5))
    return [CommitInfo(hash, body.rstrip("\n"), author, email, at) for hash, author, email, at, body in commits]


def remotes_of(output: bytes) -> list[Remote]:
    """Of ``git config -z --get-regexp`` for remotes' addresses; of several addresses the first counts."""
    found: dict[str, str] = {}
    for entry in text_of(output).split("\0"):
        key, _, url = entry.partition("\n")
        if key:
            found.setdefault(key.removeprefix("remote.").removesuffix(".url"), url)
    return [Remote(name, url) for name, url in found.items()]
