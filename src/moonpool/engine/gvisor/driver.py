"""Sandboxes by gVisor: boot, checkpoint, restore, attach, pause, kill. Blocking and thread-safe."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from moonpool.engine.cgroups import Cgroups
from moonpool.engine.gvisor import checkpoint as images
from moonpool.engine.gvisor import control, launch, linux, saving, spec, state
from moonpool.engine.gvisor.capabilities import probe
from moonpool.engine.gvisor.digests import Digests
from moonpool.engine.gvisor.mending import mended
from moonpool.engine.gvisor.model import Held, Member, Running, Share
from moonpool.engine.gvisor.refusal import head, reason, refusal
from moonpool.engine.instance import Instance
from moonpool.errors import AgentTimeout, CheckpointRefused, EngineError

START_TIMEOUT = 60.0  # seconds, for boot and restore
RESUME_TIMEOUT = 30.0  # seconds
RUNSC_LOG, AGENT_LOG = "runsc.log", "agent.log"
NOWHERE = "nowhere"  # folder in which a checkpoint finds no room
HELD = "held"  # file that tells whether the sandbox is paused
LONGEST_NAME = 40  # characters of a member's name
LONGEST_SOCKET_PATH = 108  # bytes, see unix(7)
CHECKPOINT_TIMEOUT = 600.0  # seconds: gigabytes may have to be written
PAUSE_TIMEOUT = CHECKPOINT_TIMEOUT  # what programs write to the disk just then is waited for

log = structlog.get_logger(__name__)


class Driver:
    def __init__(
        self, instance: Instance, cgroups: Cgroups, agent: Path, *, runsc: str = "runsc", mend: bool = True
    ) -> None:
        """``agent`` is the folder seen at /.agent inside; ``mend``: as mending.py says. Raises MachineUnfit where
        ``runsc`` will not do."""
        self.capabilities = probe(runsc)
        self.agent = agent
        self._cgroups = cgroups
        program = Path(shutil.which(runsc) or runsc)
        if mend:
            program = mended(program, self.capabilities.version, instance.data / "gvisor")
        self._runsc = str(program)
        self._digests = Digests()
        self._state, self._members = state_folder(instance), instance.run / "members"
        run = instance.run
        self._folders = spec.Folders(run / "empty", agent, run / "shares")
        for folder in (self._state, self._members):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folders.make()

    def close(self) -> None:
        """Remove runsc's folder where it is not below the server's data and nothing is in it any more."""
        with contextlib.suppress(OSError):
            self._state.rmdir()

    # -- starting ------------------------------------------------------------------------------------------------------

    def boot(self, member: Member, *, secret: str) -> Running:
        """Start the agent on an empty root; it expects ``secret`` of whoever connects. About 0.3 s."""
        bundle = self._members / member.name
        command = ["run", "--detach", f"--bundle={bundle}", member.name]
        try:
            return self._launch(member, secret, command, (), bundle / AGENT_LOG)
        finally:
            (bundle / "config.json").unlink(missing_ok=True)

    def restore(
        self,
        member: Member,
        image: Path,
        *,
        root: Path | None = None,
        shares: Sequence[Share] = (),
        checksum: bool = False,
    ) -> Running:
        """Start ``member`` with the memory of checkpoint ``image``; ``root`` and ``shares`` are what was attached when
        it was made.

        With ``checksum`` every byte is compared while runsc starts. Raises CheckpointIncompatible or
        CheckpointCorrupt, with nothing left that runs.
        """
        images.verify(image, self.capabilities)
        if not checksum:
            return self._restore(member, image, root, shares)
        with ThreadPoolExecutor(1, "checksum") as threads:
            reading = threads.submit(images.verify, image, self.capabilities, digests=self._digests)
            running = self._restore(member, image, root, shares)
        try:
            reading.result()
        except EngineError:
            self.kill(member.name)
            raise
        return running

    def prepare(self, member: Member) -> Running:
        """Start ``member`` without anything in it: revive() gives it its memory. About 0.1 s, a third of a restore."""
        bundle = self._members / member.name
        return self._launch(member, None, ["create", f"--bundle={bundle}", member.name], (), Path(os.devnull))

    def revive(self, member: Member, running: Running, image: Path, root: Path, shares: Sequence[Share] = ()) -> None:
        """restore() of one that was prepared, with ``checksum``. Where it fails, the member has to be killed."""
        images.verify(image, self.capabilities)
        self.attach(running, root)
        for share in shares:
            self.attach_share(running, share)
        bundle = self._members / member.name
        command = ["restore", *self.capabilities.restore_flags, f"--image-path={image}", f"--bundle={bundle}"]
        with ThreadPoolExecutor(1, "checksum") as threads:
            reading = threads.submit(images.verify, image, self.capabilities, digests=self._digests)
            try:
                code = self._start(member, [*command, member.name], (), Path(os.devnull))
            except OSError as error:
                raise EngineError(f"cannot restore {member.name}: {error}") from error
        reading.result()
        if code:
            raise EngineError(f"runsc restore failed ({code}): {self._log(member.name)}")

    def _restore(self, member: Member, image: Path, root: Path | None, shares: Sequence[Share]) -> Running:
        bundle = self._members / member.name
        command = ["restore", *self.capabilities.restore_flags, f"--image-path={image}", f"--bundle={bundle}"]
        binds = (launch.Bind(root, self._folders.late_root),) if root else ()
        try:
            with self._cloned(shares) as trees:
                return self._launch(member, None, [*command, member.name], binds, Path(os.devnull), trees)
        except EngineError:
            images.verify(image, self.capabilities, digests=self._digests)
            raise

    def attach(self, running: Running, source: Path, target: str = spec.LATE_ROOT) -> None:
        """Mount ``source`` at ``target`` in a sandbox that runs. About 1 ms."""
        try:
            launch.attach(running.gofer_pid, source, target)
        except OSError as error:
            raise EngineError(f"cannot attach {source.name} to {running.name}: {error}") from error

    def attach_share(self, running: Running, share: Share) -> None:
        """Mount a folder that others use as well below /.volumes; whatever was at that mount point goes."""
        target = spec.share_target(share.slot)
        try:
            launch.detach(running.gofer_pid, target)
            launch.attach(running.gofer_pid, share.source, target, read_only=share.read_only)
        except OSError as error:
            raise EngineError(f"cannot attach a volume to {running.name}: {error}") from error

    def shares(self, running: Running) -> set[int]:
        """The mount points at which there is one."""
        try:
            points = launch.mount_points(running.gofer_pid)
        except OSError as error:
            raise EngineError(f"the mounts of {running.name} cannot be read: {error}") from error
        return {slot for slot in range(spec.SHARES) if spec.share_target(slot) in points}

    def detach_share(self, running: Running, slot: int) -> None:
        """What is still open there stays usable. Nothing to do where nothing is mounted."""
        try:
            launch.detach(running.gofer_pid, spec.share_target(slot))
        except OSError as error:
            raise EngineError(f"cannot detach a volume from {running.name}: {error}") from error

    @contextlib.contextmanager
    def _cloned(self, shares: Sequence[Share]) -> Iterator[list[launch.Tree]]:
        """The shares as mounts that are nowhere yet. Raises EngineError."""
        with contextlib.ExitStack() as opened:
            trees = []
            for share in shares:
                try:
                    tree = linux.clone_tree(share.source, read_only=share.read_only)
                except OSError as error:
                    raise EngineError(f"cannot attach a volume: {error}") from error
                opened.callback(os.close, tree)
                trees.append(launch.Tree(tree, self._folders.share(share.slot)))
            yield trees

    def _launch(
        self,
        member: Member,
        secret: str | None,
        command: Sequence[str],
        binds: Iterable[launch.Bind],
        output: Path,
        trees: Iterable[launch.Tree] = (),
    ) -> Running:
        """Start runsc for a member; ``output`` is where the agent writes to. Where it fails, nothing is left."""
        try:
            self._prepare(member, secret)
            code = self._start(member, command, binds, output, trees)
            running = state.read(self._state, member.name)
            if code or running is None:
                raise EngineError(f"runsc {command[0]} failed ({code}): {self._log(member.name)}")
        except (OSError, EngineError) as error:
            self.kill(member.name)
            if isinstance(error, EngineError):
                raise
            raise EngineError(f"cannot launch {member.name}: {error}") from error
        return running

    def _start(
        self,
        member: Member,
        command: Sequence[str],
        binds: Iterable[launch.Bind],
        output: Path,
        trees: Iterable[launch.Tree] = (),
    ) -> int:
        """Run runsc where the member is to live; its exit code."""
        # What all sandboxes share is read-only here already. The specification saying so is not enough: root inside may
        # remount, and runsc's gofer has the folder writable.
        folders = self._folders
        targets = (
            (folders.empty, folders.empty),
            (folders.agent, folders.agent_target),
            (folders.shares, folders.shares),
        )
        shared = (launch.Bind(source, target, read_only=True) for source, target in targets)
        groups = self._cgroups.procs_files(member.cgroup)
        words = self._command(member.name, command)
        with output.open("wb") as file:
            process = launch.start_in_network(member.slot.namespace, (*shared, *binds), groups, words, file, trees)
            return launch.finish(process, START_TIMEOUT)

    def _prepare(self, member: Member, secret: str | None) -> None:
        bundle = self._members / member.name
        bundle.mkdir(mode=0o700, exist_ok=True)
        (bundle / "member.json").write_text(json.dumps({"cgroup": member.cgroup}))
        spec.write(bundle, spec.build(member.slot.namespace, self._folders, secret))
        self._cgroups.create(member.cgroup)

    # -- while it runs -------------------------------------------------------------------------------------------------

    def pause(self, name: str) -> None:
        """Stop every process inside, until resume(); what is paused already must not be paused again."""
        self._control(name, "Pause", PAUSE_TIMEOUT, then=Held.YES)

    def resume(self, name: str) -> None:
        """Let the processes go on. The sandbox's kernel dies of one that was not paused, see held(). AgentTimeout: it
        saves its memory, and lets them go on after that."""
        self._control(name, "Resume", RESUME_TIMEOUT, then=Held.NO)

    def held(self, name: str) -> Held:
        """Whether it is paused, as far as whoever paused it lived to write down."""
        try:
            return Held((self._members / name / HELD).read_text())
        except FileNotFoundError:
            return Held.NO
        except (OSError, ValueError):  # He died, or the disk was full, when it was emptied and not written yet.
            return Held.PERHAPS

    def _control(self, name: str, call: str, timeout: float, *, then: Held) -> None:
        self._note(name, Held.PERHAPS)
        control.call(self._socket(name), f"containerManager.{call}", timeout)
        self._note(name, then)

    def _note(self, name: str, held: Held) -> None:
        """On a disk that is full it is emptied and not written: nobody is to stay paused for that."""
        try:
            (self._members / name / HELD).write_text(held.value)
        except FileNotFoundError as error:
            raise EngineError(f"there is no sandbox {name}") from error
        except OSError as error:
            log.warning("note_not_written", member=name, held=held.value, error=error.strerror)

    def checkpoint(
        self,
        name: str,
        target: Path,
        *,
        leave_running: bool = False,
        connected: bool = True,
        checksum: bool = True,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """Save the memory to the new folder ``target``, on disk and whole when this returns.

        Without ``leave_running`` the sandbox is ended, but only when the checkpoint is safe; with it, the sandbox goes
        on, so pause it first where its files must fit its memory. TCP connections to the outside are cut in either
        case. ``connected`` may be False where there are none, which is quicker. Raises CheckpointRefused: then nothing
        is left at ``target`` and the sandbox goes on.
        """
        try:
            partial = images.partial_folder(target)
        except OSError as error:
            raise CheckpointRefused(f"the memory of {name} cannot be written: {error}") from error
        try:
            if not leave_running:
                self.pause(name)
            try:
                self._write_memory(name, partial, connected=connected)
                digests = self._digests if checksum else None
                images.publish(partial, target, self.capabilities, digests=digests, extra=extra or {})
            except (EngineError, OSError):
                if not leave_running:
                    self.resume(name)
                raise
        except OSError as error:
            raise CheckpointRefused(f"the memory of {name} cannot be written: {error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        if not leave_running:
            self._end_saved(name)

    def _end_saved(self, name: str) -> None:
        """That it is long in dying must not cost the memory, which is safe: whoever clears up kills it again."""
        try:
            self.kill(name)
        except EngineError as error:
            log.warning("saved_member_not_dead", member=name, reason=error.message)

    @property
    def writes_over_files(self) -> bool:
        """Whether save_moment() makes use of an older checkpoint's files in its folder; else it removes them, since the
        command refuses what is there."""
        return saving.known(self.capabilities.version)

    def save_moment(self, name: str, folder: Path, take: Callable[[], None], *, connected: bool) -> None:
        """Save the memory into ``folder`` and run ``take`` while nothing inside moves; the sandbox goes on.

        ``take`` comes after the memory, since with that runsc writes out what files still lack. seal() or publish()
        makes a checkpoint of the folder. Otherwise as checkpoint().
        """
        call = self.writes_over_files and not connected
        if not call:
            for file in folder.iterdir():
                file.unlink()
        self.pause(name)
        try:
            self._write_memory(name, folder, connected=connected, call=call)
            take()
        except OSError as error:
            raise CheckpointRefused(f"the memory of {name} cannot be written: {error}") from error
        finally:
            self.resume(name)

    def seal(self, folder: Path) -> None:
        """Make what save_moment() wrote a checkpoint that can be restored, though a power cut may spoil it."""
        images.seal(folder, self.capabilities, digests=None, extra={})

    def publish(self, folder: Path, target: Path) -> None:
        """The same, on disk and whole under its new name when this returns."""
        try:
            images.publish(folder, target, self.capabilities, digests=self._digests, extra={})
        except OSError as error:
            raise CheckpointRefused(f"{target.name} cannot be written: {error}") from error

    def _write_memory(self, name: str, folder: Path, *, connected: bool, call: bool = False) -> None:
        """The sandbox's own kernel writes it, and is not to be ended for the memory that takes. ``call`` asks it
        without runsc."""
        running = state.read(self._state, name)
        if running is None:
            raise EngineError(f"there is no sandbox {name}")
        with self._cgroups.uncounted(self._cgroup(name), running.sandbox_pid):
            if connected:
                self._cut_connections(name)
            if call:
                self._call_to_save(name, running, folder)
            else:
                self._save(name, launch.spawn(self._checkpoint_command(name, folder), subprocess.DEVNULL))

    def _call_to_save(self, name: str, running: Running, folder: Path) -> None:
        try:
            saving.save(self._socket(name), folder, CHECKPOINT_TIMEOUT)
        except (EngineError, AgentTimeout) as error:
            raise refusal(name, running, error.message) from error

    def _cut_connections(self, name: str) -> None:
        """Have runsc drop all connections, by a checkpoint that comes to nothing for want of room.

        runsc drops them while it writes, so that what it has written of an epoll set with one of them in it is torn:
        the program that waits on it spins after the restore and hears of nothing any more. Dropped beforehand they do
        no harm. What follows from it takes gVisor a moment: a call instead of the command, which is 40 ms quicker, was
        too quick for one checkpoint in ten on a busy machine.
        """
        nowhere = self._members / name / NOWHERE  # Nothing can be mounted in a folder that is itself mounted nowhere.
        nowhere.mkdir(exist_ok=True)
        with contextlib.suppress(CheckpointRefused):
            self._save(name, launch.start_without_room(nowhere, self._checkpoint_command(name, nowhere)))

    def _save(self, name: str, process: launch.Process) -> None:
        if launch.finish(process, CHECKPOINT_TIMEOUT):
            log = self._members / name / RUNSC_LOG
            raise refusal(name, state.read(self._state, name), head(log))

    def _checkpoint_command(self, name: str, folder: Path) -> list[str]:
        flags = (*self.capabilities.checkpoint_flags, "--leave-running", f"--image-path={folder}")
        return self._command(name, ["checkpoint", *flags, name])

    def verify(self, image: Path, *, checksum: bool = False) -> None:
        """Raises CheckpointIncompatible or CheckpointCorrupt; sizes only, unless ``checksum``."""
        images.verify(image, self.capabilities, digests=self._digests if checksum else None)

    # -- ending --------------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """End the sandbox at once, whatever state it is in, and forget it. Its control group goes too.

        Read the group's figures before, where they are wanted.
        """
        self._cgroups.kill(self._cgroup(name))
        self.delete(name)

    def delete(self, name: str) -> None:
        """Forget a sandbox whose processes are gone: runsc's state, its folder, its control group. Idempotent."""
        self._cgroups.delete(self._cgroup(name))
        state.forget(self._state, name)
        shutil.rmtree(self._members / name, ignore_errors=True)

    # -- what there is -------------------------------------------------------------------------------------------------

    def running(self) -> list[Running]:
        """The sandboxes that are alive now, for adoption by a server that was restarted."""
        found = (state.read(self._state, name) for name in self.names())
        return [running for running in found if running and state.alive(running)]

    def names(self) -> list[str]:
        """Every name with any trace here, alive or not; kill() removes each of them wholly."""
        folders = {entry.name for entry in self._members.iterdir()}
        return sorted(folders | set(state.names(self._state)))

    def specification_digest(self) -> str:
        """Hexadecimal sha256 of what is the same in every sandbox's specification."""
        nowhere = Path("/")
        shape = spec.build(nowhere, spec.Folders(nowhere, nowhere, nowhere), None)
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()

    # -- calling runsc -------------------------------------------------------------------------------------------------

    def _command(self, name: str, arguments: Sequence[str]) -> list[str]:
        log = self._members / name / RUNSC_LOG
        with contextlib.suppress(FileNotFoundError):
            os.truncate(log, 0)
        return [self._runsc, f"--root={self._state}", f"--log={log}", *self.capabilities.flags, *arguments]

    def _socket(self, name: str) -> Path:
        return self._state / f"runsc-{name}.sock"

    def _log(self, name: str) -> str:
        """What runsc, or else the agent that it started, gave as the reason."""
        folder = self._members / name
        return reason(folder / RUNSC_LOG) or reason(folder / AGENT_LOG)

    def _cgroup(self, name: str) -> str:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads((self._members / name / "member.json").read_text())["cgroup"])
        return name


def state_folder(instance: Instance) -> Path:
    """runsc's root folder. It puts a socket there, and where the path is too long for one, silently somewhere else."""
    folder = instance.run / "runsc"
    if len(os.fsencode(folder / f"runsc-{'x' * LONGEST_NAME}.sock")) < LONGEST_SOCKET_PATH:
        return folder
    return Path("/run") / f"moonpool-{instance.tag}"
