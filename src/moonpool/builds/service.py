"""Use cases of builds: asked for, followed, cancelled; carried out one after the other, whatever the server meets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.builds.cache import LayerCache
from moonpool.builds.contexts import Contexts
from moonpool.builds.dockerfile import parse
from moonpool.builds.logs import BuildLogs
from moonpool.builds.model import Build, BuildLimits, BuildState, Login, NewBuild, Phase, Recipe
from moonpool.builds.registry_service import RegistryService
from moonpool.builds.repository import BuildRepository
from moonpool.builds.runner import Outcome, Runner
from moonpool.builds.uploads import Uploads
from moonpool.clock import Clock
from moonpool.engine.images.oci import parse_reference
from moonpool.errors import BuildError, BuildNotFound, InvalidInput, LimitExceeded, MoonpoolError
from moonpool.ids import new_uuid
from moonpool.snapshots.model import Snapshot
from moonpool.snapshots.service import SnapshotService
from moonpool.store.database import Store
from moonpool.vault import Box

KEEP_ENDED = timedelta(days=30)
INTERNAL = "internal server error"
CANCELLED = "The build was cancelled"

log = structlog.get_logger(__name__)


class BuildService:
    """A team sees its own builds alone; BuildNotFound for any other. A build goes on whatever becomes of who asked,
    also over a restart of the server: then from the last step that was finished."""

    def __init__(
        self,
        store: Store,
        access: AccessService,
        snapshots: SnapshotService,
        registries: RegistryService,
        runner: Runner,
        cache: LayerCache,
        contexts: Contexts,
        logs: BuildLogs,
        secrets: Box,
        limits: BuildLimits,
        clock: Clock,
    ) -> None:
        self._store, self._access, self._snapshots, self._clock = store, access, snapshots, clock
        self._registries = registries
        self._runner, self._cache, self._logs = runner, cache, logs
        self._secrets, self._limits = secrets, limits
        self.contexts = contexts
        self.uploads = Uploads(contexts, limits.context_bytes, limits.contexts_bytes)
        self._repository = BuildRepository()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._builds: dict[str, Build] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._cancelled: set[str] = set()
        self._turns = asyncio.Semaphore(limits.parallel)

    async def start(self) -> None:
        """What an earlier server did not finish goes on."""
        self._logs.prepare()
        self.contexts.prepare()
        await self._cache.recover()
        async with self._store.reading() as connection:
            unfinished = await self._repository.unfinished(connection)
        known = {build.snapshot_id for build in unfinished}
        await self._snapshots.fail_unbuilt(known)
        for build in unfinished:
            self._launch(build)

    async def close(self) -> None:
        """What is under way is left for the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- asking --------------------------------------------------------------------------------------------------------

    async def submit(self, principal: Principal, new: NewBuild) -> tuple[Build, Snapshot]:
        """The build and its snapshot (``building``). InvalidInput, BuildInvalid (with the line), NameTaken,
        LimitExceeded: nothing was made."""
        self._access.require(principal, Scope.SNAPSHOTS_WRITE)
        await asyncio.to_thread(check, new.recipe)
        waiting = sum(1 for build in self._builds.values() if build.team_id == principal.team_id and not build.ended)
        if waiting >= self._limits.queued:
            raise LimitExceeded(f"{waiting} builds are waiting or running, as many as may", field="builds")
        snapshot = await self._snapshots.begin(
            principal,
            name=new.name,
            id=new.id,
            resources=new.resources,
            dialect_data=new.dialect_data,
            general=new.general,
        )
        recipe = replace(new.recipe, logins=tuple(self._sealed(login) for login in new.recipe.logins))
        queued, now = BuildState.QUEUED, self._clock.now()
        build = Build(
            new_uuid(), principal.team_id, snapshot.id, queued, recipe, now, dialect_data=dict(new.build_data)
        )
        async with self._store.transaction() as transaction:
            await self._repository.insert(transaction, build)
        self._launch(build)
        return build, snapshot

    async def get(self, principal: Principal, build: str) -> Build:
        """By its own id or its snapshot's."""
        self._access.require(principal, Scope.SNAPSHOTS_READ)
        for live in self._builds.values():
            if build in (live.id, live.snapshot_id) and live.team_id == principal.team_id:
                return live
        async with self._store.reading() as connection:
            found = await self._repository.find(connection, principal.team_id, build)
        if found is None:
            raise BuildNotFound(f"Build {build[:100]} not found")
        return found

    async def list(self, principal: Principal, limit: int = 100) -> list[Build]:
        """The newest first."""
        self._access.require(principal, Scope.SNAPSHOTS_READ)
        async with self._store.reading() as connection:
            rows = await self._repository.page(connection, principal.team_id, limit)
        return [self._builds.get(row.id, row) for row in rows]

    async def log(self, principal: Principal, build: str, *, follow: bool = False) -> AsyncIterator[bytes]:
        """What it has said; with ``follow`` also what it goes on to say, until its end."""
        found = await self.get(principal, build)
        return self._logs.read(found.id, follow=follow)

    async def cancel(self, principal: Principal, build: str) -> Build:
        """Ends at once what is under way; nothing to do for one that has ended."""
        self._access.require(principal, Scope.SNAPSHOTS_WRITE)
        found = await self.get(principal, build)
        task = self._tasks.get(found.id)
        if task is not None:
            self._cancelled.add(found.id)
            task.cancel()
            await asyncio.wait({task})
        return await self.get(principal, found.id)

    async def ended(self, principal: Principal, build: str, *, timeout: float | None = None) -> Build:
        """The build once it has ended, or as it is after ``timeout`` seconds."""
        found = await self.get(principal, build)
        task = self._tasks.get(found.id)
        if task is not None:
            await asyncio.wait({task}, timeout=timeout)
        return await self.get(principal, found.id)

    async def until_built(self, principal: Principal, snapshot: str) -> None:
        """Returns when the snapshot can be started from. BuildError where it cannot be made."""
        build = await self.ended(principal, snapshot)
        if not build.ended:  # The server ends; the next one goes on with the build.
            raise asyncio.CancelledError
        if build.state is not BuildState.SUCCEEDED:
            raise BuildError(build.reason or "")

    async def prune(self) -> None:
        """Forget what ended long ago; remove layers and contexts that nobody needs any more."""
        before = self._clock.now() - KEEP_ENDED
        async with self._store.transaction() as transaction:
            for build_id in await self._repository.prune(transaction, before):
                self._logs.remove(build_id)
        await self._cache.collect()
        oldest = self._clock.now() - timedelta(seconds=self._limits.cache_seconds)
        await asyncio.to_thread(self.contexts.prune, oldest.timestamp())
        await asyncio.to_thread(self.uploads.prune)

    # -- doing ---------------------------------------------------------------------------------------------------------

    def _launch(self, build: Build) -> None:
        self._builds[build.id] = build
        self._logs.open(build.id)
        task = asyncio.get_running_loop().create_task(self._carry_out(build), name=f"build {build.id}")
        self._tasks[build.id] = task
        task.add_done_callback(lambda _task: self._tasks.pop(build.id, None))

    async def _carry_out(self, build: Build) -> None:
        try:
            async with self._turns:
                await self._write(replace(build, state=BuildState.RUNNING, started_at=self._clock.now()))
                outcome = await self._attempt(build)
        except asyncio.CancelledError:
            if build.id not in self._cancelled:
                raise  # The server ends: the next one goes on with it.
            outcome = MoonpoolError(CANCELLED)
        await asyncio.shield(self._finish(build.id, outcome))

    async def _attempt(self, build: Build) -> "Outcome | MoonpoolError":
        try:
            given = tuple(self._opened(login) for login in build.recipe.logins)
            logins = (*given, *await self._registries.logins(build.team_id))
            async with asyncio.timeout(self._limits.seconds):
                return await self._runner.run(build, logins, self._logs.open(build.id), self._phase(build.id))
        except MoonpoolError as error:
            return error
        except TimeoutError:
            return MoonpoolError(f"The build took longer than {self._limits.seconds:.0f} seconds")
        except Exception:  # A build's outermost edge: it has failed, and the operator finds out why.
            log.exception("build_failed", build=build.id)
            return MoonpoolError(INTERNAL)

    def _phase(self, build_id: str) -> Callable[[str, bool], Any]:
        async def begin(name: str, cached: bool) -> None:
            build = self._builds[build_id]
            phase = Phase(name, self._clock.now(), cached)
            phases = build.phases
            if cached and phases and phases[-1].name == name:
                phase, phases = replace(phases[-1], cached=True), phases[:-1]
            await self._write(replace(build, phases=(*phases, phase)))

        return begin

    async def _finish(self, build_id: str, outcome: "Outcome | MoonpoolError") -> None:
        build, now = self._builds[build_id], self._clock.now()
        if isinstance(outcome, MoonpoolError):
            state = BuildState.CANCELLED if build_id in self._cancelled else BuildState.FAILED
            self._logs.open(build_id).line(outcome.message + (f"\n{outcome.hint}" if outcome.hint else ""))
            await self._snapshots.fail(build.snapshot_id, outcome.message)
            await self._write(replace(build, state=state, reason=outcome.message, code=outcome.code, finished_at=now))
        else:
            await self._snapshots.complete(
                build.snapshot_id,
                size_bytes=outcome.size_bytes,
                config=outcome.config,
                has_memory=outcome.has_memory,
            )
            self._logs.open(build_id).line("Done")
            await self._write(replace(build, state=BuildState.SUCCEEDED, finished_at=now))
        self._cancelled.discard(build_id)
        del self._builds[build_id]
        self._logs.close(build_id)

    async def _write(self, build: Build) -> None:
        async with self._store.transaction() as transaction:
            await self._repository.write(transaction, build)
            transaction.after_commit(lambda: self._builds.__setitem__(build.id, build))

    def _sealed(self, login: Login) -> Login:
        return replace(login, password=self._secrets.seal(login.password))

    def _opened(self, login: Login) -> Login:
        return replace(login, password=self._secrets.open(login.password))


def check(recipe: Recipe) -> None:
    """What can be told before anything is fetched."""
    if (recipe.image is None) == (recipe.dockerfile is None):
        raise InvalidInput("Either an image or a Dockerfile is needed", field="image")
    if recipe.image is not None:
        parse_reference(recipe.image)
    if recipe.dockerfile is not None:
        parse(recipe.dockerfile, recipe.arguments).wanted(recipe.target)
