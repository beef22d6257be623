"""What administrators of the server, and its operator, do with users and teams; and how accounts end."""

from collections.abc import Callable

import structlog

from moonpool.access.accounts import AccountService, new_user
from moonpool.access.addresses import valid_email, valid_person
from moonpool.access.model import Principal, TeamRole
from moonpool.access.people import (
    ACTIVATION_LIFETIME,
    DELETION_GRACE,
    USUAL_ROLES,
    Membership,
    Team,
    User,
    UserStatus,
)
from moonpool.access.session_repository import SessionRepository
from moonpool.access.team_repository import TeamRepository
from moonpool.access.teams import TeamService
from moonpool.access.user_repository import UserRepository
from moonpool.clock import Clock
from moonpool.errors import (
    AccountNotFound,
    Forbidden,
    InvalidInput,
    LastAdministrator,
    OwnsTeams,
    SessionRequired,
    TeamNotFound,
)
from moonpool.store.database import Store, Transaction

log = structlog.get_logger(__name__)


class Administration:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        accounts: AccountService,
        teams: TeamService,
        *,
        changed: Callable[[], None],
        deleted: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._rules = teams
        self._changed = changed
        self._deleted = deleted
        self._users = UserRepository()
        self._teams = TeamRepository()
        self._sessions = SessionRepository()

    # -- users ---------------------------------------------------------------------------------------------------------

    async def users(self, principal: Principal) -> list[User]:
        """All of them, deleted ones until they end too. Forbidden."""
        require(principal)
        async with self._store.reading() as connection:
            return await self._users.all(connection)

    async def user_by_email(self, principal: Principal, email: str) -> User:
        """AccountNotFound."""
        require(principal)
        async with self._store.reading() as connection:
            user = await self._users.by_email(connection, valid_email(email))
        if user is None:
            raise AccountNotFound(f"There is no account with the address {email}")
        return user

    async def create_user(
        self,
        principal: Principal,
        email: str,
        name: str,
        password: str,
        *,
        platform_admin: bool = False,
        team_id: str | None = None,
        role: TeamRole = TeamRole.MEMBER,
    ) -> User:
        """One that can sign in at once, in a team of their own and in ``team_id`` too. NameTaken, InvalidInput."""
        require(principal)
        hashed = await self._accounts.hash(password)
        user = new_user(
            valid_email(email), valid_person(name), UserStatus.ACTIVE, self._clock, platform_admin=platform_admin
        )
        async with self._store.transaction() as transaction:
            user = await self._accounts.insert(transaction, user, hashed)
            if team_id is not None:
                if await self._teams.team(transaction.connection, team_id) is None:
                    raise TeamNotFound
                now = self._clock.now()
                membership = Membership(team_id, user.id, role, USUAL_ROLES, now, now)
                await self._teams.insert_membership(transaction, membership)
                await self._users.update(transaction, user.id, team_id=team_id)
        return user

    async def set_password(self, principal: Principal, user_id: str, password: str) -> None:
        """All sessions of the user end. AccountNotFound, InvalidInput."""
        require(principal)
        async with self._store.transaction() as transaction:
            await self._changeable(transaction, user_id)
        await self._accounts.set_password(user_id, password)

    async def set_active(self, principal: Principal, user_id: str, active: bool) -> None:
        """One that is not active cannot sign in, has no sessions, and its keys open nothing. A deleted account comes
        back, within its grace, but for its keys. AccountNotFound, LastAdministrator."""
        require(principal)
        async with self._store.transaction() as transaction:
            user = await self._changeable(transaction, user_id)
            if not active:
                await self._not_the_last(transaction, user)
                await self._sessions.remove_all(transaction, user_id)
            status = UserStatus.ACTIVE if active else UserStatus.DISABLED
            now = self._clock.now()
            await self._users.update(transaction, user_id, status=status, deleted_at=None, updated_at=now)
            transaction.after_commit(self._changed)

    async def set_admin(self, principal: Principal, user_id: str, admin: bool) -> None:
        """It counts at the user's next request. AccountNotFound, LastAdministrator."""
        require(principal)
        async with self._store.transaction() as transaction:
            user = await self._changeable(transaction, user_id)
            if not admin:
                await self._not_the_last(transaction, user)
            await self._users.update(transaction, user_id, platform_admin=admin, updated_at=self._clock.now())
            transaction.after_commit(self._changed)

    # -- teams ---------------------------------------------------------------------------------------------------------

    async def teams(self, principal: Principal) -> list[tuple[Team, int]]:
        """All of them, and how many members each has. Forbidden."""
        require(principal)
        async with self._store.reading() as connection:
            return await self._teams.all(connection)

    async def delete_team(self, principal: Principal, team_id: str) -> None:
        """As its owner could. TeamNotFound; NotPermitted for the one that the server began with."""
        require(principal)
        async with self._store.transaction() as transaction:
            if await self._teams.team(transaction.connection, team_id) is None:
                raise TeamNotFound
            await self._rules.remove(transaction, team_id)
            transaction.after_commit(self._changed)
            transaction.after_commit(self._deleted)

    # -- how accounts end ----------------------------------------------------------------------------------------------

    async def delete_account(self, principal: Principal, confirmation: str) -> None:
        """The principal's own: it cannot sign in any more, and ends for good after ``DELETION_GRACE``. InvalidInput
        where ``confirmation`` is not its address; OwnsTeams, LastAdministrator."""
        if principal.session_id is None:
            raise SessionRequired
        async with self._store.transaction() as transaction:
            user = await self._changeable(transaction, principal.user_id)
            if confirmation.strip().lower() != user.email:
                raise InvalidInput("confirmation: this is not the address of the account", field="confirmation")
            await self._not_the_last(transaction, user)
            for one in await self._owned_alone(transaction, user):
                if len(await self._teams.members(transaction.connection, one.id)) > 1:
                    raise OwnsTeams(f"You are the only owner of '{one.name}', which has other members")
            now = self._clock.now()
            status = UserStatus.DELETED
            await self._users.update(transaction, user.id, status=status, deleted_at=now, updated_at=now)
            await self._users.drop_tokens(transaction, user.id)
            await self._sessions.remove_all(transaction, user.id)
            await self._teams.remove_keys(transaction, user.id)
            transaction.after_commit(self._changed)

    async def prune(self) -> None:
        """What is over: deleted accounts after their grace, those that were never activated."""
        now = self._clock.now()
        async with self._store.reading() as connection:
            ending = await self._users.deleted_before(connection, now - DELETION_GRACE)
            ending += await self._users.pending_before(connection, now - ACTIVATION_LIFETIME)
        for user in ending:
            async with self._store.transaction() as transaction:
                await self._end(transaction, user.id)
            log.info("account_ended", user=user.id)

    async def _end(self, transaction: Transaction, user_id: str) -> None:
        user = await self._users.by_id(transaction.connection, user_id)
        if user is None or user.status not in (UserStatus.DELETED, UserStatus.PENDING):
            return  # It came back meanwhile.
        for team in await self._owned_alone(transaction, user):
            if not await self._others(transaction, team.id, user_id):
                await self._rules.remove(transaction, team.id)
                transaction.after_commit(self._deleted)
        for one in await self._teams.teams_of(transaction.connection, user_id):
            await self._teams.remove_membership(transaction, one.team.id, user_id)
        await self._sessions.remove_all(transaction, user_id)
        await self._users.remove(transaction, user_id)

    async def _owned_alone(self, transaction: Transaction, user: User) -> list[Team]:
        found = []
        for one in await self._teams.teams_of(transaction.connection, user.id):
            others = set(await self._teams.owners(transaction.connection, one.team.id)) - {user.id}
            if one.membership.role is TeamRole.OWNER and not others:
                found.append(one.team)
        return found

    async def _others(self, transaction: Transaction, team_id: str, user_id: str) -> bool:
        members = await self._teams.members(transaction.connection, team_id)
        return any(member.user.id != user_id for member in members)

    async def _changeable(self, transaction: Transaction, user_id: str) -> User:
        user = await self._users.by_id(transaction.connection, user_id)
        if user is None:
            raise AccountNotFound
        if user.built_in:
            raise Forbidden("This user is the server's own", hint="It cannot be changed.")
        return user

    async def _not_the_last(self, transaction: Transaction, user: User) -> None:
        """LastAdministrator where no other could sign in as one."""
        if not (user.platform_admin and user.status is UserStatus.ACTIVE):
            return
        everybody = await self._users.all(transaction.connection)
        if not any(
            one.platform_admin and one.status is UserStatus.ACTIVE and not one.built_in and one.id != user.id
            for one in everybody
        ):
            raise LastAdministrator


def require(principal: Principal) -> None:
    if not principal.platform_admin:
        raise Forbidden("Only administrators of this server may do that", hint="Ask one of them.")
