"""What a failed git says, as an error. Git has one exit code for nearly everything, so its words decide; it is run with
the C locale."""

import re
from collections.abc import Sequence

from moonpool.git import errors

MESSAGE_LIMIT = 2000  # characters of git's words that a client is told

# The first that matches decides, so finer ones stand before coarser ones.
MEANINGS: Sequence[tuple[type[errors.GitFailed], str]] = (
    (errors.RemoteRejected, r"\[remote rejected\]|pre-receive hook declined|remote: .*protected branch"),
    (errors.PushRejected, r"! \[rejected\]|non-fast-forward|stale info"),
    (
        errors.MergeConflict,
        r"CONFLICT \(|Automatic merge failed|unmerged files|unmerged paths|resolve your current index",
    ),
    (
        errors.DirtyWorktree,
        r"would be overwritten by|commit your changes or stash them|You have unstaged changes"
        r"|not uptodate\. Cannot merge",
    ),
    (errors.RemoteForbids, r"returned error: 403"),
    (
        errors.AuthenticationFailed,
        r"Authentication failed|could not read (Username|Password)|Permission denied \(|returned error: 401"
        r"|Access denied|Host key verification failed|invalid credentials",
    ),
    (errors.BranchExists, r"branch named '.*' already exists|cannot lock ref .* exists"),
    (errors.RemoteExists, r"remote .* already exists"),
    (errors.RepositoryExists, r"already exists and is not an empty directory"),
    (
        errors.BranchNotFound,
        r"Remote branch .* not found|couldn't find remote ref|src refspec .* does not match|branch '.*' not found"
        r"|invalid reference|reference is not a tree|unknown revision|bad revision|not a valid object name"
        r"|Failed to resolve '.*'|pathspec '.*' did not match any file\(s\) known to git|not our ref"
        r"|unable to read tree|Not a valid commit|ambiguous argument|could not resolve '?.*'? to a",
    ),
    (
        errors.RepositoryNotFound,
        r"not a git repository|[Rr]epository '?.*'? not found|repository '.*' does not exist"
        r"|does not appear to be a git repository|cannot change to '.*'|No such remote|returned error: 404"
        r"|'.*' is not a git command.*remote",
    ),
    (
        errors.TransportFailed,
        r"Could not resolve host|Failed to connect|Connection (refused|reset|timed out)|unable to access"
        r"|Could not read from remote repository|hung up unexpectedly|early EOF|RPC failed|SSL|unable to connect"
        r"|transport '.*' not allowed|Unable to find remote helper",
    ),
    (errors.NothingToCommit, r"nothing to commit|nothing added to commit|no changes added to commit"),
)
PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in MEANINGS)
MOST_OUTPUT = 64 * 1024  # characters
LONGEST_LINE = 1000  # characters
NOISE = re.compile(r"^(hint|warning|Cloning into|remote: (Enumerating|Counting|Compressing|Total)).*$", re.MULTILINE)


def excerpt(output: str) -> str:
    """The end of what git said, without the rest of endless lines: patterns are looked for in it, and programs of the
    repository have their say there too."""
    return "\n".join(line[:LONGEST_LINE] for line in output[-MOST_OUTPUT:].splitlines())


def failure(output: str) -> errors.GitFailed:
    """The error that ``output``, both streams of a failed git, stands for."""
    output = excerpt(output)
    kind = next((kind for kind, pattern in PATTERNS if pattern.search(output)), errors.GitFailed)
    said = "\n".join(line for line in NOISE.sub("", output).splitlines() if line.strip())
    return kind(said[-MESSAGE_LIMIT:] or kind.default)
