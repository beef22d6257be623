"""One RUN of a build: a sandbox of its own on the layer before, which becomes the layer after."""

from collections.abc import Callable
from dataclasses import dataclass

from moonpool.builds.disks import Disks
from moonpool.builds.model import BuildLimits
from moonpool.engine.images.oci import ImageConfig
from moonpool.errors import BuildError, CommandNotFound, GuestError
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, ProcessEvent, ProcessSpec
from moonpool.hosts.model import MachineSpec, NetworkPolicy, layer_image
from moonpool.ids import new_sandbox_id
from moonpool.sandboxes.machines import Machines

HOSTNAME = "build"


@dataclass(frozen=True)
class Command:
    """``env`` is the image's and the arguments'; ``shown`` is how it is written in the recipe."""

    argv: tuple[str, ...]
    config: ImageConfig
    env: dict[str, str]
    network: bool
    shown: str


class BuildMachines:
    def __init__(self, machines: Machines, disks: Disks, limits: BuildLimits) -> None:
        self._machines, self._disks, self._limits = machines, disks, limits

    async def run(self, parent: str, layer_id: str, command: Command, write: Callable[[str], None]) -> int:
        """Run it on the layer ``parent``; what it leaves becomes ``layer_id``, unless it fails (BuildError). How many
        bytes it wrote. Nothing of the machine is left, however this ends; one whose server is killed is removed at the
        next start, since no row knows it."""
        spec = MachineSpec(
            id=new_sandbox_id(),
            image=layer_image(parent),
            resources=self._limits.resources,
            hostname=HOSTNAME,
            user=command.config.user.partition(":")[0] or "root",
            env=command.env,
            network=NetworkPolicy(block_all=not command.network),
        )
        try:
            await self._machines.create(spec)
            async with self._machines.session(spec.id) as agent:
                await self._follow(agent, command, spec, write)
            await self._machines.stop(spec.id)
            return await self._disks.keep(spec.id, layer_id)
        finally:
            await self._machines.destroy(spec.id)

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


def heard(event: ProcessEvent, write: Callable[[str], None]) -> Exited | None:
    if isinstance(event, Exited):
        return event
    write(event.data.decode(errors="replace"))
    return None
