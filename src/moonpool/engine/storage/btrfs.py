"""The btrfs calls that must be fast, by ioctl: starting the ``btrfs`` command costs 5 ms a call.

Numbers and layouts are those of the kernel's ``include/uapi/linux/btrfs.h`` and ``btrfs_tree.h``; they are the same on
every architecture that uses the generic ioctl encoding (x86-64 and arm64 do).

Every function raises ``OSError``.
"""

import ctypes
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MAGIC = 0x94
WRITE, READ = 1, 2

SUPER_MAGIC = 0x9123683E  # statfs f_type
FIRST_FREE_OBJECT = 256  # the inode number of every subvolume's root
LAST_FREE_OBJECT = 2**64 - 256
ROOT_TREE, QUOTA_TREE = 1, 8
ROOT_ITEM_KEY = 132
QGROUP_STATUS_KEY, QGROUP_INFO_KEY, QGROUP_LIMIT_KEY = 240, 242, 244
STATUS_SIMPLE_MODE = 1 << 3
SUBVOLUME_READ_ONLY = 1 << 1
ROOT_READ_ONLY = 1 << 0  # the same among the flags of INFO_ARGS
LIMIT_EXCLUSIVE = 1 << 1
QUOTA_ENABLE, QUOTA_ENABLE_SIMPLE = 1, 4
NO_LIMIT = 2**64 - 1

INHERIT_QGROUP = 1 << 2
INHERIT_SET_LIMITS = 1 << 0

VOLUME_ARGS = struct.Struct("=qQQQQ16x4040s")  # descriptor, transaction, flags, size and address of INHERIT_ARGS, name
INHERIT_ARGS = struct.Struct("=4Q5Q")  # flags, 3 counts, then the limit as below
RESIZE_ARGS = struct.Struct("=q4088s")
LOOKUP_ARGS = struct.Struct("=QQ4080s")
QUOTA_ARGS = struct.Struct("=QQ")
QGROUP_CREATE_ARGS = struct.Struct("=QQ")
QGROUP_LIMIT_ARGS = struct.Struct("=QQQQQQ")  # id, flags, max referenced, max exclusive, 2 reserved
INFO_ARGS = struct.Struct("=8x256x8x8x8xQ16s16x16sQ152x")  # flags, uuid, the one it was received as, last change
INODE_ITEM_KEY = 1
INODE_ITEM = struct.Struct("=Q140x12s")  # generation, time of creation
SEARCH_KEY = struct.Struct("=QQQQQQQIIII32x")  # tree, objectid, offset and transaction ranges, types, count
SEARCH_HEADER = struct.Struct("=QQQII")  # transaction, objectid, offset, type, length
SEARCH_SIZE = 4096


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | MAGIC << 8 | number


RESIZE = _request(WRITE, 3, 4096)
SYNC = _request(0, 8, 0)
TREE_SEARCH = _request(READ | WRITE, 17, SEARCH_SIZE)
INODE_LOOKUP = _request(READ | WRITE, 18, 4096)
WAIT_SYNC = _request(WRITE, 22, 8)
SNAPSHOT_CREATE = _request(WRITE, 23, 4096)
SUBVOLUME_CREATE = _request(WRITE, 24, 4096)
START_SYNC = _request(READ, 24, 8)
GET_FLAGS = _request(READ, 25, 8)
SET_FLAGS = _request(WRITE, 26, 8)
QUOTA_CONTROL = _request(READ | WRITE, 40, QUOTA_ARGS.size)
QGROUP_CREATE = _request(WRITE, 42, QGROUP_CREATE_ARGS.size)
QGROUP_LIMIT = _request(READ, 43, QGROUP_LIMIT_ARGS.size)
SUBVOLUME_INFO = _request(READ, 60, INFO_ARGS.size)
SNAPSHOT_DESTROY = _request(WRITE, 63, 4096)


@dataclass(frozen=True)
class QuotaItem:
    """One record of the quota tree: ``kind`` is its key type, ``group`` the qgroup id."""

    kind: int
    group: int
    body: bytes


