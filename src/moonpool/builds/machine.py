"""One RUN of a build: a sandbox of its own on the layer before, which becomes the layer after; and the last one,
in which what is to run in sandboxes of the snapshot is started."""

import asyncio
import posixpath
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from moonpool.builds.disks import Disks
from moonpool.builds.model import BuildLimits, Readiness, Recipe
from moonpool.builds.mounts import StepMount
from moonpool.engine.images.oci import ImageConfig
from moonpool.errors import BuildError, CommandNotFound, FileNotFound, GuestError, InvalidInput, MoonpoolError
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, ProcessEvent, ProcessSpec
from moonpool.hosts.model import Captured, MachineSpec, Mount, NetworkPolicy, layer_image
from moonpool.ids import new_sandbox_id
from moonpool.sandboxes.machines import Machines

HOSTNAME = "build"
BESIDE = "/.step"  # where folders are mounted of which one file is wanted
ASIDE = ".before-step"
SHOWN = 2000  # characters of what a health check said last


@dataclass(frozen=True)
class Command:
    """``env`` is the image's and the arguments'; ``shown`` is how it is written in the recipe."""

    argv: tuple[str, ...]
    config: ImageConfig
    env: dict[str, str]
    network: bool
    shown: str
    mounts: tuple[StepMount, ...] = ()


class BuildMachines:
    def __init__(self, machines: Machines, disks: Disks, limits: BuildLimits) -> None:
        self._machines, self._disks, self._limits = machines, disks, limits

    async def run(
        self,
        parent: str,
        layer_id: str,
        command: Command,
        write: Callable[[str], None],
        volumes: Sequence[str] = (),
    ) -> int:
        """Run it on the layer ``parent``; what it leaves becomes ``layer_id``, unless it fails (BuildError). How many
        bytes it wrote. Nothing of the machine is left, however this ends; one whose server is killed is removed at the
        next start, since no row knows it. ``volumes`` hold what its mounts show, in their order."""
        spec = self._spec(parent, command.config, command.env, network=command.network)
        try:
            await self._machines.create(spec)
            async with (
                self._machines.session(spec.id) as agent,
                self._mounted(agent, spec.id, command, volumes),
            ):
                await self._follow(agent, command, spec, write)
            await self._machines.stop(spec.id)
            return await self._disks.keep(spec.id, layer_id)
        finally:
            await self._machines.destroy(spec.id)

    async def capture(
        self, layer: str, snapshot_id: str, recipe: Recipe, config: ImageConfig, say: Callable[[str], None]
    ) -> Captured:
        """Start on the layer what the recipe wants to run, wait until it is ready, and keep disk and memory as the
        snapshot. BuildError; as ``run``, nothing of the machine is left."""
        spec = self._spec(layer, config, dict(config.env), network=True)
        await self._machines.forget(snapshot_id)  # Of a server that was killed here.
        try:
            await self._machines.create(spec)
            async with self._machines.session(spec.id) as agent:
                for command in recipe.start:
                    say(f"START {command}")
                    await agent.start(shell(command, spec, config))
                if recipe.ready is not None:
                    await self._until_ready(agent, recipe.ready, spec, config, say)
            return await self._machines.capture(spec.id, snapshot_id, memory=True)
        except GuestError as error:
            raise BuildError(f"What is to run cannot be started: {error.message}") from error
        finally:
            await self._machines.destroy(spec.id)

    @asynccontextmanager
    async def _mounted(
        self, agent: AgentClient, machine_id: str, command: Command, volumes: Sequence[str]
    ) -> AsyncIterator[None]:
        """Nothing of the mounts is left in the disk when a step has ended well: it becomes a layer then."""
        if not command.mounts:
            yield
            return
        places = [f"{BESIDE}/{at}" if each.file else each.target for at, each in enumerate(command.mounts)]
        try:
            made = [await missing(agent, path) for path in (*(each.target for each in command.mounts), *places)]
            shown = zip(command.mounts, volumes, places, strict=True)
            await self._machines.set_mounts(
                machine_id,
                [
                    Mount(volume, place, mount.subpath.strip("/") or None, mount.read_only, slot)
                    for slot, (mount, volume, place) in enumerate(shown)
                ],
            )
            for mount, place in zip(command.mounts, places, strict=True):
                await prepare(agent, mount, place)
        except (GuestError, InvalidInput) as error:
            raise BuildError(f"{command.shown} cannot have its mounts: {error.message}", hint=error.hint) from error
        yield
        with suppress(MoonpoolError):  # A program that the step has left running uses one; it ends with the machine.
            await self._machines.set_mounts(machine_id, ())
        for mount in command.mounts:
            if mount.file:
                await put_back(agent, mount.target)
        for path in (path for paths in made for path in paths):
            with suppress(GuestError):  # Not empty: the step has put something beside the mount.
                await agent.remove(path)

    async def _until_ready(
        self, agent: AgentClient, ready: Readiness, spec: MachineSpec, config: ImageConfig, say: Callable[[str], None]
    ) -> None:
        """Nothing tells when it is: it is asked again and again."""
        probe = replace(shell(ready.command, spec, config), timeout=ready.timeout, merge_output=True)
        result = None
        try:
            async with asyncio.timeout(ready.patience):
                while True:
                    result = await agent.run(probe)
                    if not result.exit_code:
                        return
                    await asyncio.sleep(ready.interval)
        except TimeoutError:
            if result is not None:
                say(result.stdout.decode(errors="replace")[-SHOWN:])
            message = f"The health check did not succeed within {ready.patience:.0f} seconds"
            raise BuildError(message, hint="The log has what it said last.") from None

    def _spec(self, layer: str, config: ImageConfig, env: dict[str, str], *, network: bool) -> MachineSpec:
        return MachineSpec(
            id=new_sandbox_id(),
            image=layer_image(layer),
            resources=self._limits.resources,
            hostname=HOSTNAME,
            user=config.user.partition(":")[0] or "root",
            group=config.user.partition(":")[2],
            env=env,
            network=NetworkPolicy(block_all=not network),
        )

    async def _follow(
        self, agent: AgentClient, command: Command, spec: MachineSpec, write: Callable[[str], None]
    ) -> None:
        seconds = self._limits.step_seconds
        process = ProcessSpec(
            argv=command.argv,
            cwd=command.config.workdir or "/",
            user=spec.user,
            timeout=seconds,
            merge_output=True,
        )
        ended: Exited | None = None
        try:
            async with agent.start_and_attach(process) as (_info, events):
                async for event in events:
                    ended = heard(event, write) or ended
        except CommandNotFound as error:
            raise BuildError(
                f"{command.shown} cannot be run: {error.message}", hint="Has the image a shell?"
            ) from error
        except GuestError as error:
            raise BuildError(f"{command.shown} cannot be run: {error.message}") from error
        if ended is None or ended.timed_out:
            raise BuildError(f"{command.shown} did not end within {seconds:.0f} seconds")
        if ended.exit_code:
            raise BuildError(f"{command.shown} failed with exit code {ended.exit_code}", exit_code=ended.exit_code)


