"""Files that come with a recipe: tar archives in a folder of the team's, found by a name that is a hash of theirs."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from moonpool.errors import BuildInvalid, InvalidInput

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
TEAM = re.compile(r"[A-Za-z0-9-]{1,64}")
ARCHIVE = "context.tar"


class Contexts:
    """``folder``/TEAM/NAME/context.tar, as they are uploaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, team_id: str, name: str) -> Path:
        """Where it is, or will be."""
        if not NAME.fullmatch(name) or not TEAM.fullmatch(team_id):
            raise InvalidInput(f"Not the name of a context: {name[:80]!r}", field="contextHashes")
        return self.folder / team_id / name / ARCHIVE

    def has(self, team_id: str, name: str) -> bool:
        return self.path(team_id, name).is_file()

    def size(self, team_id: str) -> int:
        """Bytes of all of a team's."""
        return sum(path.stat().st_size for path in (self.folder / team_id).glob(f"*/{ARCHIVE}"))

    @contextmanager
    def joined(self, team_id: str, names: Sequence[str]) -> Iterator[list[Path]]:
        """The archives, while they are read. BuildInvalid where one was never uploaded."""
        paths = [self.path(team_id, name) for name in names]
        for name, path in zip(names, paths, strict=True):
            if not path.is_file():
                raise BuildInvalid(f"The context {name} is not there", hint="Upload it before the build is asked for.")
            os.utime(path)
        yield paths

    def prune(self, before: float) -> None:
        """Remove those unused since that moment (seconds since 1970)."""
        for path in self.folder.glob(f"*/*/{ARCHIVE}"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
