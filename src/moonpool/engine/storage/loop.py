"""A btrfs file system in a sparse file, for machines whose data folder is on something else."""

import fcntl
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from moonpool.durability import sync
from moonpool.engine.storage import btrfs
from moonpool.engine.storage.mounts import Mount
from moonpool.errors import EngineError, MachineUnfit

SUPERBLOCK_MAGIC, SUPERBLOCK_MAGIC_OFFSET = b"_BHRfS_M", 0x10040
SMALLEST = 256 * 1024**2  # bytes; below it mkfs.btrfs wants other options
LOOP_SET_CAPACITY, LOOP_SET_DIRECT_IO = 0x4C07, 0x4C08
# Deleted files go back to the machine (holes in the sparse file); device nodes and set-user-id bits that a sandbox
# writes mean nothing to the host.
MOUNT_OPTIONS = "loop,noatime,nodev,nosuid,discard=async"
UNMOUNT_ATTEMPTS, UNMOUNT_PAUSE = 20, 0.1  # seconds

log = structlog.get_logger(__name__)


def ensure_image(image: Path, size_bytes: int) -> None:
    """A file with a btrfs file system in it, at least ``size_bytes`` long. Never touches what is not btrfs."""
    if not image.exists():
        _format(image, max(size_bytes, SMALLEST))
    elif not _is_btrfs(image):
        raise EngineError(f"{image} is not a btrfs file system", hint="Move the file away; nothing of it was changed.")
    elif image.stat().st_size < size_bytes:
        os.truncate(image, size_bytes)


def mount(image: Path, point: Path) -> None:
    point.mkdir(mode=0o700, exist_ok=True)
    run("mount", "-t", "btrfs", "-o", MOUNT_OPTIONS, str(image), str(point))


def settle(mount: Mount) -> None:
    """Make the mounted file system as large as its file, and keep its pages from being cached twice."""
    device = os.open(mount.source, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, LOOP_SET_CAPACITY)
        with suppress(OSError):  # the file system below may not offer it; then it is only slower
            fcntl.ioctl(device, LOOP_SET_DIRECT_IO, 1)
    finally:
        os.close(device)
    btrfs.grow_to_device(mount.point)


def backing_file(mount: Mount) -> Path | None:
    """The file behind a mounted loop device; None when it is another kind of device."""
    try:
        text = Path("/sys/block", Path(mount.source).name, "loop/backing_file").read_text()
    except OSError:
        return None
    return Path(text.strip())


def unmount(point: Path, image: Path) -> None:
    """Unmount, and let the loop device go. Never lazily: raises EngineError that names who holds the mount."""
    for attempt in range(UNMOUNT_ATTEMPTS):
        done = subprocess.run(["umount", str(point)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        if attempt + 1 == UNMOUNT_ATTEMPTS:
            raise EngineError(f"{point} cannot be unmounted: {done.stderr.strip()}", hint=_holders_hint(point))
        time.sleep(UNMOUNT_PAUSE)
    # Whoever copied the mount table has a copy of the mount, as every sandbox of another server on this machine does.
    # The kernel takes those away when the folder below them goes.
    with suppress(OSError):
        point.rmdir()
    _detach(image)


def devices_of(image: Path) -> list[Path]:
    """Loop devices that this file is attached to."""
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            if entry.read_text().strip() == str(image):
                found.append(Path("/dev", entry.parts[3]))
    return found


def run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MachineUnfit(f"{command[0]} is not installed", hint="apt-get install btrfs-progs util-linux") from error
    if done.returncode:
        raise EngineError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _format(image: Path, size_bytes: int) -> None:
    """The file appears under its name only when it is complete, so that a half-made one is never mounted."""
    fresh = image.with_name(image.name + ".new")
    fresh.unlink(missing_ok=True)
    with fresh.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        os.truncate(file.fileno(), size_bytes)
    run("mkfs.btrfs", "--quiet", "--metadata", "single", str(fresh))
    sync(fresh)
    fresh.rename(image)
    sync(image.parent)


def _is_btrfs(image: Path) -> bool:
    with image.open("rb") as file:
        file.seek(SUPERBLOCK_MAGIC_OFFSET)
        return file.read(len(SUPERBLOCK_MAGIC)) == SUPERBLOCK_MAGIC


def _detach(image: Path) -> None:
    """The kernel detaches a device that ``mount`` attached, but not always before ``umount`` returns.

    One that stays is kept by somebody else's process, and goes with it; a next ``mount`` takes the same device again.
    """
    for _ in range(UNMOUNT_ATTEMPTS):
        devices = devices_of(image)
        if not devices:
            return
        for device in devices:
            subprocess.run(["losetup", "--detach", str(device)], capture_output=True, check=False)
        time.sleep(UNMOUNT_PAUSE)
    holders = _named("Mounted in the namespace of", _processes_that(lambda process: _mounts_one_of(process, devices)))
    log.warning("loop_device_held", image=str(image), devices=[str(device) for device in devices], holders=holders)


def _holders_hint(point: Path) -> str:
    """Names the processes that have a file, a working folder or a program below ``point``."""
    return _named("Held by", _processes_that(lambda process: _is_below(process, point)))


def _named(what: str, processes: list[str]) -> str:
    return f"{what} process {', '.join(processes)}." if processes else ""


def _processes_that(condition: Callable[[Path], bool]) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if condition(process):
                found.append(f"{process.name} ({(process / 'comm').read_text().strip()})")
    return found


def _is_below(process: Path, folder: Path) -> bool:
    links = (process / "cwd", process / "root", process / "exe", *(process / "fd").iterdir())
    return any(Path(os.readlink(link)).is_relative_to(folder) for link in links)


def _mounts_one_of(process: Path, devices: list[Path]) -> bool:
    table = (process / "mountinfo").read_text()
    return any(f" {device} " in table for device in devices)
