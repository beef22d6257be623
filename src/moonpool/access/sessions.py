"""Browser sessions: random tokens, hashed at rest, with an idle and an absolute end."""

import hmac
import secrets
from dataclasses import replace

from moonpool.access.model import Principal, TeamRole
from moonpool.access.people import (
    SESSION_LIFETIME,
    Client,
    Membership,
    Session,
    SignedIn,
    Team,
    User,
    UserStatus,
    principal_of_session,
    scopes_of,
)
from moonpool.access.service import MAX_TOKEN_LENGTH, digest_of
from moonpool.access.session_repository import SessionRepository
from moonpool.access.team_repository import TeamRepository
from moonpool.access.user_repository import UserRepository
from moonpool.clock import Clock
from moonpool.errors import CsrfRefused, SessionNotFound, SessionRequired, TeamNotFound
from moonpool.ids import new_uuid, random_word
from moonpool.store.database import Store, Transaction
from moonpool.store.text import storable

SECRET_BYTES = 32
SEEN_EVERY = 60.0  # seconds between notes that a session is in use
MAX_AGENT = 512  # characters that are kept of what a browser calls itself
SLUG_SUFFIX = 8  # characters


class SessionService:
    """``key`` is the server's own secret: the CSRF token of a session is made of the session's with it, so that what a
    neighbouring host sets as a cookie is none."""

    def __init__(self, store: Store, clock: Clock, key: bytes) -> None:
        self._store = store
        self._clock = clock
        self._key = hmac.digest(key, b"moonpool csrf", "sha256")
        self._sessions = SessionRepository()
        self._users = UserRepository()
        self._teams = TeamRepository()

    async def authenticate(self, token: str) -> Principal:
        """Who is signed in with it, as things are now; SessionRequired where nobody is any more."""
        if not token or len(token) > MAX_TOKEN_LENGTH:
            raise SessionRequired
        digest, now = digest_of(token), self._clock.now()
        async with self._store.reading() as connection:
            stored = await self._sessions.by_digest(connection, digest)
            if stored is None or not hmac.compare_digest(stored.digest, digest) or stored.session.ended(now):
                raise SessionRequired
            session = stored.session
            user = await self._users.by_id(connection, session.user_id)
            membership = await self._teams.membership(connection, session.team_id, session.user_id)
            if user is None or user.status is not UserStatus.ACTIVE or membership is None:
                raise SessionRequired
            assigned = await self._teams.assigned(connection, session.team_id, membership.role_ids)
        if (now - session.last_seen_at).total_seconds() >= SEEN_EVERY:
            async with self._store.transaction() as transaction:
                await self._sessions.seen(transaction, session.id, now)
        return principal_of_session(session, user, membership.role, scopes_of(membership.role, assigned))

    def csrf(self, token: str) -> str:
        """What a page has to send beside the cookie with each change."""
        return hmac.digest(self._key, token.encode("utf-8", "surrogatepass"), "sha256").hex()

    def check_csrf(self, token: str, cookie: str, sent: str) -> None:
        """CsrfRefused unless what was ``sent`` is what the cookie says, and is this session's."""
        given, own = sent.encode("utf-8", "surrogatepass"), self.csrf(token).encode()
        same = hmac.compare_digest(given, cookie.encode("utf-8", "surrogatepass"))
        if not (hmac.compare_digest(given, own) and same):
            raise CsrfRefused

    async def open(self, transaction: Transaction, user: User, client: Client) -> SignedIn:
        """A new one, in the team that the user was in last. Whatever session the browser had before is not taken up."""
        membership = await self._first_team(transaction, user)
        now = self._clock.now()
        session = Session(
            id=new_uuid(),
            user_id=user.id,
            team_id=membership.team_id,
            user_agent=kept(client.user_agent, MAX_AGENT),
            address=kept(client.address, MAX_AGENT),
            created_at=now,
            last_seen_at=now,
            expires_at=now + SESSION_LIFETIME,
        )
        token = secrets.token_urlsafe(SECRET_BYTES)
        await self._sessions.insert(transaction, session, digest_of(token))
        return SignedIn(session, user, membership.role, token)

    async def list(self, principal: Principal) -> list[Session]:
        """Those of the principal's user, the last seen first."""
        async with self._store.reading() as connection:
            return await self._sessions.of_user(connection, principal.user_id, self._clock.now())

    async def revoke(self, principal: Principal, session_id: str) -> None:
        """One of the user's own; SessionNotFound."""
        async with self._store.transaction() as transaction:
            if not await self._sessions.remove(transaction, principal.user_id, session_id):
                raise SessionNotFound

    async def end(self, principal: Principal) -> None:
        """The one that asks; gone is gone."""
        async with self._store.transaction() as transaction:
            await self._sessions.remove(transaction, principal.user_id, principal.session_id or "")

    async def end_all(self, principal: Principal) -> None:
        async with self._store.transaction() as transaction:
            await self._sessions.remove_all(transaction, principal.user_id)

    async def switch(self, principal: Principal, team_id: str) -> SignedIn:
        """The same session with a new token, in another of the user's teams: TeamNotFound where it is none of them."""
        token = secrets.token_urlsafe(SECRET_BYTES)
        async with self._store.transaction() as transaction:
            connection = transaction.connection
            user = await self._users.by_id(connection, principal.user_id)
            membership = await self._teams.membership(connection, team_id, principal.user_id)
            if user is None or membership is None:
                raise TeamNotFound
            current = await self._sessions.of_user(connection, user.id, self._clock.now())
            session = next((one for one in current if one.id == principal.session_id), None)
            if session is None:
                raise SessionRequired
            changed = replace(session, team_id=team_id, last_seen_at=self._clock.now())
            await self._sessions.remove(transaction, user.id, session.id)
            await self._sessions.insert(transaction, changed, digest_of(token))
            await self._users.update(transaction, user.id, team_id=team_id)
        return SignedIn(changed, user, membership.role, token)

    async def prune(self) -> None:
        async with self._store.transaction() as transaction:
            await self._sessions.prune(transaction, self._clock.now())

    async def _first_team(self, transaction: Transaction, user: User) -> Membership:
        """The one they were in last, another of theirs, or a new one: nobody is without."""
        theirs = await self._teams.teams_of(transaction.connection, user.id)
        if not theirs:
            team, membership = personal_team(user, self._clock)
            await self._teams.insert(transaction, team)
            await self._teams.insert_membership(transaction, membership)
        else:
            membership = next((one.membership for one in theirs if one.team.id == user.team_id), theirs[0].membership)
        if membership.team_id != user.team_id:
            await self._users.update(transaction, user.id, team_id=membership.team_id)
        return membership


def kept(text: str, length: int) -> str:
    """What a client says of itself, as it can be stored."""
    return text[:length] if storable(text[:length]) else ""


def personal_team(user: User, clock: Clock) -> tuple[Team, Membership]:
    """Of the user's own, who is its owner."""
    now = clock.now()
    team = Team(new_uuid(), new_slug(user.name), user.name, True, user.id, now, now)
    return team, Membership(team.id, user.id, TeamRole.OWNER, (), now, now)


def new_slug(name: str) -> str:
    """Letters, digits and dashes; nobody else's, by a random end."""
    words = "".join(character if character.isascii() and character.isalnum() else " " for character in name.lower())
    return "-".join([*words[:40].split(), random_word(SLUG_SUFFIX)])
