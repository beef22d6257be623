"""One build at work: its stages, each once, and everything that a stage asks for, out of the cache or made."""

import io
import tarfile
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moonpool.builds.cache import LayerCache, Made, key_of
from moonpool.builds.contexts import Contexts
from moonpool.builds.disks import STEP_VOLUME, Disks
from moonpool.builds.dockerfile import Dockerfile
from moonpool.builds.logs import BuildLog
from moonpool.builds.machine import BuildMachines, Command
from moonpool.builds.model import Layer, Login, Recipe
from moonpool.builds.mounts import StepMount
from moonpool.builds.remotes import Remote
from moonpool.builds.stage import Result, StageRun
from moonpool.engine.images.oci import Credentials, ImageConfig, Reference, Registry, Source, parse_reference
from moonpool.engine.images.oci.copying import Placement, Selection
from moonpool.engine.images.oci.layout import architecture
from moonpool.errors import BuildError, BuildInvalid, ImageError, InvalidInput
from moonpool.ids import new_uuid
from moonpool.registry.service import PushedImages
from moonpool.snapshots.model import BASE_IMAGE

SCRATCH = "scratch"
TEMPLATE = "template"  # the recipe's own, where it has one
Begin = Callable[[str, bool], Awaitable[None]]
"""A phase begins; whether what it makes was there already."""


