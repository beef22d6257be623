"""Where a client's paths lead: relative ones begin in its workspace, absolute ones are the sandbox's own."""

import posixpath

from moonpool.dialects.codesandbox.pitcher.tokens import Grant
from moonpool.files.paths import checked_path


def resolved(grant: Grant, path: str) -> str:
    """Raises InvalidPath. An empty path is the workspace; ``~`` means nothing special."""
    checked = checked_path(posixpath.join(grant.workspace, path))
    return checked if checked.startswith("/") else f"/{checked}"
