"""A file's properties in the vendor's words, which are those of Go."""

import stat
from datetime import UTC, datetime
from typing import Any

from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.guest.model import FileInfo

PERMISSION_BITS = 0o777
# Go writes these before the nine permission letters instead of into them.
SPECIAL = ((stat.S_ISUID, "u"), (stat.S_ISGID, "g"), (stat.S_ISVTX, "t"))


def file_document(info: FileInfo) -> dict[str, Any]:
    moment = datetime.fromtimestamp(info.modified_at, UTC)
    return {
        "name": info.name,
        "path": info.path,
        "isDir": is_folder(info),
        "size": info.size,
        "mode": mode_words(info),
        "permissions": f"{info.mode & PERMISSION_BITS:04o}",
        "owner": info.owner,
        "group": info.group,
        "modTime": f"{moment:%Y-%m-%d %H:%M:%S.%f} +0000 UTC",
        "modifiedAt": timestamp(moment),
    }


def is_folder(info: FileInfo) -> bool:
    return info.kind == "directory"


def mode_words(info: FileInfo) -> str:
    """As Go's ``FileMode`` prints itself: "-rw-r--r--", "drwxr-xr-x", "Lrwxrwxrwx", "dtrwxrwxrwx"."""
    kind = {"directory": "d", "symlink": "L", "file": ""}.get(info.kind, "?")
    special = "".join(letter for bit, letter in SPECIAL if info.mode & bit)
    letters = "".join(letter if info.mode & (0o400 >> position) else "-" for position, letter in enumerate("rwxrwxrwx"))
    return (kind + special or "-") + letters
