"""One server's control groups: ``moonpool-<tag>/<name>`` in every hierarchy that serves a controller."""

import contextlib
import errno
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from moonpool.engine.cgroups import version1, version2
from moonpool.engine.cgroups.files import read_int, read_pids, write
from moonpool.engine.cgroups.killing import kill_all
from moonpool.engine.cgroups.layout import HINT, Hierarchy, Layout, detect
from moonpool.engine.cgroups.model import MEMORY_OVERHEAD_BYTES, TASKS_OVERHEAD, TASKS_PER_PROCESS, Limits, Stats
from moonpool.engine.instance import Instance
from moonpool.errors import EngineError, MachineUnfit

FREEZE_TIMEOUT = 5.0  # seconds
KILL_TIMEOUT = 10.0  # seconds
REMOVE_TIMEOUT = 5.0  # seconds
REMOVE_PAUSE = 0.001  # seconds
ASIDE = ".aside"  # ends the name of the group in which a member's kernel is while nothing counts as the member's
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}")
VERSIONS: dict[int, ModuleType] = {1: version1, 2: version2}


class Cgroups:
    """Thread-safe: holds nothing but paths; the kernel keeps the state."""

    def __init__(self, layout: Layout, parent: str) -> None:
        self.layout = layout
        self._parent = parent

    @classmethod
    def of(cls, instance: Instance, layout: Layout | None = None) -> "Cgroups":
        """This server's groups as they are, for looking at them: makes none."""
        return cls(layout or detect(), f"moonpool-{instance.tag}")

    @classmethod
    def open(cls, instance: Instance, layout: Layout | None = None) -> "Cgroups":
        """Make this server's parent group; raises MachineUnfit where the machine does not let it."""
        groups = cls.of(instance, layout)
        for hierarchy in groups.layout.hierarchies:
            parent = hierarchy.path / groups._parent
            try:
                if hierarchy.version == 2:
                    _delegate(hierarchy.path, groups.layout.limited_by(hierarchy))
                parent.mkdir(exist_ok=True)
                if hierarchy.version == 2:
                    _delegate(parent, groups.layout.limited_by(hierarchy))
            except (OSError, EngineError) as error:
                raise MachineUnfit(f"cannot set up control groups in {hierarchy.path}: {error}", hint=HINT) from error
        return groups

    def close(self) -> None:
        """Remove the parent group; it stays while members are in it."""
        for hierarchy in self.layout.hierarchies:
            with contextlib.suppress(OSError):
                (hierarchy.path / self._parent).rmdir()

    def exists(self) -> bool:
        """Whether this server has its parent group in any hierarchy."""
        return any((hierarchy.path / self._parent).is_dir() for hierarchy in self.layout.hierarchies)

    def create(self, name: str) -> None:
        """Make the member's group; nothing happens where it exists."""
        for folder in self._folders(name):
            try:
                folder.mkdir(exist_ok=True)
            except OSError as error:
                raise EngineError(f"cannot make control group {folder}: {error.strerror}") from error

    def delete(self, name: str) -> None:
        """Remove the member's group, in which nothing may live any more; nothing happens where there is none.

        A group counts as busy for a moment after its last process died, hence the bounded retries.
        """
        for folder in (self._aside(name), *self._folders(name)):
            _remove(folder)

    def names(self) -> list[str]:
        """Every member that has a group in any hierarchy, sorted."""
        found: set[str] = set()
        for hierarchy in self.layout.hierarchies:
            with contextlib.suppress(FileNotFoundError):
                entries = (hierarchy.path / self._parent).iterdir()
                found |= {entry.name.removesuffix(ASIDE) for entry in entries if entry.is_dir()}
        return sorted(found)

    def procs_files(self, name: str) -> list[Path]:
        """The files a launcher writes its process id to, before it becomes what belongs in the group."""
        return [folder / "cgroup.procs" for folder in self._folders(name)]

    def pids(self, name: str) -> list[int]:
        """Process ids in the group."""
        return read_pids(self._folder(self.layout.freezer, name) / "cgroup.procs")

    def set_limits(self, name: str, limits: Limits) -> None:
        """Set or change limits, live. Raises EngineError when more memory is in use than the new limit allows."""
        cpu, memory, pids = self.layout.cpu, self.layout.memory, self.layout.pids
        VERSIONS[memory.version].set_memory(self._folder(memory, name), limits.memory_bytes + MEMORY_OVERHEAD_BYTES)
        VERSIONS[cpu.version].set_cpu(self._folder(cpu, name), limits.cpu, limits.cpu_weight)
        write(self._folder(pids, name) / "pids.max", str(TASKS_PER_PROCESS * limits.pids + TASKS_OVERHEAD))

    def freeze(self, name: str) -> None:
        """Stop every task and wait until the kernel says so; raises EngineError (and thaws) after 5 s."""
        freezer = self.layout.freezer
        VERSIONS[freezer.version].freeze(self._folder(freezer, name), FREEZE_TIMEOUT)

    def thaw(self, name: str) -> None:
        freezer = self.layout.freezer
        VERSIONS[freezer.version].thaw(self._folder(freezer, name), FREEZE_TIMEOUT)

    def frozen(self, name: str) -> bool:
        """Whether the group is frozen, or on its way there."""
        freezer = self.layout.freezer
        return bool(VERSIONS[freezer.version].is_frozen(self._folder(freezer, name)))

    def stats(self, name: str) -> Stats:
        """Figures of a group that exists, alive or dead; zeros where there is none."""
        usage, memory = self.layout.usage, self.layout.memory
        in_memory, group = VERSIONS[memory.version], self._folder(memory, name)
        return Stats(
            cpu_microseconds=VERSIONS[usage.version].cpu_microseconds(self._folder(usage, name)),
            memory_bytes=in_memory.memory_bytes(group),
            memory_peak_bytes=in_memory.memory_peak_bytes(group),
            pids=read_int(self._folder(self.layout.pids, name) / "pids.current"),
            oom_kills=in_memory.oom_kills(group),
        )

    def figures(self, name: str) -> tuple[int, int, int] | None:
        """Microseconds of processor, bytes of memory without free cache, and of that cache; None where there is no such
        group. Less than ``stats``, and cheaper."""
        usage, memory = self.layout.usage, self.layout.memory
        group = self._folder(memory, name)
        held = VERSIONS[memory.version].memory_and_cache(group)
        if held is None:
            return None
        return VERSIONS[usage.version].cpu_microseconds(self._folder(usage, name)), *held

    def kill(self, name: str) -> None:
        """SIGKILL everything in the group, frozen or not, and wait until it is gone.

        A process that a launcher had put into only some of the hierarchies is found as well.
        """
        freezer = self.layout.freezer
        group = self._folder(freezer, name)
        for procs in (self._aside(name) / "cgroup.procs", *self.procs_files(name)):
            kill_all(procs, lambda: VERSIONS[freezer.version].let_die(group), KILL_TIMEOUT)

    def expect_move(self, name: str, pid: int) -> None:
        """Takes 10 ms and changes nothing, but ``uncounted`` is quick in the next few: of the kernel's locks for moves,
        the first of several in a row has to wait until all processors have taken notice."""
        with contextlib.suppress(EngineError):  # It has just died.
            write(self._folder(self.layout.memory, name) / "cgroup.procs", str(pid))

    @contextlib.contextmanager
    def uncounted(self, name: str, pid: int) -> Iterator[None]:
        """Memory that the member's process ``pid`` takes meanwhile counts as nobody's, for good: what is written to a
        file in the machine's memory would otherwise bring the writer to its limit, and count until the file is gone."""
        aside = self._aside(name)
        try:
            aside.mkdir(exist_ok=True)
        except OSError as error:
            raise EngineError(f"cannot make control group {aside}: {error.strerror}") from error
        try:
            write(aside / "cgroup.procs", str(pid))
            yield
        finally:
            self.bring_back(name)

    def bring_back(self, name: str) -> None:
        """End an ``uncounted`` that the server's death has interrupted, or nothing."""
        aside, home = self._aside(name), self._folder(self.layout.memory, name)
        for pid in read_pids(aside / "cgroup.procs"):
            with contextlib.suppress(EngineError):  # It has just died.
                write(home / "cgroup.procs", str(pid))
        _remove(aside)

    def _aside(self, name: str) -> Path:
        folder = self._folder(self.layout.memory, name)
        return folder.with_name(folder.name + ASIDE)

    def _folder(self, hierarchy: Hierarchy, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise EngineError(f"not a name for a control group: {name!r}")
        return hierarchy.path / self._parent / name

    def _folders(self, name: str) -> list[Path]:
        return [self._folder(hierarchy, name) for hierarchy in self.layout.hierarchies]


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + REMOVE_TIMEOUT
    while not _removed(folder):
        if read_pids(folder / "cgroup.procs") or time.monotonic() > deadline:
            raise EngineError(f"control group {folder} is still in use")
        time.sleep(REMOVE_PAUSE)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise EngineError(f"cannot remove control group {folder}: {error.strerror}") from error
    return True


def _delegate(group: Path, controllers: list[str]) -> None:
    """Let children of a v2 group have controllers.

    A group other than the real root may not have both processes and such children. In a container its processes sit in
    the root of the container's own tree, so they are moved to a leaf, as container engines do it.
    """
    control = group / "cgroup.subtree_control"
    missing = [name for name in controllers if name not in control.read_text().split()]
    if not missing:
        return
    words = " ".join(f"+{name}" for name in missing)
    try:
        write(control, words)
    except EngineError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EBUSY:
            raise
        leaf = group / "init"
        leaf.mkdir(exist_ok=True)
        for pid in read_pids(group / "cgroup.procs"):
            with contextlib.suppress(EngineError):
                write(leaf / "cgroup.procs", str(pid))
        write(control, words)
