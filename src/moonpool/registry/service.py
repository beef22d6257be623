"""Use cases of the registry: access for a while, images in and out, and the same images for builds."""

import hashlib
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from moonpool.access.model import Principal, Scope, bounded
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.engine.images.oci import Reference, Stored
from moonpool.engine.images.oci.reference import HUB
from moonpool.errors import Forbidden, ImageNotFound, LimitExceeded, Unauthorized
from moonpool.hosts.keyed_locks import KeyedLocks
from moonpool.hosts.threads import Threads
from moonpool.registry.credentials import AGAIN, LIFETIME, Claims, PushAccess, sealed, unsealed
from moonpool.registry.errors import (
    BlobNotFound,
    DigestInvalid,
    ManifestNotFound,
    OutOfOrder,
    PartInUse,
    PartMissing,
    RepositoryNotFound,
)
from moonpool.registry.folder import SMALL, TeamFolder, weight
from moonpool.registry.ledger import Ledger
from moonpool.registry.model import (
    Found,
    Manifest,
    Part,
    RegistryLimits,
    check_repository,
    check_tag,
    hexadecimal,
    read_manifest,
)
from moonpool.registry.uploads import Session, Uploads

OPENED = frozenset({Scope.SNAPSHOTS_READ, Scope.SNAPSHOTS_WRITE, Scope.SNAPSHOTS_DELETE})
TEAM = re.compile(r"[A-Za-z0-9-]{1,64}")
THREADS = 8  # of its own, so that a slow disk holds up no other part of the server
MANIFEST_FILES = 3  # a manifest, its link and its tag
DIGEST_MARK = ":"  # in a digest, and in no tag


