"""Tags: names under which sandboxes can be forked, and readable aliases of those names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, SandboxNotFound, TagNotFound
from moonpool.ids import new_uuid, random_word
from moonpool.sandboxes.model import Sandbox
from moonpool.sandboxes.records import Records
from moonpool.sandboxes.tag_repository import TagRepository
from moonpool.store.database import Store
from moonpool.store.text import storable

TAG_PREFIX = "pt_"
TAG_LENGTH = 16  # characters
MAX_SANDBOXES = 100  # of one tag
WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class TagAlias:
    id: str
    team_id: str
    tag_id: str
    namespace: str
    alias: str


class TagService:
    """A tag names sandboxes, and so whatever is in them when they are forked. TagNotFound for another team's."""

    def __init__(self, store: Store, access: AccessService, records: Records, clock: Clock) -> None:
        self._store = store
        self._access = access
        self._records = records
        self._clock = clock
        self._repository = TagRepository()

    async def create(self, principal: Principal, sandbox_ids: Sequence[str]) -> str:
        """The id of a new tag of these sandboxes. SandboxNotFound; InvalidInput for none, or too many."""
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        if not 1 <= len(sandbox_ids) <= MAX_SANDBOXES:
            raise InvalidInput(f"A tag is of 1 to {MAX_SANDBOXES} sandboxes", field="vm_ids")
        found = [(await self._records.find(principal.team_id, sandbox)).id for sandbox in sandbox_ids]
        tag_id = TAG_PREFIX + random_word(TAG_LENGTH)
        async with self._store.transaction() as transaction:
            members = tuple(dict.fromkeys(found))
            await self._repository.insert(transaction, principal.team_id, tag_id, members, self._clock.now())
        return tag_id

    async def assign(self, principal: Principal, namespace: str, alias: str, tag_id: str) -> TagAlias:
        """``namespace@alias`` stands for the tag from now on. InvalidInput, TagNotFound."""
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        for field, word in (("namespace", namespace), ("alias", alias)):
            if not WORD.fullmatch(word):
                raise InvalidInput("1 to 64 letters, digits, '-' and '_'", field=field)
        async with self._store.transaction() as transaction:
            if not storable(tag_id) or not await self._repository.exists(transaction, principal.team_id, tag_id):
                raise TagNotFound(f"Tag {tag_id[:64]!r} not found")
            alias_id = await self._repository.assign(
                transaction, new_uuid(), principal.team_id, namespace, alias, tag_id
            )
        return TagAlias(alias_id, principal.team_id, tag_id, namespace, alias)

    async def resolve(self, principal: Principal, reference: str) -> Sandbox:
        """The sandbox that a tag's id or a ``namespace@alias`` stands for: the first of them that still exists."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        if not storable(reference):
            raise TagNotFound
        namespace, at, alias = reference.partition("@")
        async with self._store.reading() as connection:
            if at:
                members = await self._repository.members_of_alias(connection, principal.team_id, namespace, alias)
            else:
                members = await self._repository.members(connection, principal.team_id, reference)
        if not members:
            raise TagNotFound(f"Template {reference[:128]!r} not found")
        for sandbox_id in members:
            try:
                return await self._records.find(principal.team_id, sandbox_id)
            except SandboxNotFound:
                continue
        raise TagNotFound(f"Every sandbox of template {reference[:128]!r} has been deleted")