@contextmanager
def folder(path: Path) -> Iterator[int]:
    """A descriptor of the folder ``path``, for the duration of the block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _call(descriptor: int, request: int, argument: bytes) -> bytes:
    """``fcntl.ioctl`` copies at most 1,024 bytes back unless it is handed a buffer to write into."""
    buffer = bytearray(argument)
    fcntl.ioctl(descriptor, request, buffer)
    return bytes(buffer)


def create_subvolume(path: Path) -> None:
    with folder(path.parent) as parent:
        _call(parent, SUBVOLUME_CREATE, VOLUME_ARGS.pack(0, 0, 0, 0, 0, os.fsencode(path.name)))


def create_snapshot(source: Path, path: Path, *, read_only: bool, limit_bytes: int | None) -> None:
    """The limit is part of the same transaction: a power cut leaves both or neither."""
    flags = SUBVOLUME_READ_ONLY if read_only else 0
    inherit = ctypes.create_string_buffer(b"")
    if limit_bytes is not None:
        flags |= INHERIT_QGROUP
        limit = (LIMIT_EXCLUSIVE, 0, limit_bytes, 0, 0)
        inherit = ctypes.create_string_buffer(INHERIT_ARGS.pack(INHERIT_SET_LIMITS, 0, 0, 0, *limit), INHERIT_ARGS.size)
    with folder(source) as origin, folder(path.parent) as parent:
        name = os.fsencode(path.name)
        address = ctypes.addressof(inherit)
        _call(parent, SNAPSHOT_CREATE, VOLUME_ARGS.pack(origin, 0, flags, INHERIT_ARGS.size, address, name))


def destroy_subvolume(path: Path) -> None:
    """Unlink the subvolume; the kernel frees its blocks in the background."""
    with folder(path.parent) as parent:
        _call(parent, SNAPSHOT_DESTROY, VOLUME_ARGS.pack(0, 0, 0, 0, 0, os.fsencode(path.name)))


def is_subvolume(path: Path) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return status.st_ino == FIRST_FREE_OBJECT


def subvolume_id(path: Path) -> int:
    with folder(path) as descriptor:
        answer = _call(descriptor, INODE_LOOKUP, LOOKUP_ARGS.pack(0, FIRST_FREE_OBJECT, b""))
    return int(LOOKUP_ARGS.unpack(answer)[0])


def is_read_only(path: Path) -> bool:
    with folder(path) as descriptor:
        (flags,) = struct.unpack("=Q", _call(descriptor, GET_FLAGS, bytes(8)))
    return bool(flags & SUBVOLUME_READ_ONLY)


def set_read_only(path: Path, read_only: bool) -> None:
    with folder(path) as descriptor:
        _call(descriptor, SET_FLAGS, struct.pack("=Q", SUBVOLUME_READ_ONLY if read_only else 0))


@dataclass(frozen=True)
class Identity:
    """Hexadecimal; ``received`` is the uuid that it had where it was sent from, None for one that was made here."""

    uuid: str
    received: str | None


def identity(path: Path) -> Identity:
    _, uuid, received, _ = _info(path)
    return Identity(uuid.hex(), received.hex() if any(received) else None)


@dataclass(frozen=True)
class Version:
    """Equal for the same subvolume with the same files; ``changed`` is the transaction that last wrote one of them."""

    uuid: str
    changed: int
    read_only: bool


def version(path: Path) -> Version:
    flags, uuid, _, changed = _info(path)
    return Version(uuid.hex(), changed, bool(flags & ROOT_READ_ONLY))


def _info(path: Path) -> tuple[int, bytes, bytes, int]:
    """Flags, uuid, the uuid that it was received as, and the transaction of its last change."""
    with folder(path) as descriptor:
        flags, uuid, received, changed = INFO_ARGS.unpack(_call(descriptor, SUBVOLUME_INFO, bytes(INFO_ARGS.size)))
    return flags, uuid, received, changed


def ancestry(mount: Path, path: Path) -> bytes:
    """Equal for two subvolumes when one was made of the other by snapshots, or both of a third: it is when their root
    folder was made."""
    key = (FIRST_FREE_OBJECT, INODE_ITEM_KEY, 0)
    body = next(body for _, _, _, body in _search(mount, subvolume_id(path), key, key))
    generation, created = INODE_ITEM.unpack(body)
    return bytes(created) + int(generation).to_bytes(8, "little")


def commit(path: Path) -> None:
    """Write everything of the file system that holds ``path`` to its device, and wait."""
    with folder(path) as descriptor:
        fcntl.ioctl(descriptor, SYNC)


def commit_names(path: Path) -> None:
    """As ``commit``, without what programs have only just written into files: nobody waits for gigabytes of others."""
    with folder(path) as descriptor:
        transaction = _call(descriptor, START_SYNC, bytes(8))
        _call(descriptor, WAIT_SYNC, transaction)


def grow_to_device(mount: Path) -> None:
    with folder(mount) as descriptor:
        _call(descriptor, RESIZE, RESIZE_ARGS.pack(0, b"max"))


def enable_quota(mount: Path, *, simple: bool) -> None:
    command = QUOTA_ENABLE_SIMPLE if simple else QUOTA_ENABLE
    with folder(mount) as descriptor:
        _call(descriptor, QUOTA_CONTROL, QUOTA_ARGS.pack(command, 0))


def remove_qgroup(mount: Path, group: int) -> None:
    with folder(mount) as descriptor:
        _call(descriptor, QGROUP_CREATE, QGROUP_CREATE_ARGS.pack(0, group))


def limit_qgroup(mount: Path, group: int, limit_bytes: int | None) -> None:
    """``None`` lifts the limit (the kernel spells that as the largest number)."""
    maximum = NO_LIMIT if limit_bytes is None else limit_bytes
    with folder(mount) as descriptor:
        _call(descriptor, QGROUP_LIMIT, QGROUP_LIMIT_ARGS.pack(group, LIMIT_EXCLUSIVE, 0, maximum, 0, 0))


def quota_items(mount: Path, first: tuple[int, int], last: tuple[int, int]) -> Iterator[QuotaItem]:
    """Records of the quota tree whose (key type, qgroup) lies between ``first`` and ``last``, in key order."""
    for _, kind, group, body in _search(mount, QUOTA_TREE, (0, *first), (0, *last)):
        yield QuotaItem(kind, group, body)


def subvolume_ids(mount: Path) -> Iterator[int]:
    """Subvolumes of the whole file system, deleted ones that the kernel still frees included."""
    first, last = (FIRST_FREE_OBJECT, ROOT_ITEM_KEY, 0), (LAST_FREE_OBJECT, ROOT_ITEM_KEY, NO_LIMIT)
    for objectid, kind, _, _ in _search(mount, ROOT_TREE, first, last):
        if kind == ROOT_ITEM_KEY:
            yield objectid


Key = tuple[int, int, int]  # objectid, type, offset


def _search(mount: Path, tree: int, first: Key, last: Key) -> Iterator[tuple[int, int, int, bytes]]:
    with folder(mount) as descriptor:
        while first <= last:
            key = SEARCH_KEY.pack(tree, first[0], last[0], first[2], last[2], 0, NO_LIMIT, first[1], last[1], 4096, 0)
            found = _parse_search(_call(descriptor, TREE_SEARCH, key.ljust(SEARCH_SIZE, b"\0")))
            yield from found
            if not found:
                return
            objectid, kind, offset, _ = found[-1]
            first = (objectid, kind, offset + 1) if offset < NO_LIMIT else (objectid, kind + 1, 0)


def _parse_search(answer: bytes) -> list[tuple[int, int, int, bytes]]:
    count = SEARCH_KEY.unpack_from(answer)[9]
    items: list[tuple[int, int, int, bytes]] = []
    position = SEARCH_KEY.size
    for _ in range(count):
        _, objectid, offset, kind, length = SEARCH_HEADER.unpack_from(answer, position)
        position += SEARCH_HEADER.size
        items.append((objectid, kind, offset, answer[position : position + length]))
        position += length
    return items
