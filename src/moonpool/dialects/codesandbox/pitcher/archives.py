"""The archives in which the SDK uploads many files at once, for Info-ZIP's ``unzip`` to take apart.

They say in one bit that their names are UTF-8, and in a byte that they were made on MS-DOS. ``unzip`` believes the
byte, and spoils every name beyond ASCII. So that byte becomes Unix's, in nothing but these archives.
"""

import re
import struct

UPLOAD = re.compile(r"/tmp/batch_write_\d+\.zip")  # noqa: S108 - the SDK's own choice
END = b"PK\x05\x06"
END_SIZE, LONGEST_COMMENT = 22, 65535  # bytes
ENTRY = struct.Struct("<4sBBHHHHHIIIHHHHHII")  # of the directory at the end of an archive, without names
MARK = b"PK\x01\x02"
UTF8 = 1 << 11
MS_DOS, UNIX = 0, 3
FILE, FOLDER = 0o100664, 0o042775  # for the workspace's group as well
MADE_BY, ATTRIBUTES = 5, 38  # offsets in an entry


def readable(content: bytes | bytearray | memoryview) -> bytearray:
    """The archive for ``unzip``; what is none stays as it is."""
    archive = bytearray(content)
    end = archive.rfind(END, max(0, len(archive) - END_SIZE - LONGEST_COMMENT))
    if end < 0 or len(archive) - end < END_SIZE:
        return archive
    count, _, at = struct.unpack_from("<HII", archive, end + 10)
    for _ in range(count):
        if at + ENTRY.size > end:
            break
        fields = ENTRY.unpack_from(archive, at)
        mark, made_by, flags, lengths, attributes = fields[0], fields[2], fields[4], fields[11:14], fields[16]
        if mark != MARK:
            break
        name = archive[at + ENTRY.size : at + ENTRY.size + lengths[0]]
        if made_by == MS_DOS and flags & UTF8:
            archive[at + MADE_BY] = UNIX
            mode = FOLDER if name.endswith(b"/") else FILE
            struct.pack_into("<I", archive, at + ATTRIBUTES, attributes & 0xFFFF | mode << 16)
        at += ENTRY.size + sum(lengths)
    return archive
