"""`df` inside a sandbox: as coreutils' own, with the sizes of the sandbox's disk and of its volumes where the kernel
tells those of the host's whole pool.

Started by a small script that `commands_inside` writes, with the agent's own interpreter: the first argument is
where the agent listens. What this does not know, and everything while the host cannot be asked, is left to the
image's df.
"""

import getopt
import json
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

OWN = "/usr/local/bin/df"
PLACES = ("/usr/bin/df", "/bin/df", "/usr/sbin/df", "/sbin/df")
MOUNTS = "/proc/self/mountinfo"
SHORT = "ahHiklmPTvB:t:x:"
LONG = ("all", "human-readable", "si", "inodes", "local", "portability", "print-type", "total", "block-size=",
        "type=", "exclude-type=", "output=")  # fmt: skip
ALIASES = {"--all": "-a", "--human-readable": "-h", "--si": "-H", "--inodes": "-i", "--portability": "-P",
           "--print-type": "-T", "--block-size": "-B", "--type": "-t", "--exclude-type": "-x"}  # fmt: skip
HEADERS = {"source": "Filesystem", "fstype": "Type", "itotal": "Inodes", "iused": "IUsed", "iavail": "IFree",
           "ipcent": "IUse%", "size": "Size", "used": "Used", "avail": "Avail", "pcent": "Use%", "file": "File",
           "target": "Mounted on"}  # fmt: skip
TEXTS = ("source", "fstype", "file", "target")
WIDTHS = {"source": 14, "fstype": 4, "size": 5, "used": 5, "avail": 5, "itotal": 5, "iused": 5, "iavail": 5}
SIZE = re.compile(r"([1-9][0-9]{0,9})?([KMGTP]?)(B|iB)?", re.IGNORECASE)
ESCAPED = re.compile(r"\\([0-7]{3})")
UNITS = "KMGTPEZ"
PATIENCE = 10.0  # seconds


class Unknown(Exception):
    """Something that the image's own df may know."""


class Options(NamedTuple):
    """`human`: 1024 or 1000 where sizes are scaled each by itself, else they count blocks of `block` bytes, of which
    `label` is the name and `suffix` what each is followed by."""

    paths: list[str]
    human: int = 0
    block: int = 1024
    label: str = "1K"
    suffix: str = ""
    everything: bool = False
    inodes: bool = False
    kinds: bool = False
    portable: bool = False
    total: bool = False
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    output: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        counts = ("itotal", "iused", "iavail", "ipcent") if self.inodes else ("size", "used", "avail", "pcent")
        return self.output or ("source", *("fstype",) * self.kinds, *counts, "target")

    def header(self, field: str) -> str:
        if self.human:
            return HEADERS[field]
        if field == "size":
            return f"{self.block if self.portable else self.label}-blocks"
        if self.portable and field == "pcent":
            return "Capacity"
        return "Available" if field == "avail" and not self.output else HEADERS[field]

    def size(self, count: int) -> str:
        return scaled(count, self.human) if self.human else f"{-(-count // self.block)}{self.suffix}"


class Disk(NamedTuple):
    """Sizes in bytes, `files` in inodes; `device` is the same for mounts of one disk."""

    source: str
    kind: str
    target: str
    size: int
    used: int
    free: int
    files: int
    files_free: int
    device: int


def options(words: Sequence[str]) -> Options:
    """Unknown for what is none of them."""
    try:
        found, paths = getopt.gnu_getopt(["--output=" if word == "--output" else word for word in words], SHORT, LONG)
    except getopt.GetoptError as error:
        raise Unknown from error
    given = Options(paths)
    for name, value in found:
        given = _with(given, ALIASES.get(name, name), value)
    return given


def _with(given: Options, name: str, value: str) -> Options:
    plain: dict[str, dict[str, Any]] = {
        "-a": {"everything": True}, "-h": {"human": 1024}, "-H": {"human": 1000}, "-i": {"inodes": True},
        "-k": {"human": 0, "block": 1024, "label": "1K", "suffix": ""},
        "-m": {"human": 0, "block": 1 << 20, "label": "1M", "suffix": ""},
        "-P": {"portable": True}, "-T": {"kinds": True}, "--total": {"total": True},
        "-t": {"only": (*given.only, value)}, "-x": {"never": (*given.never, value)},
    }  # fmt: skip
    if name == "-B":
        match = SIZE.fullmatch(value)
        if not value or match is None:
            raise Unknown(value)
        unit = 1000 if (match[3] or "").upper() == "B" and match[2] else 1024
        block = int(match[1] or 1) * unit ** (UNITS.index(match[2].upper()) + 1 if match[2] else 0)
        named = value.replace("K", "k") if unit == 1000 else value
        label, suffix = (named, "") if match[1] else (f"1{named}", named)
        return given._replace(human=0, block=block, label=label if match[2] else f"{label}B", suffix=suffix)
    if name == "--output":
        fields = tuple(value.split(",")) if value else tuple(HEADERS)
        if not set(fields) <= HEADERS.keys():
            raise Unknown(value)
        return given._replace(output=fields)
    return given._replace(**plain.get(name, {}))


