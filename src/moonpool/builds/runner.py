"""Carrying out a recipe, whole: from its base to the disk of its snapshot."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from moonpool.builds.cache import LayerCache
from moonpool.builds.contexts import Contexts
from moonpool.builds.disks import Disks
from moonpool.builds.dockerfile import parse
from moonpool.builds.logs import BuildLog
from moonpool.builds.machine import BuildMachines
from moonpool.builds.model import Build, Login
from moonpool.builds.stage import Result
from moonpool.builds.steps import BuildSteps
from moonpool.engine.images.oci import ImageConfig
from moonpool.registry.service import PushedImages


@dataclass(frozen=True)
class Outcome:
    config: ImageConfig
    size_bytes: int
    has_memory: bool = False


@dataclass(frozen=True)
class Runner:
    cache: LayerCache
    disks: Disks
    machines: BuildMachines
    contexts: Contexts
    images: PushedImages

    async def run(
        self, build: Build, logins: tuple[Login, ...], log: BuildLog, begin: Callable[[str, bool], Awaitable[None]]
    ) -> Outcome:
        """The snapshot's disk is there when this returns. Raises what the recipe meets: BuildError, ImageError."""
        recipe = build.recipe
        with self.cache.pinning() as pins:
            steps = BuildSteps(
                build.team_id,
                recipe,
                logins,
                self.cache,
                self.disks,
                self.machines,
                self.contexts,
                self.images,
                log,
                begin,
                pins,
            )
            result = await self._result(build, steps)
            config = result.config
            if recipe.entrypoint is not None:
                config = replace(config, entrypoint=recipe.entrypoint, cmd=None)
            if recipe.start or recipe.ready:
                return await self._started(build, steps, result, config)
            await steps.phase("Storing the snapshot")
            await self.disks.publish(result.layer, build.snapshot_id)
            return Outcome(config, await self.cache.size(pins))

    async def _started(self, build: Build, steps: BuildSteps, result: Result, config: ImageConfig) -> Outcome:
        await steps.phase("Starting what is to run")
        captured = await self.machines.capture(result.layer, build.snapshot_id, build.recipe, config, steps.say)
        return Outcome(config, captured.size_bytes, captured.has_memory)

    async def _result(self, build: Build, steps: BuildSteps) -> Result:
        recipe = build.recipe
        if recipe.dockerfile is None:
            await steps.phase(f"Image {recipe.image}")
            return await steps.image(recipe.image or "")
        # A long one takes seconds, in which others go on.
        steps.file = await asyncio.to_thread(parse, recipe.dockerfile, recipe.arguments)
        return await steps.stage(steps.file.wanted(recipe.target))
