"""``.codesandbox/Dockerfile`` of a workspace: the image that the sandbox is to run in, with the workspace in it.

It is built while the sandbox runs, as the first step of the setup, and takes the place of the sandbox's root at the
next start from the disk; the other steps come then, since they are meant for that root.
"""

import asyncio
import hashlib
import io
import posixpath
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace

from moonpool.builds.model import BuildState, NewBuild
from moonpool.builds.model import Recipe as BuildRecipe
from moonpool.dialects.codesandbox.details import Image, details_of
from moonpool.dialects.codesandbox.mapping import DIALECT
from moonpool.dialects.codesandbox.pitcher.place import Place
from moonpool.dialects.codesandbox.pitcher.tokens import Grant
from moonpool.errors import AccessDenied, BuildError, FileNotFound, Forbidden, IsADirectory, NotADirectory
from moonpool.guest.client import AgentClient
from moonpool.guest.model import FileInfo
from moonpool.sandboxes.model import SandboxChange

FOLDER = ".codesandbox"
DOCKERFILE = "Dockerfile"
NOT_COPIED = frozenset({"tasks.json"})  # which has steps of its own
DEPTH = 16  # folders below
MOST_FILES = 1000
MOST_BYTES = 16 << 20  # of all files together
PIECE = 1 << 20  # bytes
STEP = ("Image", f"docker build {FOLDER}")  # name and command of the step

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """``files`` are bytes and mode by path below the folder; ``too_large`` says why they are not all there."""

    dockerfile: str
    files: Mapping[str, tuple[bytes, int]]
    too_large: str | None = None

    @property
    def hash(self) -> str:
        """Changes with anything that could change the image."""
        digest = hashlib.sha256(self.dockerfile.encode(errors="replace"))
        for path, (content, mode) in sorted(self.files.items()):
            digest.update(f"\0{path}\0{mode:o}\0{len(content)}\0".encode(errors="replace") + content)
        return digest.hexdigest()[:16]

    def archive(self) -> bytes:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
            for path, (content, mode) in sorted(self.files.items()):
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(content), mode
                archive.addfile(member, io.BytesIO(content))
        return data.getvalue()


async def read(agent: AgentClient, grant: Grant) -> Recipe | None:
    """None where there is no Dockerfile."""
    folder = posixpath.join(grant.workspace, FOLDER)
    try:
        dockerfile = await content_of(agent, posixpath.join(folder, DOCKERFILE), grant.user)
        listed = await agent.list(folder, DEPTH, user=grant.user)
    except (FileNotFound, NotADirectory, IsADirectory, AccessDenied):
        return None
    text = dockerfile.decode(errors="replace")
    wanted = [info for info in listed if info.kind == "file" and info.name not in NOT_COPIED]
    if len(wanted) > MOST_FILES or sum(info.size for info in wanted) > MOST_BYTES:
        return Recipe(text, {}, f"{FOLDER} has more than {MOST_FILES} files or {MOST_BYTES >> 20} MiB")
    return Recipe(text, {posixpath.relpath(info.path, folder): await file_of(agent, info, grant) for info in wanted})


async def file_of(agent: AgentClient, info: FileInfo, grant: Grant) -> tuple[bytes, int]:
    return await content_of(agent, info.path, grant.user), info.mode & 0o777


async def content_of(agent: AgentClient, path: str, user: str) -> bytes:
    """No more than may be, however it grows."""
    async with agent.read(path, 0, MOST_BYTES, user=user) as reader:
        return b"".join([piece async for piece in reader])


async def state_of(place: Place, recipe: Recipe) -> str:
    """ "absent", "built" (it takes its place at the next start from the disk) or "there"."""
    sandbox = await place.services.sandboxes.get(place.principal, place.sandbox_id)
    image = details_of(sandbox).image
    if image is None or image["hash"] != recipe.hash:
        return "absent"
    return "there" if sandbox.snapshot == image["snapshot"] else "built"


async def build(place: Place, grant: Grant, recipe: Recipe, say: Say) -> None:
    """With the rights of the key that let the client in; ended with whoever waits for it. BuildError, BuildInvalid,
    Forbidden, LimitExceeded."""
    services = place.services
    if recipe.too_large:
        raise BuildError(recipe.too_large)
    if grant.key_id is None:
        raise Forbidden("An image is built with an API key's rights")
    principal = await services.access.still(grant.team_id, grant.key_id)
    name = f"codesandbox-{recipe.hash}"
    await services.builds.uploads.put(grant.team_id, name, pieces(recipe.archive()))
    sandbox = await services.sandboxes.get(principal, place.sandbox_id)
    wanted = BuildRecipe(dockerfile=recipe.dockerfile, context=(name,))
    new = NewBuild(wanted, sandbox.resources, dialect_data={DIALECT: {"dockerfile": recipe.hash}})
    started, snapshot = await services.builds.submit(principal, new)
    try:
        async for piece in await services.builds.log(principal, started.id, follow=True):
            say(piece.decode(errors="replace"))
        ended = await services.builds.ended(principal, started.id)
    except asyncio.CancelledError:
        await asyncio.shield(services.builds.cancel(principal, started.id))
        raise
    if ended.state is not BuildState.SUCCEEDED:
        raise BuildError(ended.reason or "The build has failed")
    image = Image(hash=recipe.hash, snapshot=snapshot.name)
    sandbox = await services.sandboxes.get(principal, place.sandbox_id)
    stored = replace(details_of(sandbox), image=image).stored
    await services.sandboxes.update(principal, sandbox.id, SandboxChange(dialect_data=stored))
    say("The sandbox runs in this image from its next start on: restart it, or shut it down and start it.\n")


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
