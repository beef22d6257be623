"""Accounts: how people get one, sign in, change their password, and end it."""

import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, Protocol

from moonpool.access import letters
from moonpool.access.addresses import asked_email, valid_email, valid_person
from moonpool.access.attempts import Attempts
from moonpool.access.invitations import InvitationService
from moonpool.access.mail import Mailer
from moonpool.access.model import Principal
from moonpool.access.passwords import Passwords, valid
from moonpool.access.people import ACTIVATION_LIFETIME, RESET_LIFETIME, Client, SignedIn, User, UserStatus
from moonpool.access.service import digest_of
from moonpool.access.session_repository import SessionRepository
from moonpool.access.sessions import SessionService, personal_team
from moonpool.access.team_repository import TeamRepository
from moonpool.access.user_repository import UserRepository
from moonpool.clock import Clock
from moonpool.errors import (
    AccountNotFound,
    Conflict,
    Forbidden,
    InvalidInput,
    MailFailed,
    NameTaken,
    NotSupported,
    SignUpClosed,
    TokenInvalid,
    WrongPassword,
)
from moonpool.ids import new_uuid
from moonpool.store.database import Store, Transaction

SECRET_BYTES = 32
ACTIVATE, RESET = "activate", "reset"  # purposes of what is mailed
BETWEEN_MAILS = timedelta(minutes=1)  # to one account, for one purpose
LOGIN, SIGN_UP, MAIL = "login", "sign-up", "mail"  # what is slowed down, each by itself

SignUp = Literal["closed", "invited", "open"]


@dataclass(frozen=True)
class AccountRules:
    """Who may sign up, and ``web``: the address that mailed links lead to, without a slash at its end."""

    sign_up: SignUp
    web: str


class Spawn(Protocol):
    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> object: ...