@dataclass
class BuildSteps:
    """``logins`` have their passwords in the clear; ``pins`` are the layers in use."""

    team_id: str
    recipe: Recipe
    logins: tuple[Login, ...]
    cache: LayerCache
    disks: Disks
    machines: BuildMachines
    contexts: Contexts
    images: PushedImages
    log: BuildLog
    begin: Begin
    pins: set[str]
    file: Dockerfile | None = None
    _stages: dict[int, Result] = field(default_factory=dict)
    _bases: dict[str, Result] = field(default_factory=dict)
    _title: str = ""

    async def phase(self, name: str) -> None:
        self._title = name
        self.log.line(name)
        await self.begin(name, False)

    def say(self, text: str) -> None:
        self.log.line(text)

    # -- where stages begin --------------------------------------------------------------------------------------------

    async def stage(self, number: int) -> Result:
        if number not in self._stages:
            assert self.file
            run = StageRun(self.file, number, self.recipe.arguments, self)
            try:
                self._stages[number] = await run.run()
            except (ImageError, InvalidInput, BuildInvalid) as error:
                if isinstance(error, BuildInvalid) and error.line is not None:
                    raise
                line = run.line or self.file.stages[number].line
                kind = BuildInvalid if isinstance(error, BuildInvalid) else BuildError
                raise kind(f"Dockerfile line {line}: {error.message}", line=line, hint=error.hint) from error
        return self._stages[number]

    async def base(self, name: str, line: int) -> Result:
        if name not in self._bases:
            try:
                self._bases[name] = await self._base(name)
            except InvalidInput as error:
                raise BuildInvalid(f"Dockerfile line {line}: {error.message}", line=line, hint=error.hint) from error
            except ImageError as error:
                raise BuildError(f"Dockerfile line {line}: {error.message}", line=line, hint=error.hint) from error
        return self._bases[name]

    async def _base(self, name: str) -> Result:
        if name == SCRATCH:
            return await self._scratch()
        if name == TEMPLATE and self.recipe.template is not None:
            return await self._template(self.recipe.template)
        return await self.image(name)

    async def _template(self, image: str) -> Result:
        key = key_of(TEMPLATE, await self.disks.identify(image))

        async def make(layer_id: str) -> Made:
            await self.disks.adopt(image, layer_id)
            return 0, None

        layer = await self._get(key, make, reuse=True)
        return Result(layer.id, key, ImageConfig.of(self.recipe.template_config))

    async def image(self, name: str) -> Result:
        """An image of a registry, this server's own too: asked for each time, fetched when it is another one than
        before."""
        reference = parse_reference(name)
        exact, digest = await self._exact(reference)
        key = key_of("image", reference.registry, reference.repository, digest, architecture())

        async def make(layer_id: str) -> Made:
            fetched = await self.disks.fetch(exact, layer_id, self.log.line)
            return fetched.bytes, fetched.config.document()

        self.log.line(f"{reference.name} is {digest}")
        layer = await self._get(key, make, reuse=True)
        return Result(layer.id, key, ImageConfig.of(layer.config or {}))

    async def _exact(self, reference: Reference) -> tuple[Source, str]:
        """What that is at present, and its digest."""
        pushed = await self.images.stored(self.team_id, reference)
        if pushed is not None:
            return pushed, f"sha256:{pushed.digest}"
        credentials = self._credentials(reference.registry)
        digest = await self.disks.resolve(Registry(reference, credentials))
        return Registry(reference.at(digest), credentials), digest

    def _credentials(self, registry: str) -> Credentials | None:
        for login in self.logins:
            if login.registry == registry:
                return Credentials(registry, login.username, login.password)
        return None

    async def _scratch(self) -> Result:
        key = key_of(SCRATCH)

        async def make(layer_id: str) -> Made:
            await self.disks.empty(layer_id)
            return 0, None

        return Result((await self._get(key, make, reuse=True)).id, key, ImageConfig())

    # -- what stages do ------------------------------------------------------------------------------------------------

    async def run(self, parent: str, key: str, command: Command) -> Layer:
        async def make(layer_id: str) -> Made:
            async with AsyncExitStack() as stack:
                volumes = [await stack.enter_async_context(self._lent(mount)) for mount in command.mounts]
                written = await self.machines.run(parent, layer_id, command, self.log.write, volumes)
                for mount, volume in zip(command.mounts, volumes, strict=True):
                    if mount.cache is not None and not mount.read_only:
                        await self._keep(mount.cache, volume)
                return written, None

        return await self._get(key, make)

    @asynccontextmanager
    async def _lent(self, mount: StepMount) -> AsyncIterator[str]:
        """A volume with what a mount shows, for one step. What a cache has is what the last step left there that ended
        well: steps at the same time do not disturb each other."""
        layer = mount.layer
        if mount.cache is not None and not self.recipe.skip_cache:
            found = await self.cache.find(self.team_id, mount.cache, self.pins)
            layer = layer if found is None else found.id
        volume = f"{STEP_VOLUME}{new_uuid()}"
        try:
            await self.disks.lend(layer, volume)
            yield volume
        finally:
            await self.disks.take_back(volume)

    async def _keep(self, key: str, volume: str) -> None:
        async def make(layer_id: str) -> Made:
            return await self.disks.keep_volume(volume, layer_id), None

        await self.cache.get(self.team_id, key, self.pins, make, fresh=True)

    async def digest(self, source: str, selection: Selection) -> tuple[str, bool]:
        found = await self.cache.look(source, selection)
        return found.digest, found.single

    async def copy(self, parent: str, key: str, source: str, selection: Selection, placement: Placement) -> Layer:
        async def make(layer_id: str) -> Made:
            return await self.disks.copy(parent, layer_id, source, selection, placement), None

        return await self._get(key, make)

    async def folders(self, parent: str, key: str, folders: tuple[str, ...], owner: str | None) -> Layer:
        async def make(layer_id: str) -> Made:
            return await self.disks.add_folders(parent, layer_id, folders, owner), None

        return await self._get(key, make)

    async def context(self) -> Layer:
        """The files that came with the recipe; none is an empty folder."""
        key = key_of("context", *self.recipe.context)

        async def make(layer_id: str) -> Made:
            with self.contexts.joined(self.team_id, self.recipe.context) as archives:
                return await self.disks.import_archives(archives, layer_id), None

        return await self._get(key, make, reuse=True, silent=True)

    async def fetched(self, remote: Remote, shown: str) -> Layer:
        """What an address has now; it is asked each time, unless its content is known to be always the same."""
        base = await self._template(BASE_IMAGE)
        command = Command(("/bin/sh", "-c", remote.script), ImageConfig(), {}, network=True, shown=shown)

        async def make(layer_id: str) -> Made:
            return await self.machines.run(base.layer, layer_id, command, self.log.write), None

        key = key_of("fetched", base.key, remote.script)
        fresh = not remote.fixed
        return (await self.cache.get(self.team_id, key, self.pins, make, fresh=fresh))[0]

    async def files(self, contents: Mapping[str, str]) -> Layer:
        """Small files that stand in the Dockerfile itself."""
        key = key_of("files", dict(contents))

        async def make(layer_id: str) -> Made:
            with tempfile.NamedTemporaryFile(suffix=".tar") as file:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                    for name, text in contents.items():
                        member = tarfile.TarInfo(name)
                        member.size, member.mode = len(text.encode()), 0o644
                        archive.addfile(member, io.BytesIO(text.encode()))
                file.flush()
                return await self.disks.import_archives([Path(file.name)], layer_id), None

        return await self._get(key, make, reuse=True, silent=True)

    async def _get(
        self, key: str, make: Callable[[str], Awaitable[Made]], *, reuse: bool = False, silent: bool = False
    ) -> Layer:
        """``reuse``: even where everything is to be made anew, since it could not be another. ``silent``: it is not the
        step's own result, so nothing is said of it."""
        fresh = self.recipe.skip_cache and not reuse
        layer, cached = await self.cache.get(self.team_id, key, self.pins, make, fresh=fresh)
        if cached and not silent:
            self.log.line("CACHED")
            await self.begin(self._title, True)
        return layer
