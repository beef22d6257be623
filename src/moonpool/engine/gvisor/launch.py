"""Running runsc where it must run: in the sandbox's network namespace, control group and a mount namespace of its own.

No mount made here is ever seen by the rest of the machine: a short-lived thread leaves the server's mount namespace and
starts runsc from there. What runsc leaves behind lives in that namespace, which goes when the sandbox goes.
"""

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias, TypeVar

from moonpool.engine.gvisor import linux
from moonpool.errors import EngineError

T = TypeVar("T")
Output = IO[bytes] | int
Process: TypeAlias = "subprocess.Popen[bytes]"

# runsc 20240729 takes a namespace for the machine's own, and refuses it, where /proc/sys/net/core/rmem_default exists:
# newer kernels have that file in every network namespace. An empty file system over the folder hides it.
HIDDEN_FOLDER = Path("/proc/sys/net/core")

# Writes its own id to every file named before "--", so that what follows is born in those control groups.
ENTER_GROUPS = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"'
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True)
class Bind:
    """``source`` is to be seen at ``target`` by what is launched."""

    source: Path
    target: Path
    read_only: bool = False


@dataclass(frozen=True)
class Tree:
    """What ``linux.clone_tree`` gave is to be seen at ``target`` by what is launched, on top of what is bound there."""

    descriptor: int
    target: Path


def in_own_thread(action: Callable[[], T]) -> T:
    """Run ``action`` in a thread that ends with it, so that it may change its namespaces and root for good."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            errors.append(error)

    thread = threading.Thread(target=body, name="engine-launch", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def start_in_network(
    network: Path,
    binds: Iterable[Bind],
    groups: Iterable[Path],
    command: Sequence[str],
    output: Output,
    trees: Iterable[Tree] = (),
) -> Process:
    """Start ``command`` in a network namespace and control groups (``cgroup.procs`` files), with ``binds`` mounted.

    Raises OSError where one of them cannot be had.
    """

    def action() -> Process:
        _leave_mounts()
        # First the network: /proc/sys/net shows other entries in every namespace, and the mount is on one of them.
        enter(network, linux.CLONE_NEWNET)
        linux.mount("none", HIDDEN_FOLDER, "tmpfs", linux.MS_RDONLY, "size=4k")
        for bind in binds:
            linux.bind(bind.source, bind.target, read_only=bind.read_only)
        for tree in trees:
            linux.move_mount(tree.descriptor, str(tree.target))
        return spawn(["/bin/sh", "-c", ENTER_GROUPS, "sh", *map(str, groups), "--", *command], output)

    return in_own_thread(action)


def start_without_room(folder: Path, command: Sequence[str]) -> Process:
    """Start ``command`` so that it finds ``folder`` on a file system that takes no more than a page."""

    def action() -> Process:
        _leave_mounts()
        linux.mount("none", folder, "tmpfs", 0, "size=4k")
        return spawn(command, subprocess.DEVNULL)

    return in_own_thread(action)


def _leave_mounts() -> None:
    """From here on the calling thread's mounts are its own and nobody else's."""
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_FS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)


def spawn(command: Sequence[str], output: Output) -> Process:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


def enter(namespace: Path, kind: int) -> None:
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(descriptor, kind)
    finally:
        os.close(descriptor)


def finish(process: Process, timeout: float) -> int:
    """Wait for the exit code; the process is killed, and EngineError raised, after ``timeout`` seconds.

    Waits on a pidfd: Popen.wait() with a timeout looks only now and then, which costs up to 50 ms.
    """
    descriptor = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(timeout * 1000):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise EngineError(f"runsc did not finish within {timeout:.0f} s")
    finally:
        os.close(descriptor)
    return process.wait()


def attach(gofer_pid: int, source: Path, target: str, *, read_only: bool = False) -> None:
    """Mount ``source`` at ``target`` inside a sandbox that runs; ``target`` is a path as its gofer sees it."""
    tree = linux.clone_tree(source, read_only=read_only)
    try:
        _as_gofer(gofer_pid, lambda: linux.move_mount(tree, target))
    finally:
        os.close(tree)


def detach(gofer_pid: int, target: str) -> None:
    """Undo attach(), as often as it was done; nothing to do where nothing is mounted."""

    def action() -> None:
        while linux.detach(target):
            pass

    _as_gofer(gofer_pid, action)


def mount_points(gofer_pid: int) -> set[str]:
    """Where something is mounted, as a gofer sees it."""
    lines = Path(f"/proc/{gofer_pid}/mountinfo").read_text().splitlines()
    return {line.split(" ")[4] for line in lines}


def _as_gofer(gofer_pid: int, action: Callable[[], None]) -> None:
    """Do something with a gofer's mounts. Needs no new process: a thread enters its mount namespace and root itself."""

    def entered() -> None:
        root = os.open(f"/proc/{gofer_pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            linux.unshare(linux.CLONE_FS)
            enter(Path(f"/proc/{gofer_pid}/ns/mnt"), linux.CLONE_NEWNS)
            os.fchdir(root)
            os.chroot(".")
            action()
        finally:
            os.close(root)

    in_own_thread(entered)