class PushedImages:
    """A team's images are those in repositories whose names begin with its id. Forbidden for all others, whether there
    is such a thing or not."""

    def __init__(self, access: AccessService, folder: Path, key: bytes, limits: RegistryLimits, clock: Clock) -> None:
        self._access, self._folder, self._key, self._limits, self._clock = access, folder, key, limits, clock
        self._threads = Threads(THREADS)
        self._uploads = Uploads(self._threads, limits.blob_bytes, limits.uploads)
        self._ledger = Ledger(access.limits, self._weight, clock)
        self._locks = KeyedLocks()

    def close(self) -> None:
        """Waits for what is being written."""
        self._threads.close()

    # -- who is let in -------------------------------------------------------------------------------------------------

    def push_access(self, principal: Principal) -> PushAccess:
        """For an hour at most, and no longer than the key that asks for it."""
        self._access.require(principal, Scope.SNAPSHOTS_WRITE)
        if principal.key_id is None:
            raise Forbidden("Push access is given to a key", hint="Ask with an API key of the team.")
        expires_at = self._clock.now() + timedelta(seconds=LIFETIME)
        claims = Claims(principal.team_id, principal.key_id, f"push-{secrets.token_hex(8)}", expires_at)
        return PushAccess(claims.username, sealed(self._key, claims), principal.team_id, expires_at)

    async def admitted(self, username: str, secret: str) -> Principal:
        """Whom push access was given to, as far as it goes. Unauthorized, also where the key has been revoked."""
        claims = unsealed(self._key, username, secret, self._clock.now())
        try:
            who = await self._access.still(claims.team_id, claims.key_id)
        except Unauthorized:
            raise Unauthorized("The key that this access was given to has ended", hint=AGAIN) from None
        return replace(who, scopes=bounded(who.scopes, OPENED), role=None, platform_admin=False)

    # -- looking -------------------------------------------------------------------------------------------------------

    async def repositories(self, principal: Principal) -> list[str]:
        """In order."""
        self._access.require(principal, Scope.SNAPSHOTS_READ)
        found = await self._threads.run(self._of(principal.team_id).repositories)
        return [f"{principal.team_id}/{name}" for name in found]

    async def tags(self, principal: Principal, repository: str) -> list[str]:
        """In order; RepositoryNotFound."""
        name = self._own(principal, repository, Scope.SNAPSHOTS_READ)
        found = await self._threads.run(self._of(principal.team_id).tags, name)
        if found is None:
            raise RepositoryNotFound
        return found

    async def manifest(self, principal: Principal, repository: str, reference: str) -> Found:
        """By tag or digest; ManifestNotFound."""
        name = self._own(principal, repository, Scope.SNAPSHOTS_READ)
        return await self._threads.run(self._found, principal.team_id, name, reference)

    async def blob(self, principal: Principal, repository: str, digest: str) -> Path:
        """The file of a part, whole; BlobNotFound."""
        self._own(principal, repository, Scope.SNAPSHOTS_READ)
        folder, name = self._of(principal.team_id), hexadecimal(digest)
        if await self._threads.run(folder.blob_size, name) is None:
            raise BlobNotFound
        return folder.blobs / name

    async def stored(self, team_id: str, reference: Reference) -> Stored | None:
        """A team's own image, for a build of that team, by whichever name of this server; None where it is another
        registry's. ImageNotFound."""
        first, _, name = reference.repository.partition("/")
        if reference.registry == HUB or first != team_id or not name:
            return None
        wanted = reference.digest or reference.tag or ""
        try:
            found = await self._threads.run(self._found, team_id, name, wanted)
        except (ManifestNotFound, DigestInvalid) as error:
            raise ImageNotFound(f"There is no image {reference.name}", hint="Push it first.") from error
        return Stored(self._of(team_id).blobs, found.digest)

    # -- pushing -------------------------------------------------------------------------------------------------------

    async def has(self, principal: Principal, repository: str, digest: str) -> bool:
        """Whether a part need not be pushed: what one repository of the team has, all have."""
        self._own(principal, repository, Scope.SNAPSHOTS_WRITE)
        name = hexadecimal(digest)
        return await self._threads.run(self._of(principal.team_id).blob_size, name) is not None

    async def begin(self, principal: Principal, repository: str) -> str:
        """The id of an upload. LimitExceeded, NoDiskSpace."""
        self._own(principal, repository, Scope.SNAPSHOTS_WRITE)
        await self._ledger.charge(principal.team_id, SMALL)
        try:
            return await self._uploads.begin(self._of(principal.team_id))
        except LimitExceeded:
            self._ledger.release(principal.team_id, SMALL)
            raise

    async def uploaded(self, principal: Principal, repository: str, upload: str) -> int:
        """How many bytes of it are there; UploadNotFound."""
        return (await self._session(principal, repository, upload)).size

    async def append(
        self, principal: Principal, repository: str, upload: str, content: AsyncIterator[bytes], at: int | None = None
    ) -> int:
        """How many bytes are there then. ``at``: where the content begins, as its sender has it. UploadNotFound,
        OutOfOrder, TooLarge, LimitExceeded, NoDiskSpace; what came before a failure stays."""
        async with self._locks.hold(f"upload {upload}"):
            session = await self._session(principal, repository, upload)
            if at is not None and at != session.size:
                raise OutOfOrder(session.size)
            await self._uploads.receive(session, content, lambda size: self._charge(session, principal.team_id, size))
            return session.size

    async def _charge(self, session: Session, team_id: str, size: int) -> None:
        """An upload has counted as a small file from its beginning."""
        more = weight(session.size + size) - weight(session.size)
        await self._ledger.charge(team_id, more)

    async def finish(self, principal: Principal, repository: str, upload: str, digest: str) -> None:
        """The part is there. DigestInvalid: and the upload is gone. UploadNotFound."""
        name = hexadecimal(digest)
        async with self._locks.hold(f"upload {upload}"):
            session = await self._session(principal, repository, upload)
            try:
                await self._uploads.seal(session, name)
            except DigestInvalid:
                self._ledger.release(principal.team_id, weight(session.size))
                raise
            async with self._locks.hold(principal.team_id):
                await self._uploads.publish(session, self._of(principal.team_id), name)

    async def cancel(self, principal: Principal, repository: str, upload: str) -> None:
        """UploadNotFound."""
        async with self._locks.hold(f"upload {upload}"):
            session = await self._session(principal, repository, upload)
            self._ledger.release(principal.team_id, await self._uploads.drop(session))

    async def put_manifest(
        self, principal: Principal, repository: str, reference: str, content: bytes, media_type: str
    ) -> Manifest:
        """An image is there, under its tag or its digest alone. ManifestInvalid, PartMissing, DigestInvalid,
        LimitExceeded."""
        name = self._own(principal, repository, Scope.SNAPSHOTS_WRITE)
        tag, digest = None, sha256(content)
        if DIGEST_MARK not in reference:
            tag = check_tag(reference)
        elif hexadecimal(reference) != digest:
            raise DigestInvalid
        manifest, folder = read_manifest(content, digest, media_type), self._of(principal.team_id)
        await self._ledger.charge(principal.team_id, MANIFEST_FILES * SMALL + len(content))
        async with self._locks.hold(principal.team_id):
            await self._threads.run(check_parts, folder, name, manifest)
            await self._threads.run(folder.add_manifest, name, manifest, content, tag)
        return manifest

    # -- removing ------------------------------------------------------------------------------------------------------

    async def delete_manifest(self, principal: Principal, repository: str, reference: str) -> None:
        """A tag, or an image with all of its tags. ManifestNotFound."""
        name = self._own(principal, repository, Scope.SNAPSHOTS_DELETE)
        folder, tagged = self._of(principal.team_id), DIGEST_MARK not in reference
        remove = folder.remove_tag if tagged else folder.remove_manifest
        target = check_tag(reference) if tagged else hexadecimal(reference)
        async with self._locks.hold(principal.team_id):
            if not await self._threads.run(remove, name, target):
                raise ManifestNotFound

    async def delete_blob(self, principal: Principal, repository: str, digest: str) -> None:
        """BlobNotFound, PartInUse."""
        self._own(principal, repository, Scope.SNAPSHOTS_DELETE)
        folder, name = self._of(principal.team_id), hexadecimal(digest)
        async with self._locks.hold(principal.team_id):
            size = await self._threads.run(folder.blob_size, name)
            if size is None:
                raise BlobNotFound
            if not await self._threads.run(folder.remove_blob, name):
                raise PartInUse
        self._ledger.release(principal.team_id, weight(size))

    async def delete_all(self, principal: Principal) -> None:
        """Everything of a team."""
        async with self._locks.hold(principal.team_id):
            await self._threads.run(shutil.rmtree, self._of(principal.team_id).path, ignore_errors=True)
        self._ledger.forget(principal.team_id)
        self._uploads.forget_gone()

    async def prune(self) -> None:
        """What no image needs, images that nobody needs, and uploads that nobody goes on with."""
        now = self._clock.now().timestamp()
        untagged, unneeded = now - self._limits.untagged_seconds, now - self._limits.unneeded_seconds
        for team_id in await self._threads.run(self._teams):
            async with self._locks.hold(team_id):
                await self._threads.run(self._of(team_id).collect, untagged=untagged, unneeded=unneeded)
            await self._ledger.recount(team_id)
        self._uploads.forget_gone()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _own(self, principal: Principal, repository: str, scope: Scope) -> str:
        """The name below the team's own. RepositoryInvalid, Forbidden."""
        first, _, name = check_repository(repository).partition("/")
        if first != principal.team_id or not name:
            message = "Requested access to the resource is denied"
            raise Forbidden(message, hint=f"The names of your images begin with {principal.team_id}/.")
        self._access.require(principal, scope)
        return name

    def _of(self, team_id: str) -> TeamFolder:
        assert TEAM.fullmatch(team_id)
        return TeamFolder(self._folder / team_id)

    def _teams(self) -> list[str]:
        return [path.name for path in self._folder.glob("*") if TEAM.fullmatch(path.name)]

    def _found(self, team_id: str, name: str, reference: str) -> Found:
        folder = self._of(team_id)
        digest = hexadecimal(reference) if DIGEST_MARK in reference else folder.digest_of(name, check_tag(reference))
        found = None if digest is None else folder.manifest(name, digest)
        if found is None:
            raise ManifestNotFound
        return found

    async def _session(self, principal: Principal, repository: str, upload: str) -> Session:
        self._own(principal, repository, Scope.SNAPSHOTS_WRITE)
        return await self._uploads.find(self._of(principal.team_id), upload)

    async def _weight(self, team_id: str) -> int:
        return await self._threads.run(self._of(team_id).weight)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def check_parts(folder: TeamFolder, repository: str, manifest: Manifest) -> None:
    """All that it names is there, of the size that it says. PartMissing."""
    for part in manifest.parts:
        check_size(part, folder.blob_size(part.digest))
    for part in manifest.manifests:
        found = folder.manifest(repository, part.digest)
        check_size(part, None if found is None else len(found.content))


def check_size(part: Part, size: int | None) -> None:
    if size is None:
        raise PartMissing(f"The part sha256:{part.digest} is not there")
    if size != part.size:
        raise PartMissing(f"The part sha256:{part.digest} has {size} bytes, and not {part.size}")
