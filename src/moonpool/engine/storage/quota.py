"""Disk limits: which kind of quota a file system has, and what one subvolume is charged."""

import errno
import struct
from contextlib import suppress
from pathlib import Path

from moonpool.engine.storage import btrfs
from moonpool.engine.storage.model import QuotaMode, Usage

STATUS = struct.Struct("=8x8xQ")  # version, generation, flags
INFO = struct.Struct("=8x8x8xQ")  # generation, referenced, the same compressed, exclusive
LIMIT = struct.Struct("=Q8xQ")  # flags, referenced, exclusive
FIRST, LAST = (btrfs.QGROUP_STATUS_KEY, 0), (btrfs.QGROUP_LIMIT_KEY, btrfs.NO_LIMIT)


def mode_of(mount: Path) -> QuotaMode | None:
    """None when quotas are off."""
    try:
        status = next(btrfs.quota_items(mount, FIRST, (btrfs.QGROUP_STATUS_KEY, 0)), None)
    except FileNotFoundError:
        return None
    if status is None:
        return None
    (flags,) = STATUS.unpack_from(status.body)
    return QuotaMode.SIMPLE if flags & btrfs.STATUS_SIMPLE_MODE else QuotaMode.CLASSIC


def ensure_enabled(mount: Path, preferred: QuotaMode = QuotaMode.SIMPLE) -> QuotaMode:
    """Switch quotas on; what is on already stays as it is, since the file system may be the user's own."""
    current = mode_of(mount)
    if current is not None:
        return current
    if preferred is QuotaMode.SIMPLE:
        with suppress(OSError):  # a kernel before 6.7
            btrfs.enable_quota(mount, simple=True)
            return QuotaMode.SIMPLE
    btrfs.enable_quota(mount, simple=False)
    return QuotaMode.CLASSIC


def usage(mount: Path, group: int) -> Usage:
    info = _record(mount, btrfs.QGROUP_INFO_KEY, group)
    limit = _record(mount, btrfs.QGROUP_LIMIT_KEY, group)
    flags, maximum = LIMIT.unpack_from(limit) if limit else (0, 0)
    limited = flags & btrfs.LIMIT_EXCLUSIVE and maximum != btrfs.NO_LIMIT
    return Usage(INFO.unpack_from(info)[0] if info else 0, maximum if limited else None)


def collect(mount: Path) -> int:
    """Drop the accounts of subvolumes that are gone, and say how many; the kernel keeps those still charged."""
    known = set(btrfs.subvolume_ids(mount))
    accounts = btrfs.quota_items(mount, (btrfs.QGROUP_INFO_KEY, 0), (btrfs.QGROUP_INFO_KEY, btrfs.NO_LIMIT))
    gone = [item.group for item in accounts if 256 <= item.group < 1 << 48 and item.group not in known]
    return sum(remove_if_unused(mount, group) for group in gone)


def _record(mount: Path, kind: int, group: int) -> bytes | None:
    item = next(btrfs.quota_items(mount, (kind, group), (kind, group)), None)
    return item.body if item else None


def remove_if_unused(mount: Path, group: int) -> bool:
    """Drop the account of a deleted subvolume; the kernel refuses while blocks are still charged to it."""
    try:
        btrfs.remove_qgroup(mount, group)
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOENT, errno.ENOTCONN):
            return False
        raise
    return True