class AccountService:
    """``spawn`` does what nobody is to wait for, so that the time of an answer tells nothing."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rules: AccountRules,
        sessions: SessionService,
        invitations: InvitationService,
        mailer: Mailer | None,
        *,
        spawn: Spawn,
        changed: Callable[[], None],
        passwords: Passwords | None = None,
    ) -> None:
        self.attempts = Attempts(clock)
        self.rules = rules
        self._store = store
        self._clock = clock
        self._open = sessions
        self._invited = invitations
        self._mailer = mailer
        self._spawn = spawn
        self._changed = changed
        self._passwords = passwords or Passwords()
        self._users = UserRepository()
        self._teams = TeamRepository()
        self._sessions = SessionRepository()

    @property
    def mails(self) -> bool:
        """Whether links can be sent."""
        return self._mailer is not None

    # -- getting one ---------------------------------------------------------------------------------------------------

    async def sign_up(self, email: str, password: str, name: str, client: Client) -> None:
        """An account that waits for its owner to open what is mailed. SignUpClosed, NotSupported without a mail server,
        InvalidInput, NameTaken for an address that has one, Conflict a moment after another mail, MailFailed,
        RateLimited."""
        self.attempts.begin(SIGN_UP, address=client.address)
        await self.may_sign_up(email)
        mailer = self._needs_mailer()
        now, token = self._clock.now(), secrets.token_urlsafe(SECRET_BYTES)
        user = new_user(valid_email(email), valid_person(name), UserStatus.PENDING, self._clock)
        hashed = await self._passwords.hash(password)
        async with self._store.transaction() as transaction:
            known = await self._users.by_email(transaction.connection, user.email)
            if known is None:
                await self.insert(transaction, user, hashed)
            else:
                await self._take_over(transaction, known, user.name, hashed)
            user = known or user
            until = now + ACTIVATION_LIFETIME
            await self._users.put_token(transaction, digest_of(token), user.id, ACTIVATE, now, until)
        try:
            await mailer.send(letters.activation(self.rules.web, user.email, token))
        except MailFailed:
            async with self._store.transaction() as transaction:
                await self._users.drop_tokens(transaction, user.id, ACTIVATE)
            raise

    async def may_sign_up(self, email: str) -> None:
        """SignUpClosed where nobody with this address may make an account by themselves."""
        if self.rules.sign_up == "open":
            return
        if self.rules.sign_up == "invited":
            if await self._invited.invited(asked_email(email)):
                return
            raise SignUpClosed("Only who is invited can sign up here")
        raise SignUpClosed

    async def activate(self, token: str, client: Client, password: str | None = None) -> SignedIn:
        """TokenInvalid for a link that is none, too old, or used. A ``password`` counts in place of the one that was
        given at the sign-up, which anybody may have done: InvalidInput."""
        hashed = None if password is None else await self._hash_for(token, ACTIVATE, password)
        async with self._store.transaction() as transaction:
            now = self._clock.now()
            user = await self._users.take_token(transaction, digest_of(token), ACTIVATE, now)
            if user is None or user.status is not UserStatus.PENDING:
                raise TokenInvalid
            chosen = {} if hashed is None else {"password_hash": hashed}
            await self._users.update(transaction, user.id, status=UserStatus.ACTIVE, updated_at=now, **chosen)
            return await self._open.open(transaction, replace(user, status=UserStatus.ACTIVE), client)

    async def insert(self, transaction: Transaction, user: User, hashed: str | None) -> User:
        """With a team of their own. NameTaken."""
        team, membership = personal_team(user, self._clock)
        user = replace(user, team_id=team.id, has_password=hashed is not None)
        await self._teams.insert(transaction, team)
        await self._users.insert(transaction, user, hashed)
        await self._teams.insert_membership(transaction, membership)
        return user

    async def _take_over(self, transaction: Transaction, known: User, name: str, hashed: str) -> None:
        """Who signs up last has it, as long as nobody opened a mail."""
        if known.status is not UserStatus.PENDING:
            raise NameTaken("There is an account with this address already", hint="Sign in, or set a new password.")
        made = await self._users.token_made_at(transaction.connection, known.id, ACTIVATE)
        if made is not None and self._clock.now() - made < BETWEEN_MAILS:
            raise Conflict("A mail was sent to this address a moment ago", hint="Look there, or try again in a minute.")
        now = self._clock.now()
        await self._users.update(transaction, known.id, name=name, password_hash=hashed, updated_at=now)

    # -- signing in ----------------------------------------------------------------------------------------------------

    async def login(self, email: str, password: str, client: Client) -> SignedIn:
        """WrongPassword, whether there is such an account or not; RateLimited after several."""
        email = asked_email(email)
        self.attempts.begin(LOGIN, account=email, address=client.address)
        async with self._store.reading() as connection:
            user = await self._users.by_email(connection, email)
            kept = None if user is None else await self._users.password_hash(connection, user.id)
        right = await self._passwords.verify(kept, password)
        if user is None or kept is None or not right or user.status is not UserStatus.ACTIVE:
            raise WrongPassword
        self.attempts.succeeded(LOGIN, account=email, address=client.address)
        anew = await self._passwords.hash(password) if self._passwords.outdated(kept) else None
        async with self._store.transaction() as transaction:
            # What was read before the password was checked may have changed meanwhile.
            user = await self._users.by_id(transaction.connection, user.id)
            if user is None or user.status is not UserStatus.ACTIVE:
                raise WrongPassword
            if kept != await self._users.password_hash(transaction.connection, user.id):
                raise WrongPassword
            if anew is not None:
                await self._users.update(transaction, user.id, password_hash=anew)
            return await self._open.open(transaction, user, client)

    # -- passwords -----------------------------------------------------------------------------------------------------

    async def change_password(self, principal: Principal, current: str | None, new: str) -> None:
        """Every other session of the user ends. Whoever has no password yet sets their first: InvalidInput,
        WrongPassword, RateLimited."""
        user = await self.user(principal)
        self.attempts.begin(LOGIN, account=user.email)
        async with self._store.reading() as connection:
            kept = await self._users.password_hash(connection, user.id)
        if kept is not None and not await self._passwords.verify(kept, current or ""):
            raise WrongPassword("The current password is wrong")
        self.attempts.succeeded(LOGIN, account=user.email)
        hashed = await self._passwords.hash(new)
        async with self._store.transaction() as transaction:
            if kept != await self._users.password_hash(transaction.connection, user.id):
                raise Conflict("The password was changed by another request")
            await self._set_password(transaction, user.id, hashed, keep=principal.session_id)

    async def request_reset(self, email: str, client: Client) -> None:
        """A link to set a new password, to whoever has an account; nobody is told whether there is one. NotSupported
        without a mail server, RateLimited."""
        self._needs_mailer()
        self.attempts.begin(MAIL, address=client.address)
        self._spawn(self._mail_reset(asked_email(email)), "mail a reset")

    async def confirm_reset(self, token: str, new: str) -> None:
        """TokenInvalid, InvalidInput. All sessions of the user end."""
        hashed = await self._hash_for(token, RESET, new)
        async with self._store.transaction() as transaction:
            user = await self._users.take_token(transaction, digest_of(token), RESET, self._clock.now())
            if user is None or user.status is not UserStatus.ACTIVE:
                raise TokenInvalid
            await self._set_password(transaction, user.id, hashed, keep=None)
        self.attempts.succeeded(LOGIN, account=user.email)

    async def set_password(self, user_id: str, new: str) -> None:
        """By the operator. All sessions of the user end."""
        hashed = await self._passwords.hash(new)
        async with self._store.transaction() as transaction:
            await self._set_password(transaction, user_id, hashed, keep=None)

    async def hash(self, password: str) -> str:
        """InvalidInput for one that is too short."""
        return await self._passwords.hash(password)

    async def _hash_for(self, token: str, purpose: str, password: str) -> str:
        """Of whoever has such a token: it costs too much to be done for everybody. TokenInvalid, InvalidInput."""
        async with self._store.reading() as connection:
            if not await self._users.has_token(connection, digest_of(token), purpose, self._clock.now()):
                raise TokenInvalid
        return await self._passwords.hash(valid(password))

    async def _set_password(self, transaction: Transaction, user_id: str, hashed: str, *, keep: str | None) -> None:
        await self._users.update(transaction, user_id, password_hash=hashed, updated_at=self._clock.now())
        await self._users.drop_tokens(transaction, user_id, RESET)
        await self._sessions.remove_all(transaction, user_id, keep=keep)

    async def _mail_reset(self, email: str) -> None:
        mailer, now, token = self._needs_mailer(), self._clock.now(), secrets.token_urlsafe(SECRET_BYTES)
        async with self._store.transaction() as transaction:
            user = await self._users.by_email(transaction.connection, email)
            if user is None or user.status is not UserStatus.ACTIVE or user.built_in:
                return
            made = await self._users.token_made_at(transaction.connection, user.id, RESET)
            if made is not None and now - made < BETWEEN_MAILS:
                return
            await self._users.put_token(transaction, digest_of(token), user.id, RESET, now, now + RESET_LIFETIME)
        await mailer.send(letters.reset(self.rules.web, user.email, token))

    # -- the user's own ------------------------------------------------------------------------------------------------

    async def user(self, principal: Principal) -> User:
        """Who asks, whatever their team."""
        async with self._store.reading() as connection:
            user = await self._users.by_id(connection, principal.user_id)
        if user is None:
            raise AccountNotFound
        return user

    async def providers(self, principal: Principal) -> list[str]:
        """By which the user can sign in, beside a password."""
        async with self._store.reading() as connection:
            return [one.provider for one in await self._users.identities(connection, principal.user_id)]

    async def rename(self, principal: Principal, name: str) -> None:
        name = valid_person(name)
        async with self._store.transaction() as transaction:
            await self._users.update(transaction, principal.user_id, name=name, updated_at=self._clock.now())

    async def search(self, principal: Principal, prefix: str, limit: int = 10) -> list[User]:
        """Active users whose address begins so; InvalidInput without an @, so that nobody lists all."""
        if principal.role is None:
            raise Forbidden
        name, at, _ = prefix.partition("@")
        if not (name and at) or len(prefix) > 254 or "\0" in prefix:
            raise InvalidInput("email: the beginning of an address, with its @", field="email")
        async with self._store.reading() as connection:
            return await self._users.with_prefix(connection, prefix.lower(), limit)

    def _needs_mailer(self) -> Mailer:
        if self._mailer is None:
            raise NotSupported(
                "This server sends no mail", hint="Ask the operator, who makes accounts and sets passwords."
            )
        return self._mailer


def new_user(email: str, name: str, status: UserStatus, clock: Clock, *, platform_admin: bool = False) -> User:
    """Not in a team yet: see ``AccountService.insert``."""
    now, user_id = clock.now(), new_uuid()
    return User(user_id, user_id, "", name, email, status, platform_admin, False, now, now)
