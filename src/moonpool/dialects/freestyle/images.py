"""A Dockerfile (``baseImage``) as what a VM or its layers stand on."""

import hashlib
import json

from moonpool.builds.model import BuildState, Login, NewBuild, Recipe
from moonpool.dialects.freestyle.building import Build, from_cache
from moonpool.dialects.freestyle.catalogue import source_snapshot, wire_id
from moonpool.dialects.freestyle.layers import Plan
from moonpool.dialects.freestyle.mapping import DATA, FreestyleError, new_id
from moonpool.dialects.freestyle.persistence import STICKY
from moonpool.dialects.freestyle.requests import Call
from moonpool.dialects.freestyle.schemas import DockerCredentials
from moonpool.snapshots.model import Snapshot

SHOWN = 4000  # characters of a failed build's log


async def base_of(call: Call, plan: Plan, credentials: DockerCredentials | None, build: Build | None) -> Snapshot:
    """The snapshot below everything: built from the plan's Dockerfile, unless it was before. Its steps are phases of
    ``build``, which is there where the plan has a Dockerfile."""
    if plan.image is None:
        return await source_snapshot(call, plan.base)
    key = hashlib.sha256(json.dumps(["baseImage", plan.image]).encode()).hexdigest()
    async with call.request.app.state.locks.hold(f"{call.principal.team_id}/{key}"):
        cached = await from_cache(call, key)
        assert build is not None
        if cached is None:
            return await built(call, plan.image, key, credentials, build)
        build.phase("base image (cached)", wire_id(cached))
        return cached


async def built(call: Call, dockerfile: str, key: str, credentials: DockerCredentials | None, build: Build) -> Snapshot:
    default = await source_snapshot(call, None)
    logins: tuple[Login, ...] = ()
    if credentials is not None:
        logins = (Login(credentials.registry, credentials.username, credentials.password),)
    build.template_hash = key
    data = {"template_hash": key, "persistence": STICKY, "build": build.document()}
    recipe = Recipe(dockerfile=dockerfile, logins=logins)
    new = NewBuild(recipe, default.resources, id=new_id("sc-"), dialect_data={DATA: data})
    _, snapshot = await call.services.builds.submit(call.principal, new)
    done = await call.services.builds.ended(call.principal, snapshot.id)
    build.steps(done)
    if done.state is not BuildState.SUCCEEDED:
        build.finish(done.reason)
    kept = {DATA: {**data, "build": build.document()}}
    await call.services.snapshots.update(call.principal, snapshot.id, dialect_data=kept)
    if done.state is not BuildState.SUCCEEDED:
        log = b"".join([piece async for piece in await call.services.builds.log(call.principal, done.id)])
        raise FreestyleError(
            500,
            "DOCKER_SNAPSHOT_FAILED",
            f"Building the base image failed: {done.reason}",
            snapshotId=snapshot.id,
            diagnostics={"log": log.decode(errors="replace")[-SHOWN:]},
        )
    snapshot = await call.services.snapshots.get(call.principal, snapshot.id)
    build.made.append(snapshot)
    return snapshot
