"""Use cases of registries: where a team has images of its own, and how it is let in there."""

from dataclasses import replace

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.builds.model import Login
from moonpool.builds.registries import Registry
from moonpool.builds.repository import RegistryRepository
from moonpool.clock import Clock
from moonpool.engine.images.oci.reference import HOST, HUB, HUB_ALIASES
from moonpool.errors import InvalidInput, LimitExceeded, RegistryNotFound
from moonpool.ids import new_uuid
from moonpool.sandboxes.validation import check_name, check_text
from moonpool.store.database import Store
from moonpool.vault import Box

MOST = 100  # of one team


class RegistryService:
    """A team sees its own alone; RegistryNotFound for any other. No answer has a password in it."""

    def __init__(self, store: Store, access: AccessService, secrets: Box, clock: Clock) -> None:
        self._store, self._access, self._secrets, self._clock = store, access, secrets, clock
        self._repository = RegistryRepository()

    async def list(self, principal: Principal) -> list[Registry]:
        self._access.require(principal, Scope.SNAPSHOTS_READ)
        async with self._store.reading() as connection:
            return await self._repository.all_of(connection, principal.team_id)

    async def get(self, principal: Principal, registry_id: str) -> Registry:
        for registry in await self.list(principal):
            if registry.id == registry_id:
                return registry
        raise RegistryNotFound(f"Registry {registry_id[:100]} not found")

    async def create(
        self, principal: Principal, *, name: str, url: str, username: str, password: str, project: str = ""
    ) -> Registry:
        """``url`` is a host, or starts with http(s)://. InvalidInput, NameTaken, LimitExceeded."""
        self._access.require(principal, Scope.REGISTRIES_WRITE)
        if len(await self.list(principal)) >= MOST:
            raise LimitExceeded(f"A team has at most {MOST} registries", field="name")
        now = self._clock.now()
        registry = Registry(
            id=new_uuid(),
            team_id=principal.team_id,
            name=check_name(name),
            host=host_of(url),
            username=check_text(username, "username"),
            secret=self._secrets.seal(password),
            project=check_text(project, "project"),
            created_at=now,
            updated_at=now,
        )
        async with self._store.transaction() as transaction:
            await self._repository.insert(transaction, registry)
        return registry

    async def update(
        self,
        principal: Principal,
        registry_id: str,
        *,
        name: str,
        url: str,
        username: str,
        password: str | None = None,
        project: str | None = None,
    ) -> Registry:
        """A password that is None stays what it is. InvalidInput, NameTaken."""
        self._access.require(principal, Scope.REGISTRIES_WRITE)
        old = await self.get(principal, registry_id)
        new = replace(
            old,
            name=check_name(name),
            host=host_of(url),
            username=check_text(username, "username"),
            secret=old.secret if password is None else self._secrets.seal(password),
            project=old.project if project is None else check_text(project, "project"),
            updated_at=self._clock.now(),
        )
        async with self._store.transaction() as transaction:
            await self._repository.write(transaction, new)
        return new

    async def delete(self, principal: Principal, registry_id: str) -> None:
        self._access.require(principal, Scope.REGISTRIES_DELETE)
        registry = await self.get(principal, registry_id)
        async with self._store.transaction() as transaction:
            await self._repository.delete(transaction, registry)

    async def logins(self, team_id: str) -> tuple[Login, ...]:
        """For a build of that team, passwords in the clear; later ones of the same host count."""
        async with self._store.reading() as connection:
            found = await self._repository.all_of(connection, team_id)
        return tuple(Login(each.host, each.username, self._secrets.open(each.secret)) for each in reversed(found))


def host_of(url: str) -> str:
    """The host[:port] of a registry, as references to its images begin. InvalidInput."""
    host = url.strip().removeprefix("https://").removeprefix("http://").split("/")[0].lower()
    if not HOST.fullmatch(host):
        raise InvalidInput(f"Not a registry: {url[:100]!r}", field="url", hint="As https://ghcr.io or localhost:5000.")
    return HUB if host in HUB_ALIASES or host == "hub.docker.com" else host
