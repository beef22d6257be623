"""What is mounted where, as this process sees it."""

import re
from dataclasses import dataclass
from pathlib import Path

MOUNT_TABLE = Path("/proc/self/mountinfo")
ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """``root`` is the path inside the file system that is seen at ``point``; ``device`` is major:minor."""

    device: str
    root: Path
    point: Path
    kind: str
    source: str


def mounts() -> list[Mount]:
    return [_parse(line) for line in MOUNT_TABLE.read_text().splitlines()]


def mount_at(point: Path) -> Mount | None:
    """The mount that is on top at ``point``."""
    return next((mount for mount in reversed(mounts()) if mount.point == point), None)


def mount_below(path: Path) -> Mount:
    """The mount that ``path`` lies on."""
    covering = [mount for mount in mounts() if path.is_relative_to(mount.point)]
    deepest = max(len(mount.point.parts) for mount in covering)
    return [mount for mount in covering if len(mount.point.parts) == deepest][-1]


def filesystem_of(path: Path) -> str:
    """The kind of file system that ``path`` lies on, as the kernel calls it: ``btrfs``, ``ext4``."""
    return mount_below(path).kind


def mounts_of(subvolume: Path, pool: Path) -> list[Path]:
    """Where else ``subvolume``, or something in it, is mounted."""
    home = mount_below(pool)
    root = home.root / subvolume.relative_to(home.point)
    return [mount.point for mount in mounts() if mount.source == home.source and mount.root.is_relative_to(root)]


def _parse(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    fields, (kind, source) = left.split(" "), right.split(" ")[:2]
    return Mount(fields[2], Path(_plain(fields[3])), Path(_plain(fields[4])), kind, _plain(source))


def _plain(text: str) -> str:
    return ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), text)
