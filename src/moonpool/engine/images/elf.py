"""The little of the ELF format that finding a program's loader takes."""

import struct
from pathlib import Path

from moonpool.errors import EngineError

MAGIC_64_BIT_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
HEADER = struct.Struct("<32xQ14xHH")  # offset, entry size and count of the program headers
PROGRAM_HEADER = struct.Struct("<I4xQ16xQ")  # type, offset in the file, size in the file
INTERPRETER = 3  # PT_INTERP


def interpreter(program: Path) -> str:
    """The absolute path of the loader that ``program`` names, for example /lib64/ld-linux-x86-64.so.2."""
    content = program.read_bytes()
    if not content.startswith(MAGIC_64_BIT_LITTLE_ENDIAN):
        raise EngineError(f"{program} is not a 64-bit little-endian program")
    offset, size, count = HEADER.unpack_from(content)
    for position in range(offset, offset + size * count, size):
        kind, start, length = PROGRAM_HEADER.unpack_from(content, position)
        if kind == INTERPRETER:
            return content[start : start + length].rstrip(b"\0").decode()
    raise EngineError(f"{program} names no loader")