async def missing(agent: AgentClient, path: str) -> list[str]:
    """The path and the folders above it that are not there, the deepest first."""
    found: list[str] = []
    while path != "/":
        try:
            await agent.stat(path)
        except FileNotFound:
            found.append(path)
            path = posixpath.dirname(path)
        else:
            break
    return found


async def prepare(agent: AgentClient, mount: StepMount, place: str) -> None:
    """A file is put in its place, and what is there aside; a new cache gets its mode and owner."""
    if mount.file:
        with suppress(FileNotFound):
            await agent.move(mount.target, mount.target + ASIDE)
        await agent.mkdir(posixpath.dirname(mount.target), parents=True)
        await agent.copy(f"{place}/{mount.file}", mount.target)
        return
    if mount.owner is not None:
        await agent.chown(place, *map(str, mount.owner))
    if mount.mode is not None:
        await agent.chmod(place, mount.mode)


async def put_back(agent: AgentClient, target: str) -> None:
    with suppress(FileNotFound):
        await agent.remove(target)
    with suppress(FileNotFound):
        await agent.move(target + ASIDE, target)


def shell(command: str, spec: MachineSpec, config: ImageConfig) -> ProcessSpec:
    return ProcessSpec(argv=("/bin/sh", "-c", command), cwd=config.workdir or "/", user=spec.user)


def heard(event: ProcessEvent, write: Callable[[str], None]) -> Exited | None:
    if isinstance(event, Exited):
        return event
    write(event.data.decode(errors="replace"))
    return None
