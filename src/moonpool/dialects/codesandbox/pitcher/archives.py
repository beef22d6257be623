"""The archives in which the SDK uploads many files at once, for Info-ZIP's ``unzip`` to take apart in the workspace.

They say in one bit that their names are UTF-8, and in a byte that they were made on MS-DOS. ``unzip`` believes the
byte, and spoils every name beyond ASCII. So that byte becomes Unix's, in nothing but these archives.

Absolute paths, which all other methods take, ``unzip`` would put below the workspace, and then call itself failed. So
they become relative to it, and ``unzip`` is told that they may lead out of it.
"""

import posixpath
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

UPLOAD = re.compile(r"/tmp/batch_write_\d+\.zip")  # noqa: S108 - the SDK's own choice
UNPACKING = re.compile(rf"cd [^;&|]+ && unzip -o {UPLOAD.pattern}")  # the command that follows the upload
LEADING_OUT: Mapping[str, str] = {"UNZIP": "-:"}  # options that unzip takes from its environment
END = b"PK\x05\x06"
END_SIZE, LONGEST_COMMENT = 22, 65535  # bytes
END_FIELDS = struct.Struct("<HII")  # how many entries, the directory's size, and where it begins
ENTRY = struct.Struct("<4sBBHHHHHIIIHHHHHII")  # of the directory at the end of an archive, without names
MARK = b"PK\x01\x02"
LOCAL = struct.Struct("<4sHHHHHIIIHH")  # before each file, without its name
LOCAL_MARK = b"PK\x03\x04"
UTF8 = 1 << 11
MS_DOS, UNIX = 0, 3
FILE, FOLDER = 0o100664, 0o042775  # for the workspace's group as well
MADE_BY, ATTRIBUTES = 5, 38  # offsets in an entry
NAME_LENGTH, OFFSET = 28, 42
LOCAL_NAME_LENGTH = 26
LONGEST_NAME = 0xFFFF  # bytes


@dataclass(frozen=True)
class Entry:
    """One file of an archive: where the directory speaks of it, how long that is, and where it begins itself."""

    at: int
    size: int
    name: bytes
    offset: int


def readable(content: bytes | bytearray | memoryview, workspace: str) -> bytearray:
    """The archive for ``unzip`` in that folder; what is none stays as it is."""
    archive = bytearray(content)
    end = archive.rfind(END, max(0, len(archive) - END_SIZE - LONGEST_COMMENT))
    if end < 0 or len(archive) - end < END_SIZE:
        return archive
    count, _, start = END_FIELDS.unpack_from(archive, end + 10)
    entries = _of_unix(archive, start, end, count)
    if len(entries) == count and any(entry.name.startswith(b"/") for entry in entries):
        return _relative(archive, entries, start, end, workspace.encode()) or archive
    return archive


def _of_unix(archive: bytearray, start: int, end: int, count: int) -> list[Entry]:
    """Marks them as made on Unix where that is needed; all that can be read."""
    entries, at = [], start
    for _ in range(count):
        if at + ENTRY.size > end:
            break
        fields = ENTRY.unpack_from(archive, at)
        mark, made_by, flags, lengths, attributes = fields[0], fields[2], fields[4], fields[11:14], fields[16]
        if mark != MARK:
            break
        name = bytes(archive[at + ENTRY.size : at + ENTRY.size + lengths[0]])
        if made_by == MS_DOS and flags & UTF8:
            archive[at + MADE_BY] = UNIX
            mode = FOLDER if name.endswith(b"/") else FILE
            struct.pack_into("<I", archive, at + ATTRIBUTES, attributes & 0xFFFF | mode << 16)
        size = ENTRY.size + sum(lengths)
        entries.append(Entry(at, size, name, fields[17]))
        at += size
    return entries


def _relative(archive: bytearray, entries: list[Entry], start: int, end: int, workspace: bytes) -> bytearray | None:
    """The archive anew, with names that begin in the workspace; None for one that is not laid out as it should be."""
    by_offset = sorted(entries, key=lambda entry: entry.offset)
    ends = [*(entry.offset for entry in by_offset[1:]), start]
    made, places = bytearray(), {}
    for entry, after in zip(by_offset, ends, strict=True):
        if entry.offset + LOCAL.size > after or not archive.startswith(LOCAL_MARK, entry.offset):
            return None
        (length,) = struct.unpack_from("<H", archive, entry.offset + LOCAL_NAME_LENGTH)
        places[entry.offset] = len(made)
        made += _renamed(archive[entry.offset : after], LOCAL.size, LOCAL_NAME_LENGTH, length, workspace)
    directory = len(made)
    for entry in entries:
        listed = archive[entry.at : entry.at + entry.size]
        struct.pack_into("<I", listed, OFFSET, places[entry.offset])
        made += _renamed(listed, ENTRY.size, NAME_LENGTH, len(entry.name), workspace)
    tail = archive[end:]
    END_FIELDS.pack_into(tail, 10, len(entries), len(made) - directory, directory)
    return made + tail


def _renamed(record: bytearray, header: int, at: int, length: int, workspace: bytes) -> bytearray:
    """``record`` with its name, which stands behind ``header`` bytes, made relative; its length stands ``at``."""
    name = bytes(record[header : header + length])
    if not name.startswith(b"/"):
        return record
    short = posixpath.relpath(name, workspace) + (b"/" if name.endswith(b"/") else b"")
    if len(short) > LONGEST_NAME:
        return record
    struct.pack_into("<H", record, at, len(short))
    record[header : header + length] = short
    return record
