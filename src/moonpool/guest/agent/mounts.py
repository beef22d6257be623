"""Volumes: folders of the host's, which it puts below /.volumes, seen at the paths where programs want them."""

import ctypes
import errno
import os

from ..protocol import Stream
from . import elsewhere, root
from .errors import AgentError
from .request import Request

FOLDER = "/.volumes"
MAX_SLOTS = 64
NOT_OVER = ("/proc", "/sys", "/dev", "/.agent")
_libc = ctypes.CDLL(None, use_errno=True)


class Mounts:
    """What is mounted is remembered over a checkpoint, as the mounts themselves are."""

    def __init__(self) -> None:
        self._folder: int | None = None
        self._mounted: dict[str, tuple[int, str]] = {}  # by the path that was asked for: the slot, the real path

    def keep(self) -> None:
        """Before another root is entered, from which the folder cannot be seen any more."""
        if self._folder is None and os.path.isdir(FOLDER):
            self._folder = os.open(FOLDER, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    async def mount_volume(self, stream: Stream, request: Request) -> None:
        """Show what is at a slot at a path, whose folders are made where they are missing; nothing to do where it is
        so already. `again`: the host has put it there anew."""
        path, slot = request.path("path"), request.integer("slot", 0, MAX_SLOTS - 1)
        if self._mounted.get(path, (None, ""))[0] != slot or request.flag("again"):
            self._unmount(path)
            self._mount(path, slot)

    async def unmount_volume(self, stream: Stream, request: Request) -> None:
        """Undo it; an error while a program uses something there."""
        self._unmount(request.path("path"))

    def devices(self) -> set[int]:
        """Of the file systems of all volumes, as stat(2) tells them."""
        return {os.stat(real).st_dev for _, real in self._mounted.values() if os.path.isdir(real)}

    def _mount(self, path: str, slot: int) -> None:
        if self._folder is None:
            raise AgentError("not_supported", "this sandbox was started without a place for volumes")
        os.makedirs(path, exist_ok=True)
        real = os.path.realpath(path)
        if real == "/" or any(f"{real}/".startswith(f"{place}/") for place in NOT_OVER):
            raise AgentError("invalid_path", f"nothing can be mounted over {real}")
        root.mount(f"/proc/self/fd/{self._folder}/{slot}", real, None, root.MS_BIND)
        self._mounted[path] = (slot, real)

    def _unmount(self, path: str) -> None:
        if path not in self._mounted:
            return
        code = 0
        try:
            elsewhere.unmount(self._mounted[path][1])
        except OSError as error:
            code = error.errno or 0
        if code == 0 and _libc.umount2(os.fsencode(self._mounted[path][1]), 0) != 0:
            code = ctypes.get_errno()
        if code == errno.EBUSY:
            raise AgentError("volume_in_use", f"a program has a file or its working directory below {path}")
        if code not in (0, errno.EINVAL, errno.ENOENT):  # The latter two: somebody inside was faster.
            raise OSError(code, os.strerror(code), path)
        del self._mounted[path]
