"""A team's own roles: named sets of what plain members may do."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from moonpool.access.model import Principal, Scope
from moonpool.access.people import BUILT_IN_ROLES, Role
from moonpool.access.team_repository import TeamRepository
from moonpool.access.teams import TeamService
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, LimitExceeded, NotPermitted, RoleNotFound
from moonpool.ids import new_uuid
from moonpool.store.database import Store, Transaction

MAX_NAME, MAX_DESCRIPTION = 128, 1024  # characters
MAX_ROLES = 100  # of one team


class RoleService:
    def __init__(self, store: Store, clock: Clock, teams: TeamService, *, changed: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._rules = teams
        self._changed = changed
        self._teams = TeamRepository()

    async def list(self, principal: Principal) -> list[Role]:
        """Those that every team has (``team_id`` None), then the team's own."""
        async with self._store.reading() as connection:
            return await self._teams.roles(connection, principal.team_id)

    async def create(self, principal: Principal, name: str, description: str, permissions: Iterable[Scope]) -> Role:
        """By an owner or admin: InvalidInput, NameTaken, LimitExceeded, NotPermitted."""
        now = self._clock.now()
        role = valid(Role(new_uuid(), principal.team_id, name, description, frozenset(permissions), now, now))
        async with self._store.transaction() as transaction:
            await self._rules.acting(transaction, principal)
            known = await self._teams.roles(transaction.connection, principal.team_id)
            if len(known) - len(BUILT_IN_ROLES) >= MAX_ROLES:
                raise LimitExceeded(f"A team has at most {MAX_ROLES} roles of its own")
            await self._teams.insert_role(transaction, role)
        return role

    async def update(
        self, principal: Principal, role_id: str, name: str, description: str, permissions: Iterable[Scope]
    ) -> Role:
        """It counts for its members at once. RoleNotFound, NotPermitted for one that every team has."""
        async with self._store.transaction() as transaction:
            role = await self._own(transaction, principal, role_id)
            changed = valid(
                replace(
                    role,
                    name=name,
                    description=description,
                    permissions=frozenset(permissions),
                    updated_at=self._clock.now(),
                )
            )
            await self._teams.update_role(transaction, changed)
            transaction.after_commit(self._changed)
        return changed

    async def delete(self, principal: Principal, role_id: str) -> None:
        """Its members lose what it gave. RoleNotFound, NotPermitted for one that every team has."""
        async with self._store.transaction() as transaction:
            role = await self._own(transaction, principal, role_id)
            for membership in await self._teams.having_role(transaction.connection, principal.team_id, role.id):
                left = tuple(one for one in membership.role_ids if one != role.id)
                changed = replace(membership, role_ids=left, updated_at=self._clock.now())
                await self._teams.update_membership(transaction, changed)
            await self._teams.delete_role(transaction, principal.team_id, role.id)
            transaction.after_commit(self._changed)

    async def _own(self, transaction: Transaction, principal: Principal, role_id: str) -> Role:
        await self._rules.acting(transaction, principal)
        known = await self._teams.roles(transaction.connection, principal.team_id)
        found = next((role for role in known if role.id == role_id), None)
        if found is None:
            raise RoleNotFound
        if found.team_id is None:
            raise NotPermitted("This role is the same in every team, and cannot be changed")
        return found


def valid(role: Role) -> Role:
    name, description = role.name.strip(), role.description.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(f"name: 1 to {MAX_NAME} printable characters", field="name")
    if len(description) > MAX_DESCRIPTION:
        raise InvalidInput(f"description: at most {MAX_DESCRIPTION} characters", field="description")
    if Scope.ADMIN in role.permissions:
        raise InvalidInput("permissions: managing the team is for its owners and admins", field="permissions")
    return replace(role, name=name, description=description)
