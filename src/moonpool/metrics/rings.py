"""Rings of records in files: a file for each name, never larger than its tiers, written without any database."""

import contextlib
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from moonpool.metrics.model import Record, Tier

HEADER = struct.Struct("<8sQ")  # what it is, and bytes of a record
MAGIC = b"MOONRING"
NAME = re.compile(r"[A-Za-z0-9-]{1,64}")


class Rings:
    """Blocking, for one thread at a time. A record's slot follows from its moment: each write says by itself where it
    belongs, a second one for the same step replaces the first, and a killed server leaves no half of one.

    Files are not synced: a power cut may cost the last seconds, as it does everything that was on its way to the disk.
    """

    def __init__(self, folder: Path, tiers: Sequence[Tier], width: int) -> None:
        """``width`` is how many values a record has."""
        self._folder = folder
        self._tiers = tiers
        self._record = struct.Struct(f"<d{width}dB7x")

    def open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def names(self) -> list[str]:
        return [entry.name for entry in os.scandir(self._folder) if entry.is_file()]

    def write(self, name: str, records: Mapping[int, Sequence[Record]]) -> None:
        """Records by the index of their tier."""
        with self._opened(name, os.O_CREAT) as file:
            for index, found in records.items():
                for record in found:
                    packed = self._record.pack(record.at, *record.values, record.held)
                    os.pwrite(file, packed, self._place(index, record.at))

    def read(self, name: str, index: int) -> list[Record]:
        """Everything of one tier, the oldest first."""
        return list(self._read(name, index))

    def release(self, name: str) -> None:
        """What the newest records told does not hold any longer."""
        newest = {index: max(self._read(name, index), default=None) for index in range(len(self._tiers))}
        held = {index: [record._replace(held=False)] for index, record in newest.items() if record and record.held}
        if held:
            self.write(name, held)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path(name).unlink()

    def _read(self, name: str, index: int) -> Iterator[Record]:
        tier = self._tiers[index]
        try:
            with self._opened(name) as file:
                body = os.pread(file, tier.slots * self._record.size, self._start(index))
        except FileNotFoundError:
            return
        whole = len(body) // self._record.size * self._record.size
        found = (Record(at, tuple(values), bool(held)) for at, *values, held in self._record.iter_unpack(body[:whole]))
        yield from sorted(record for record in found if record.at > 0)

    def _place(self, index: int, at: float) -> int:
        tier = self._tiers[index]
        return self._start(index) + slot_of(tier, at) % tier.slots * self._record.size

    def _start(self, index: int) -> int:
        return HEADER.size + sum(tier.slots for tier in self._tiers[:index]) * self._record.size

    @contextlib.contextmanager
    def _opened(self, name: str, flags: int = 0) -> Iterator[int]:
        header = HEADER.pack(MAGIC, self._record.size)
        file = os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
        try:
            if os.pread(file, HEADER.size, 0) != header:  # New, or of another version, whose figures nobody can read.
                os.ftruncate(file, 0)
                os.pwrite(file, header, 0)
            yield file
        finally:
            os.close(file)

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise ValueError(f"not a name: {name!r}")
        return self._folder / name


def slot_of(tier: Tier, at: float) -> int:
    """Steps since 1970."""
    return int(at // tier.step)


def filled(
    records: Sequence[Record],
    tier: Tier,
    since: float,
    until: float,
    *,
    goes_on: bool,
    at_rest: Callable[[Record], Record] = lambda record: record,
) -> list[Record]:
    """Records between the two moments, and for each step over which one is held what ``at_rest`` makes of it.
    ``goes_on``: the newest still holds; otherwise nothing is known after it."""
    wanted: list[Record] = []
    for record, following in zip_longest(records, records[1:]):
        wanted.append(record)
        if not record.held or (following is None and not goes_on):
            continue
        end = until if following is None else following.at
        first = max(slot_of(tier, record.at) + 1, slot_of(tier, since))
        last = slot_of(tier, end) - (following is not None)
        rest = at_rest(record)
        wanted.extend(rest._replace(at=slot * tier.step) for slot in range(first, last + 1))
    return [record for record in wanted if since <= record.at <= until]
