"""gVisor's program without a mistake that costs programs their life when their memory is brought back, and calmer.

An epoll set of 20240729 comes back from a checkpoint with descriptors in it that were taken out of it before. Entries
that were found not ready stay linked to each other, so one that is deleted is saved with its former neighbours, and
``epollInterest.afterLoad`` puts every entry that is loaded among those that are ready. The program hears for ever of
descriptors that it has closed: ZeroMQ, and with it each Jupyter kernel that was spoken to, follows a pointer to memory
that it has freed, and dies; others go round without rest. gVisor's later releases leave deleted entries out.

What ``afterLoad`` is for is not needed here: which entries were ready is saved and loaded as well, and connections
that a checkpoint drops are dropped before it (``Driver._cut_connections``). So a copy of the program is run in which
it returns at once.

A sandbox's kernel also decides anew each 400 microseconds whether its threads should wait for each other by going
round (``controlFastPath``). That alone takes 4 to 5 % of a processor in each sandbox that is awake, and where many
share few processors it takes spinning for quick: with a decision each 10 milliseconds, twenty that are made at once on
two take a third less, and what runs in one alone is as fast as before or faster. The copy has that. In neither is
anything touched that keeps programs inside.
"""

import contextlib
import hashlib
import os
import re
import secrets
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

MISTAKEN = "20240729"  # the release
FUNCTION = b"gvisor.dev/gvisor/pkg/sentry/vfs.(*epollInterest).StateLoad.func1"  # all that it does is to call afterLoad
LONGEST_FUNCTION = 256  # bytes: it is 48 on x86-64
CONTROL = b"gvisor.dev/gvisor/pkg/sentry/platform/systrap.controlFastPath"
PERIOD, CALMER = 400_000, 10_000_000  # nanoseconds between its decisions
COPY_MODE = 0o755
DIGITS = 16  # of a checksum in the copy's name
ELF = b"\x7fELF\x02\x01"  # 64 bits, little-endian
LOADED = 1  # PT_LOAD
# Go's table of functions (src/internal/abi/symtab.go, src/debug/gosym/pclntab.go), since Go 1.20: a word, then the
# processor's instruction quantum and the size of a pointer.
TABLE = re.compile(rb"\xf1\xff\xff\xff\0\0[\x01\x04]\x08")
TABLE_HEADER = struct.Struct("<8x8Q")
TABLE_ENTRY = struct.Struct("<II")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Processor:
    """``begin``: how Go begins a function that may need more stack; ``leave``: the instruction to return; ``load``: the
    one that loads the argument of a call, before its 32 bits; None where that takes several."""

    begin: bytes
    leave: bytes
    load: bytes | None = None


PROCESSORS = {  # by ELF's number
    62: Processor(bytes.fromhex("493b6610"), bytes.fromhex("c3"), bytes.fromhex("b8")),  # x86-64
    183: Processor(bytes.fromhex("900b40f9"), bytes.fromhex("c0035fd6")),  # arm64
}


class NotMended(Exception):
    """The program is not built the way that is known here."""


def mistaken(version: str) -> bool:
    return MISTAKEN in version


def mended(runsc: Path, version: str, folder: Path) -> Path:
    """The program to run for ``runsc``: a copy in ``folder``, or itself where it needs none or cannot be mended."""
    if not mistaken(version):
        return runsc
    try:
        copy = folder / f"runsc-{_mark(runsc)}"
        if not copy.exists():
            _write(copy, mend(runsc.read_bytes()))
    except (OSError, NotMended) as error:
        log.warning("gvisor_not_mended", runsc=str(runsc), reason=str(error))
        return runsc
    for other in folder.iterdir():
        if other != copy:
            other.unlink(missing_ok=True)
    return copy


def _mark(runsc: Path) -> str:
    """Another one whenever the program, or what is mended, is another: to read all of it takes each start 0.1 s."""
    original = runsc.resolve()
    state = original.stat()
    text = f"{original} {state.st_size} {state.st_mtime_ns} {state.st_ino}"
    what = b"%s %s %d" % (FUNCTION, CONTROL, CALMER)
    return hashlib.sha256(text.encode() + what).hexdigest()[:DIGITS]


def mend(program: bytes) -> bytes:
    """Raises NotMended."""
    if not program.startswith(ELF):
        raise NotMended("it is no program of 64 bits")
    processor = PROCESSORS.get(int.from_bytes(program[18:20], "little"))
    if processor is None:
        raise NotMended("it is for another processor")
    found = _found(program, (FUNCTION, CONTROL))
    address, size = found[FUNCTION]
    if size > LONGEST_FUNCTION:
        raise NotMended("the function is longer than expected")
    place = _place(program, address)
    if not program.startswith(processor.begin, place):
        raise NotMended("the function does not begin as expected")
    return _replaced(_calmed(program, processor, found), place, processor.leave)


def _calmed(program: bytes, processor: Processor, found: Mapping[bytes, tuple[int, int]]) -> bytes:
    """As it is where the period is not found once, and once only: that costs time and nothing else."""
    if processor.load is None or CONTROL not in found:
        return program
    address, size = found[CONTROL]
    begin = _place(program, address)
    period = processor.load + PERIOD.to_bytes(4, "little")
    if program.count(period, begin, begin + size) != 1:
        return program
    return _replaced(program, program.index(period, begin), processor.load + CALMER.to_bytes(4, "little"))


def _replaced(program: bytes, place: int, by: bytes) -> bytes:
    return program[:place] + by + program[place + len(by) :]


def _found(program: bytes, wanted: Collection[bytes]) -> dict[bytes, tuple[int, int]]:
    """Where functions are once the program is loaded, and how long; FUNCTION is among them."""
    found: dict[bytes, tuple[int, int]] = {}
    for table in TABLE.finditer(program):
        with contextlib.suppress(struct.error):
            for name, address, size in _functions(program, table.start()):
                for function in wanted:
                    if program.startswith(function + b"\0", name):
                        found[function] = address, size
        if FUNCTION in found:
            return found
    raise NotMended("it has no such function")


def _functions(program: bytes, table: int) -> Iterator[tuple[int, int, int]]:
    """Of each: where its name stands, its address, its size."""
    count, _, text, names, _, _, _, entries = TABLE_HEADER.unpack_from(program, table)
    start = table + entries
    for place in range(start, start + count * TABLE_ENTRY.size, TABLE_ENTRY.size):
        entry, details = TABLE_ENTRY.unpack_from(program, place)
        (following,) = struct.unpack_from("<I", program, place + TABLE_ENTRY.size)
        (name,) = struct.unpack_from("<i", program, start + details + 4)
        yield table + names + name, text + entry, following - entry


def _place(program: bytes, address: int) -> int:
    """Where in the file what is loaded to ``address`` stands."""
    (headers,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    for header in range(headers, headers + size * count, size):
        kind, _, offset, start, _, length = struct.unpack_from("<IIQQQQ", program, header)
        if kind == LOADED and start <= address < start + length:
            return int(offset + address - start)
    raise NotMended("the function is not loaded")


def _write(copy: Path, content: bytes) -> None:
    """Whole or not at all: what runs from an earlier copy keeps it."""
    copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, COPY_MODE)
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, COPY_MODE)
            os.fsync(descriptor)
        partial.rename(copy)
    finally:
        partial.unlink(missing_ok=True)
