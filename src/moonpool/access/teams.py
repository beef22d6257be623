"""Teams and who is in them: use cases. What a principal changes is its own team alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from moonpool.access.addresses import valid_email
from moonpool.access.model import MANAGERS, Principal, Scope, TeamRole
from moonpool.access.people import USUAL_ROLES, Member, Membership, Team, TeamOfUser, UserStatus
from moonpool.access.session_repository import InvitationRepository
from moonpool.access.sessions import new_slug
from moonpool.access.team_repository import TeamRepository
from moonpool.access.user_repository import UserRepository
from moonpool.clock import Clock
from moonpool.errors import (
    AccountNotFound,
    AlreadyMember,
    Forbidden,
    InvalidInput,
    LastOwner,
    LimitExceeded,
    MemberNotFound,
    NameTaken,
    NotPermitted,
    RoleNotFound,
    TeamNotFound,
)
from moonpool.ids import new_uuid
from moonpool.store.database import Store, Transaction

MAX_NAME = 128  # characters
MAX_OWNED = 20  # teams, so that nobody multiplies what one team may have


class TeamService:
    """``changed`` is called after members or what they may do have changed, ``deleted`` after a team is."""

    def __init__(self, store: Store, clock: Clock, *, changed: Callable[[], None], deleted: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed
        self._deleted = deleted
        self._teams = TeamRepository()
        self._users = UserRepository()
        self._invitations = InvitationRepository()

    # -- teams ---------------------------------------------------------------------------------------------------------

    async def of_user(self, principal: Principal) -> list[TeamOfUser]:
        """All that the principal's user is in, the first one first. An API key sees its own team alone."""
        async with self._store.reading() as connection:
            theirs = await self._teams.teams_of(connection, principal.user_id)
        return [one for one in theirs if principal.key_id is None or one.team.id == principal.team_id]

    async def get(self, principal: Principal, team_id: str) -> TeamOfUser:
        """One of them; TeamNotFound."""
        found = next((one for one in await self.of_user(principal) if one.team.id == team_id), None)
        if found is None:
            raise TeamNotFound
        return found

    async def create(self, principal: Principal, name: str) -> TeamOfUser:
        """The principal's user owns it. InvalidInput, LimitExceeded; Forbidden for a key that may not do everything."""
        if principal.role is None or not principal.allows(Scope.ADMIN):
            raise Forbidden("Making a team takes a key with the scope 'admin', or a browser session")
        now = self._clock.now()
        team = Team(new_uuid(), new_slug(name), valid_team(name), False, principal.user_id, now, now)
        membership = Membership(team.id, principal.user_id, TeamRole.OWNER, (), now, now)
        async with self._store.transaction() as transaction:
            theirs = await self._teams.teams_of(transaction.connection, principal.user_id)
            if sum(one.membership.role is TeamRole.OWNER for one in theirs) >= MAX_OWNED:
                raise LimitExceeded(f"Nobody owns more than {MAX_OWNED} teams")
            await self._teams.insert(transaction, team)
            await self._teams.insert_membership(transaction, membership)
        return TeamOfUser(team, membership)

    async def rename(self, principal: Principal, name: str) -> Team:
        name = valid_team(name)
        async with self._store.transaction() as transaction:
            await self.acting(transaction, principal)
            await self._teams.update(transaction, principal.team_id, name=name, updated_at=self._clock.now())
            team = await self._teams.team(transaction.connection, principal.team_id)
        assert team is not None
        return team

    async def delete(self, principal: Principal) -> None:
        """By an owner. Keys, sessions and invitations of the team end at once; its sandboxes, snapshots and volumes are
        destroyed then. Its slug is never given again."""
        async with self._store.transaction() as transaction:
            acting = await self.acting(transaction, principal)
            if acting.role is not TeamRole.OWNER:
                raise NotPermitted("Only an owner may delete the team")
            await self.remove(transaction, principal.team_id)
            transaction.after_commit(self._changed)
            transaction.after_commit(self._deleted)

    async def remove(self, transaction: Transaction, team_id: str) -> None:
        """What a deletion is, whoever asked for it. NotPermitted for the team that the server itself is in."""
        if any(one.user.built_in for one in await self._teams.members(transaction.connection, team_id)):
            raise NotPermitted("This is the server's own team", hint="It cannot be deleted.")
        now = self._clock.now()
        await self._teams.update(transaction, team_id, deleted_at=now, updated_at=now)
        await self._teams.remove_all_members(transaction, team_id)
        await self._invitations.cancel_all(transaction, team_id, now)

    # -- members -------------------------------------------------------------------------------------------------------

    async def members(self, principal: Principal) -> list[Member]:
        """Of the principal's team, the first one first."""
        async with self._store.reading() as connection:
            return await self._teams.members(connection, principal.team_id)

    async def member(self, principal: Principal, user_id: str) -> Member:
        """MemberNotFound."""
        found = next((one for one in await self.members(principal) if one.user.id == user_id), None)
        if found is None:
            raise MemberNotFound
        return found

    async def add(
        self,
        principal: Principal,
        email: str,
        role: TeamRole = TeamRole.MEMBER,
        role_ids: Sequence[str] = USUAL_ROLES,
    ) -> Member:
        """Somebody who has an account, at once: AccountNotFound, AlreadyMember."""
        email = valid_email(email)
        async with self._store.transaction() as transaction:
            acting = await self.acting(transaction, principal)
            user = await self._users.by_email(transaction.connection, email)
            if user is None or user.status is not UserStatus.ACTIVE or user.built_in:
                raise AccountNotFound("There is no account with this address")
            membership = await self.join(transaction, acting, user.id, role, role_ids)
        return Member(user, membership)

    async def join(
        self, transaction: Transaction, acting: Membership, user_id: str, role: TeamRole, role_ids: Sequence[str]
    ) -> Membership:
        """Make ``user_id`` a member of the team of whoever acts; AlreadyMember, NotPermitted, RoleNotFound."""
        await self.may_give(transaction, acting, role, role_ids)
        now = self._clock.now()
        membership = Membership(acting.team_id, user_id, role, tuple(role_ids), now, now)
        try:
            await self._teams.insert_membership(transaction, membership)
        except NameTaken as error:
            raise AlreadyMember from error
        transaction.after_commit(self._changed)
        return membership

    async def change(
        self, principal: Principal, user_id: str, role: TeamRole, role_ids: Sequence[str] | None = None
    ) -> Member:
        """What a member is; None leaves the assigned roles. Owners alone make, and change, owners, and one stays:
        MemberNotFound, NotPermitted, LastOwner, RoleNotFound."""
        async with self._store.transaction() as transaction:
            acting = await self.acting(transaction, principal)
            member = await self._other(transaction, acting, user_id)
            wanted = member.membership.role_ids if role_ids is None else tuple(role_ids)
            await self.may_give(transaction, acting, role, wanted if role_ids is not None else ())
            if member.role is TeamRole.OWNER and role is not TeamRole.OWNER:
                await self._not_the_last(transaction, acting.team_id, user_id)
            changed = replace(member.membership, role=role, role_ids=wanted, updated_at=self._clock.now())
            await self._teams.update_membership(transaction, changed)
            transaction.after_commit(self._changed)
        return Member(member.user, changed)

    async def expel(self, principal: Principal, user_id: str) -> None:
        """With the member's keys and sessions of this team: MemberNotFound, NotPermitted, LastOwner."""
        async with self._store.transaction() as transaction:
            acting = await self.acting(transaction, principal)
            member = await self._other(transaction, acting, user_id)
            if member.role is TeamRole.OWNER:
                await self._not_the_last(transaction, acting.team_id, user_id)
            await self._teams.remove_membership(transaction, acting.team_id, user_id)
            transaction.after_commit(self._changed)

    async def leave(self, principal: Principal) -> None:
        """LastOwner for the only one. Forbidden for a key that may not do everything its maker may."""
        async with self._store.transaction() as transaction:
            await self._teams.lock(transaction, principal.team_id)
            connection = transaction.connection
            membership = await self._teams.membership(connection, principal.team_id, principal.user_id)
            if membership is None or principal.role is None:
                raise NotPermitted("Only a member can leave")
            user = await self._users.by_id(connection, principal.user_id)
            if user is None or user.built_in:
                raise NotPermitted("This user is the server's own", hint="It cannot leave.")
            if principal.key_id is not None and not principal.allows(Scope.ADMIN):
                raise NotPermitted("Leaving takes a key with the scope 'admin', or a browser session")
            if membership.role is TeamRole.OWNER:
                await self._not_the_last(transaction, principal.team_id, principal.user_id)
            await self._teams.remove_membership(transaction, principal.team_id, principal.user_id)
            transaction.after_commit(self._changed)

    # -- rules, for whoever else changes teams -------------------------------------------------------------------------

    async def acting(self, transaction: Transaction, principal: Principal) -> Membership:
        """The principal as one who manages its team, by what is written now: NotPermitted. Until the transaction ends
        no other changes the team's members."""
        await self._teams.lock(transaction, principal.team_id)
        if principal.role not in MANAGERS or not principal.allows(Scope.ADMIN):
            raise NotPermitted
        membership = await self._teams.membership(transaction.connection, principal.team_id, principal.user_id)
        if membership is None or membership.role not in MANAGERS:
            raise NotPermitted
        return membership

    async def may_give(
        self, transaction: Transaction, acting: Membership, role: TeamRole, role_ids: Sequence[str]
    ) -> None:
        """NotPermitted where it takes an owner, RoleNotFound for a role that the team has not."""
        if role is TeamRole.OWNER and acting.role is not TeamRole.OWNER:
            raise NotPermitted("Only an owner can make owners")
        known = await self._teams.assigned(transaction.connection, acting.team_id, role_ids)
        if unknown := set(role_ids) - {one.id for one in known}:
            raise RoleNotFound(f"Role not found: {', '.join(sorted(unknown))}")

    async def _other(self, transaction: Transaction, acting: Membership, user_id: str) -> Member:
        """A member that ``acting`` may change."""
        members = await self._teams.members(transaction.connection, acting.team_id)
        found = next((one for one in members if one.user.id == user_id), None)
        if found is None:
            raise MemberNotFound
        if found.role is TeamRole.OWNER and acting.role is not TeamRole.OWNER:
            raise NotPermitted("Only an owner can change an owner")
        if found.user.built_in:
            raise NotPermitted("This user is the server's own", hint="It cannot be changed.")
        return found

    async def _not_the_last(self, transaction: Transaction, team_id: str, user_id: str) -> None:
        if await self._teams.owners(transaction.connection, team_id) == [user_id]:
            raise LastOwner


def valid_team(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(f"name: 1 to {MAX_NAME} printable characters", field="name")
    return name
