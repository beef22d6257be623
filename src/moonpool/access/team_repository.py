"""All SQL of teams, their members and their roles; each read is of one team, or of one user's teams."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.access.model import Scope, TeamRole
from moonpool.access.people import BUILT_IN_ROLES, Member, Membership, Role, Team, TeamOfUser, UserStatus
from moonpool.access.user_repository import user_of
from moonpool.errors import NameTaken
from moonpool.store.database import Transaction
from moonpool.store.tables import api_keys, browser_sessions, memberships, team_roles, teams, users
from moonpool.store.text import storable

LIVING = teams.c.deleted_at.is_(None)


class TeamRepository:
    async def insert(self, transaction: Transaction, team: Team) -> None:
        """NameTaken where another team has or had the slug."""
        try:
            await transaction.connection.execute(insert(teams).values(**vars(team)))
        except IntegrityError as error:
            raise NameTaken(f"There is a team '{team.slug}' already") from error

    async def team(self, connection: AsyncConnection, team_id: str) -> Team | None:
        """Not a deleted one."""
        if not storable(team_id):
            return None
        row = (await connection.execute(select(teams).where(teams.c.id == team_id, LIVING))).one_or_none()
        return None if row is None else Team(**row._mapping)

    async def by_slug(self, connection: AsyncConnection, slug: str) -> Team | None:
        if not storable(slug):
            return None
        row = (await connection.execute(select(teams).where(teams.c.slug == slug, LIVING))).one_or_none()
        return None if row is None else Team(**row._mapping)

    async def all(self, connection: AsyncConnection) -> list[tuple[Team, int]]:
        """For platform admins: every living team, and how many members it has."""
        count = (
            select(func.count())
            .select_from(memberships.join(users))
            .where(memberships.c.team_id == teams.c.id, users.c.status != UserStatus.DELETED)
            .scalar_subquery()
        )
        query = select(teams, count.label("members")).where(LIVING).order_by(teams.c.created_at, teams.c.id)
        found = []
        for row in await connection.execute(query):
            values = dict(row._mapping)
            members = values.pop("members")
            found.append((Team(**values), members))
        return found

    async def update(self, transaction: Transaction, team_id: str, **values: Any) -> None:
        await transaction.connection.execute(update(teams).where(teams.c.id == team_id).values(**values))

    async def to_empty(self, connection: AsyncConnection) -> list[Team]:
        """Deleted teams that may still have something."""
        query = select(teams).where(teams.c.deleted_at.is_not(None), teams.c.emptied_at.is_(None))
        return [Team(**row._mapping) for row in await connection.execute(query)]

    async def lock(self, transaction: Transaction, team_id: str) -> None:
        """No other transaction changes the team's members until this one ends, not in another process either."""
        if storable(team_id):
            await transaction.connection.execute(select(teams.c.id).where(teams.c.id == team_id).with_for_update())

    # -- members -------------------------------------------------------------------------------------------------------

    async def teams_of(self, connection: AsyncConnection, user_id: str) -> list[TeamOfUser]:
        """The first one they were in first."""
        query = (
            select(teams, memberships.c.role, memberships.c.role_ids)
            .add_columns(memberships.c.created_at.label("joined_at"), memberships.c.updated_at.label("changed_at"))
            .join(memberships, memberships.c.team_id == teams.c.id)
            .where(memberships.c.user_id == user_id, LIVING)
            .order_by(memberships.c.created_at, teams.c.id)
        )
        found = []
        for row in await connection.execute(query):
            team = Team(**{column.name: row._mapping[column] for column in teams.c})
            membership = Membership(
                team.id, user_id, TeamRole(row.role), tuple(row.role_ids), row.joined_at, row.changed_at
            )
            found.append(TeamOfUser(team, membership))
        return found

    async def membership(self, connection: AsyncConnection, team_id: str, user_id: str) -> Membership | None:
        """In a living team."""
        if not (storable(team_id) and storable(user_id)):
            return None
        query = (
            select(memberships)
            .join(teams, teams.c.id == memberships.c.team_id)
            .where(memberships.c.team_id == team_id, memberships.c.user_id == user_id, LIVING)
        )
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else membership_of(row)

    async def members(self, connection: AsyncConnection, team_id: str) -> list[Member]:
        """Whose account is not deleted; the first one first."""
        query = (
            select(users, memberships.c.role, memberships.c.role_ids)
            .add_columns(memberships.c.created_at.label("joined_at"), memberships.c.updated_at.label("changed_at"))
            .join(memberships, memberships.c.user_id == users.c.id)
            .where(memberships.c.team_id == team_id, users.c.status != UserStatus.DELETED)
            .order_by(memberships.c.created_at, users.c.id)
        )
        return [
            Member(
                user_of(row),
                Membership(team_id, row.id, TeamRole(row.role), tuple(row.role_ids), row.joined_at, row.changed_at),
            )
            for row in await connection.execute(query)
        ]

    async def owners(self, connection: AsyncConnection, team_id: str) -> list[str]:
        """The ids of those who can act as such."""
        query = (
            select(memberships.c.user_id)
            .join(users, users.c.id == memberships.c.user_id)
            .where(memberships.c.team_id == team_id, memberships.c.role == TeamRole.OWNER)
            .where(users.c.status != UserStatus.DELETED)
        )
        return list((await connection.execute(query)).scalars())

    async def insert_membership(self, transaction: Transaction, membership: Membership) -> None:
        """NameTaken where the user is a member already."""
        try:
            await transaction.connection.execute(
                insert(memberships).values(**vars(membership) | {"role_ids": list(membership.role_ids)})
            )
        except IntegrityError as error:
            raise NameTaken("This user is a member already") from error

    async def update_membership(self, transaction: Transaction, membership: Membership) -> None:
        values = {
            "role": membership.role,
            "role_ids": list(membership.role_ids),
            "updated_at": membership.updated_at,
        }
        one = memberships.c.team_id == membership.team_id, memberships.c.user_id == membership.user_id
        await transaction.connection.execute(update(memberships).where(*one).values(**values))

    async def remove_membership(self, transaction: Transaction, team_id: str, user_id: str) -> None:
        """With what lets the user into the team: keys and sessions."""
        for table in (api_keys, browser_sessions, memberships):
            one = and_(table.c.team_id == team_id, table.c.user_id == user_id)
            await transaction.connection.execute(delete(table).where(one))

    async def remove_all_members(self, transaction: Transaction, team_id: str) -> None:
        for table in (api_keys, browser_sessions, memberships):
            await transaction.connection.execute(delete(table).where(table.c.team_id == team_id))

    # -- roles ---------------------------------------------------------------------------------------------------------

    async def roles(self, connection: AsyncConnection, team_id: str) -> list[Role]:
        """Those that every team has, then its own."""
        query = select(team_roles).where(team_roles.c.team_id == team_id).order_by(team_roles.c.name)
        return [*BUILT_IN_ROLES, *(role_of(row) for row in await connection.execute(query))]

    async def assigned(self, connection: AsyncConnection, team_id: str, role_ids: Sequence[str]) -> tuple[Role, ...]:
        """Those of the team's roles that are named."""
        if not role_ids:
            return ()
        return tuple(role for role in await self.roles(connection, team_id) if role.id in role_ids)

    async def insert_role(self, transaction: Transaction, role: Role) -> None:
        """NameTaken."""
        values = vars(role) | {"permissions": sorted(role.permissions)}
        try:
            await transaction.connection.execute(insert(team_roles).values(**values))
        except IntegrityError as error:
            raise NameTaken(f"There is a role '{role.name}' already") from error

    async def update_role(self, transaction: Transaction, role: Role) -> None:
        """NameTaken."""
        values = vars(role) | {"permissions": sorted(role.permissions)}
        one = team_roles.c.team_id == role.team_id, team_roles.c.id == role.id
        try:
            await transaction.connection.execute(update(team_roles).where(*one).values(**values))
        except IntegrityError as error:
            raise NameTaken(f"There is a role '{role.name}' already") from error

    async def delete_role(self, transaction: Transaction, team_id: str, role_id: str) -> None:
        one = team_roles.c.team_id == team_id, team_roles.c.id == role_id
        await transaction.connection.execute(delete(team_roles).where(*one))

    async def having_role(self, connection: AsyncConnection, team_id: str, role_id: str) -> list[Membership]:
        query = select(memberships).where(memberships.c.team_id == team_id)
        found = [membership_of(row) for row in await connection.execute(query)]
        return [one for one in found if role_id in one.role_ids]

    # -- keys of members -----------------------------------------------------------------------------------------------

    async def remove_keys(self, transaction: Transaction, user_id: str) -> None:
        """In every team."""
        await transaction.connection.execute(delete(api_keys).where(api_keys.c.user_id == user_id))


def membership_of(row: Row[Any]) -> Membership:
    return Membership(row.team_id, row.user_id, TeamRole(row.role), tuple(row.role_ids), row.created_at, row.updated_at)


def role_of(row: Row[Any]) -> Role:
    return Role(**{**row._mapping, "permissions": frozenset(Scope(one) for one in row.permissions)})