def scaled(count: int, base: int) -> str:
    """Rounded up, with one digit behind the point below ten."""
    power = 0
    while power < len(UNITS) and -(-count // base**power) >= base:
        power += 1
    if power == 0:
        return str(count)
    unit = base**power
    letter = UNITS[power - 1] if base == 1024 or power > 1 else "k"
    tenths = -(-count * 10 // unit)
    return f"{tenths // 10}.{tenths % 10}{letter}" if tenths < 100 else f"{-(-count // unit)}{letter}"


def percent(used: int, free: int) -> str:
    return f"{-(-100 * used // (used + free))}%" if used + free else "-"


def told(service: str) -> dict[str, dict[str, int]]:
    """What the host says of its disks, by where they are mounted. Unknown where it says nothing."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE)
            connection.connect("\0" + service)
            with connection.makefile("rb") as answer:
                sizes: dict[str, dict[str, int]] = json.loads(answer.read())
                return {os.path.realpath(place): size for place, size in sizes.items()}
    except (OSError, ValueError) as error:
        raise Unknown from error


def disks(sizes: dict[str, dict[str, int]]) -> list[Disk]:
    """The sandbox's own, which its kernel does not list, and everything that is mounted; what lies under something else
    is not seen."""
    found: dict[str, Disk] = {}
    for source, place, kind in [("none", "/", "9p"), *mounted()]:
        found.pop(place, None)
        if (disk := _disk(source, kind, place, sizes.get(place))) is not None:
            found[place] = disk
    return list(found.values())


def mounted() -> Iterator[tuple[str, str, str]]:
    with open(MOUNTS) as file:
        for line in file:
            mount, _, system = line.rstrip("\n").partition(" - ")
            kind, source, *_ = system.split(" ")
            yield source, ESCAPED.sub(lambda match: chr(int(match[1], 8)), mount.split(" ")[4]), kind


def _disk(source: str, kind: str, place: str, size: dict[str, int] | None) -> Disk | None:
    """None for single files, and for what this user may not look at."""
    try:
        there, status = os.statvfs(place), os.stat(place)
    except OSError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        return None
    if size is not None:
        name = "sandbox" if place == "/" else "volume"
        return Disk(name, kind, place, size["size"], size["used"], size["free"], 0, 0, status.st_dev)
    unit = there.f_frsize
    used, free = (there.f_blocks - there.f_bfree) * unit, there.f_bavail * unit
    return Disk(source, kind, place, there.f_blocks * unit, used, free, there.f_files, there.f_ffree, status.st_dev)


def chosen(given: Options, known: Sequence[Disk]) -> list[tuple[Disk, str]]:
    """What is to be shown, each with the file that was asked for."""
    if given.paths:
        return [(_holding(path, known), path) for path in given.paths]
    shown, seen = [], set[int]()
    for disk in known:
        wanted = (not given.only or disk.kind in given.only) and disk.kind not in given.never
        if wanted and (given.everything or (disk.size and disk.device not in seen)):
            shown.append((disk, "-"))
            seen.add(disk.device)
    return shown


def _holding(path: str, known: Sequence[Disk]) -> Disk:
    """OSError where there is no such file."""
    real = os.path.realpath(path, strict=True)
    around = [disk for disk in known if f"{real}/".startswith(disk.target.rstrip("/") + "/")]
    return max(around, key=lambda disk: len(disk.target))


def row(given: Options, disk: Disk, file: str) -> list[str]:
    files_used = disk.files - disk.files_free
    count = (lambda number: scaled(number, given.human)) if given.human else str
    texts = {
        "source": disk.source, "fstype": disk.kind, "target": disk.target, "file": file,
        "size": given.size(disk.size), "used": given.size(disk.used), "avail": given.size(disk.free),
        "pcent": percent(disk.used, disk.free), "itotal": count(disk.files), "iused": count(files_used),
        "iavail": count(disk.files_free), "ipcent": percent(files_used, disk.files_free),
    }  # fmt: skip
    return [texts[field] for field in given.fields]


def table(given: Options, rows: Sequence[Sequence[str]]) -> str:
    lines = [[given.header(field) for field in given.fields], *rows]
    widths = [
        max(WIDTHS.get(field, 0), *(len(line[column]) for line in lines)) for column, field in enumerate(given.fields)
    ]
    text = ""
    for line in lines:
        cells = [
            cell.ljust(width) if field in TEXTS else cell.rjust(width)
            for field, cell, width in zip(given.fields, line, widths, strict=True)
        ]
        text += " ".join(cells).rstrip() + "\n"
    return text


def total(shown: Sequence[tuple[Disk, str]]) -> Disk:
    size, used, free, files, files_free = (
        sum(getattr(disk, name) for disk, _ in shown) for name in ("size", "used", "free", "files", "files_free")
    )
    return Disk("total", "-", "-", size, used, free, files, files_free, 0)


def df(words: Sequence[str], service: str) -> int:
    """Unknown where the image's own df has to be asked."""
    given = options(words)
    known = disks(told(service))
    code, shown = 0, []
    for one in given.paths or [""]:
        try:
            shown += chosen(given._replace(paths=[one] if one else []), known)
        except OSError as error:
            print(f"df: {one}: {error.strerror}", file=sys.stderr)
            code = 1
    if given.total:
        shown.append((total(shown), "-"))
    if shown or not given.paths:
        sys.stdout.write(table(given, [row(given, disk, file) for disk, file in shown]))
    return code


def of_the_image(words: Sequence[str]) -> NoReturn:
    """Its own df, in place of this program."""
    own = os.path.realpath(OWN)
    for place in PLACES:
        if os.path.exists(place) and os.path.realpath(place) != own:
            os.execv(place, ["df", *words])  # noqa: S606 - no shell is wanted
    print("df: the sizes of the disks are not known now", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    try:
        raise SystemExit(df(sys.argv[2:], sys.argv[1]))
    except Unknown:
        of_the_image(sys.argv[2:])
    except BrokenPipeError:
        os._exit(1)
