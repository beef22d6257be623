"""Invitations into a team, answered by whoever has the address and is signed in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from moonpool.access import letters
from moonpool.access.addresses import valid_email
from moonpool.access.mail import Mailer
from moonpool.access.model import Principal, TeamRole
from moonpool.access.people import DEVELOPER, INVITATION_LIFETIME, Invitation, InvitationStatus, Role, Team, User
from moonpool.access.session_repository import InvitationRepository
from moonpool.access.team_repository import TeamRepository
from moonpool.access.teams import TeamService
from moonpool.access.user_repository import UserRepository
from moonpool.clock import Clock
from moonpool.errors import (
    AlreadyMember,
    Conflict,
    Forbidden,
    InvalidInput,
    InvitationNotFound,
    InvitationOver,
    LimitExceeded,
    MailFailed,
)
from moonpool.ids import new_uuid
from moonpool.store.database import Store, Transaction
from moonpool.store.moments import in_utc

MAX_PENDING = 200  # of one team

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ToldInvitation:
    """With what its reader wants to know: the team, who invited, and the roles that it gives."""

    invitation: Invitation
    team: Team
    inviter: User | None
    roles: tuple[Role, ...]


class InvitationService:
    def __init__(self, store: Store, clock: Clock, teams: TeamService, mailer: Mailer | None, web: str) -> None:
        self._store = store
        self._clock = clock
        self._rules = teams
        self._mailer = mailer
        self._web = web
        self._teams = TeamRepository()
        self._users = UserRepository()
        self._invitations = InvitationRepository()

    # -- of the team ---------------------------------------------------------------------------------------------------

    async def of_team(self, principal: Principal) -> list[ToldInvitation]:
        """Those of the principal's team that wait for an answer, expired ones too. NotPermitted."""
        async with self._store.transaction() as transaction:
            await self._rules.acting(transaction, principal)
            found = await self._invitations.of_team(transaction.connection, principal.team_id)
            return [told for one in found if (told := await self._told(transaction, one))]

    async def create(
        self,
        principal: Principal,
        email: str,
        role: TeamRole = TeamRole.MEMBER,
        role_ids: Sequence[str] = (DEVELOPER,),
        expires_at: datetime | None = None,
    ) -> ToldInvitation:
        """Mailed, where the server sends mail. InvalidInput, AlreadyMember, RoleNotFound, NotPermitted; Conflict where
        the address has one that is still good."""
        email, now = valid_email(email), self._clock.now()
        async with self._store.transaction() as transaction:
            acting = await self._rules.acting(transaction, principal)
            await self._rules.may_give(transaction, acting, role, role_ids)
            await self._not_invited(transaction, principal.team_id, email)
            invitation = Invitation(
                id=new_uuid(),
                team_id=principal.team_id,
                email=email,
                role=role,
                role_ids=tuple(role_ids),
                invited_by=principal.user_id,
                status=InvitationStatus.PENDING,
                created_at=now,
                updated_at=now,
                expires_at=self._expiry(expires_at),
            )
            await self._invitations.insert(transaction, invitation)
            told = await self._told(transaction, invitation)
        assert told is not None
        await self._mail(told)
        return told

    async def update(
        self,
        principal: Principal,
        invitation_id: str,
        role: TeamRole,
        role_ids: Sequence[str],
        expires_at: datetime | None = None,
    ) -> ToldInvitation:
        """None leaves the expiry. InvitationNotFound, InvitationOver for an answered one."""
        async with self._store.transaction() as transaction:
            acting = await self._rules.acting(transaction, principal)
            found = await self._pending(transaction, principal, invitation_id)
            await self._rules.may_give(transaction, acting, role, role_ids)
            changed = replace(
                found,
                role=role,
                role_ids=tuple(role_ids),
                expires_at=found.expires_at if expires_at is None else self._expiry(expires_at),
                updated_at=self._clock.now(),
            )
            await self._invitations.update(transaction, changed)
            told = await self._told(transaction, changed)
        assert told is not None
        return told

    async def cancel(self, principal: Principal, invitation_id: str) -> None:
        """InvitationNotFound, InvitationOver for an answered one."""
        async with self._store.transaction() as transaction:
            await self._rules.acting(transaction, principal)
            found = await self._pending(transaction, principal, invitation_id)
            await self._end(transaction, found, InvitationStatus.CANCELLED)

    # -- of the user ---------------------------------------------------------------------------------------------------

    async def mine(self, principal: Principal) -> list[ToldInvitation]:
        """Those to the principal's user that can be accepted."""
        async with self._store.transaction() as transaction:
            user = await self._user(transaction, principal)
            found = await self._invitations.to(transaction.connection, user.email, self._clock.now())
            return [told for one in found if (told := await self._told(transaction, one))]

    async def accept(self, principal: Principal, invitation_id: str) -> ToldInvitation:
        """The user is a member then, as the invitation says. InvitationNotFound where it is to another address,
        InvitationOver, AlreadyMember."""
        async with self._store.transaction() as transaction:
            user = await self._user(transaction, principal)
            found = await self._mine(transaction, user, invitation_id)
            await self._teams.lock(transaction, found.team_id)
            inviter = await self._teams.membership(transaction.connection, found.team_id, found.invited_by)
            if inviter is None:  # Nobody stands for it any more.
                raise InvitationOver
            await self._rules.join(transaction, inviter, user.id, found.role, found.role_ids)
            ended = await self._end(transaction, found, InvitationStatus.ACCEPTED)
            told = await self._told(transaction, ended)
        assert told is not None
        return told

    async def decline(self, principal: Principal, invitation_id: str) -> None:
        async with self._store.transaction() as transaction:
            user = await self._user(transaction, principal)
            found = await self._mine(transaction, user, invitation_id)
            await self._end(transaction, found, InvitationStatus.DECLINED)

    async def invited(self, email: str) -> bool:
        """Whether somebody waits for whoever has this address."""
        async with self._store.reading() as connection:
            return bool(await self._invitations.to(connection, email, self._clock.now()))

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _user(self, transaction: Transaction, principal: Principal) -> User:
        """Who speaks for themselves: no key that may do a part alone."""
        user = await self._users.by_id(transaction.connection, principal.user_id)
        if user is None or principal.role is None:
            raise Forbidden
        return user

    async def _pending(self, transaction: Transaction, principal: Principal, invitation_id: str) -> Invitation:
        found = await self._invitations.in_team(transaction.connection, principal.team_id, invitation_id)
        if found is None:
            raise InvitationNotFound
        if found.status is not InvitationStatus.PENDING:
            raise InvitationOver
        return found

    async def _mine(self, transaction: Transaction, user: User, invitation_id: str) -> Invitation:
        found = await self._invitations.for_address(transaction.connection, user.email, invitation_id)
        if found is None:
            raise InvitationNotFound
        if found.status is not InvitationStatus.PENDING or found.expires_at <= self._clock.now():
            raise InvitationOver
        return found

    async def _end(self, transaction: Transaction, invitation: Invitation, status: InvitationStatus) -> Invitation:
        ended = replace(invitation, status=status, updated_at=self._clock.now())
        await self._invitations.update(transaction, ended)
        return ended

    async def _not_invited(self, transaction: Transaction, team_id: str, email: str) -> None:
        members = await self._teams.members(transaction.connection, team_id)
        if any(member.user.email == email for member in members):
            raise AlreadyMember
        pending, now = await self._invitations.of_team(transaction.connection, team_id), self._clock.now()
        if len(pending) >= MAX_PENDING:
            raise LimitExceeded(f"A team has at most {MAX_PENDING} invitations that wait for an answer")
        if any(one.email == email and one.expires_at > now for one in pending):
            raise Conflict("This address is invited already", hint="Change or cancel that invitation.")

    async def _told(self, transaction: Transaction, invitation: Invitation) -> ToldInvitation | None:
        """None where the team is gone."""
        connection = transaction.connection
        team = await self._teams.team(connection, invitation.team_id)
        if team is None:
            return None
        inviter = await self._users.by_id(connection, invitation.invited_by)
        roles = await self._teams.assigned(connection, team.id, invitation.role_ids)
        return ToldInvitation(invitation, team, inviter, roles)

    async def _mail(self, told: ToldInvitation) -> None:
        """An invitation is there without its mail, too: whoever has the address sees it once signed in."""
        if self._mailer is None:
            return
        try:
            await self._mailer.send(letters.invitation(self._web, told.invitation, told.team))
        except MailFailed:
            log.warning("invitation_not_mailed", invitation=told.invitation.id)

    def _expiry(self, wanted: datetime | None) -> datetime:
        now = self._clock.now()
        if wanted is None:
            return now + INVITATION_LIFETIME
        wanted = in_utc(wanted, "expires_at")
        if wanted <= now:
            raise InvalidInput("The expiry is in the past", field="expires_at")
        return wanted
