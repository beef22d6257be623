"""Signing in by a provider, and the providers of an account."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict

from cryptography.fernet import Fernet, InvalidToken

from moonpool.access.accounts import AccountService, new_user
from moonpool.access.addresses import valid_email
from moonpool.access.model import Principal
from moonpool.access.people import Client, SignedIn, User, UserStatus
from moonpool.access.providers import Flow, Profile, Provider
from moonpool.access.sessions import SessionService
from moonpool.access.user_repository import Identity, UserRepository
from moonpool.clock import Clock
from moonpool.errors import (
    InvalidInput,
    LoginRefused,
    NotFound,
    ProviderFailed,
    ProviderNotFound,
    SessionRequired,
    SignUpClosed,
)
from moonpool.store.database import Store, Transaction

FLOW_LIFETIME = 600  # seconds from here to the provider and back
PURPOSE = b"moonpool login flows"
SECRET_BYTES = 32
MAX_NAME = 100  # characters


class LoginService:
    """What a login under way needs is sealed into the browser's own cookie: nothing is kept for logins that nobody
    finishes, and no other browser can finish one."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        accounts: AccountService,
        sessions: SessionService,
        providers: Iterable[Provider],
        key: bytes,
    ) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._sessions = sessions
        self._providers = {provider.name: provider for provider in providers}
        derived = hashlib.blake2b(PURPOSE, key=hashlib.sha256(key).digest(), digest_size=32).digest()
        self._seal = Fernet(base64.urlsafe_b64encode(derived))
        self._users = UserRepository()

    @property
    def names(self) -> list[str]:
        """Of the providers that the operator named."""
        return list(self._providers)

    async def begin(self, provider: str, redirect_uri: str, link: Principal | None = None) -> tuple[str, str]:
        """Where the browser goes to, and what it keeps meanwhile. ``link``: for whose account, instead of a login.
        ProviderNotFound, ProviderFailed."""
        if link is not None and link.session_id is None:
            raise SessionRequired
        flow = Flow(
            provider=provider,
            state=secrets.token_urlsafe(SECRET_BYTES),
            verifier=secrets.token_urlsafe(SECRET_BYTES),
            nonce=secrets.token_urlsafe(SECRET_BYTES),
            redirect_uri=redirect_uri,
            link_user=None if link is None else link.user_id,
        )
        url = await self._provider(provider).authorization_url(flow)
        return url, self._seal.encrypt(json.dumps(asdict(flow)).encode()).decode()

    async def finish(self, provider: str, sealed: str, state: str, code: str, client: Client) -> SignedIn | None:
        """Who has signed in; None where the login was added to an account. ProviderNotFound, LoginRefused with a
        ``reason``."""
        found = self._provider(provider)
        flow = self._unsealed(sealed)
        if flow is None or flow.provider != provider or not hmac.compare_digest(flow.state.encode(), state.encode()):
            raise LoginRefused("invalid_state")
        if not code:
            raise LoginRefused("missing_code")
        try:
            profile = await found.profile(flow, code)
        except ProviderFailed as error:
            raise LoginRefused("exchange_failed") from error
        if not profile.subject or len(profile.subject) > 255:
            raise LoginRefused("exchange_failed")
        if flow.link_user is not None:
            await self._link(provider, profile, flow.link_user)
            return None
        return await self._sign_in(provider, profile, client)

    async def disconnect(self, principal: Principal, provider: str) -> None:
        """NotFound where the account has it not, InvalidInput where nothing else would let the user in."""
        async with self._store.transaction() as transaction:
            user = await self._users.by_id(transaction.connection, principal.user_id)
            known = [one.provider for one in await self._users.identities(transaction.connection, principal.user_id)]
            if user is None or provider not in known:
                raise NotFound("This login is not connected")
            if not user.has_password and known == [provider]:
                raise InvalidInput("This is the only way to sign in", hint="Set a password first.")
            await self._users.drop_identity(transaction, user.id, provider)

    def _provider(self, name: str) -> Provider:
        found = self._providers.get(name)
        if found is None:
            raise ProviderNotFound
        return found

    def _unsealed(self, sealed: str) -> Flow | None:
        try:
            return Flow(**json.loads(self._seal.decrypt(sealed.encode(), ttl=FLOW_LIFETIME)))
        except (InvalidToken, ValueError):
            return None

    async def _link(self, provider: str, profile: Profile, user_id: str) -> None:
        async with self._store.transaction() as transaction:
            known = await self._users.identity(transaction.connection, provider, profile.subject)
            user = await self._users.by_id(transaction.connection, user_id)
            if user is None or user.status is not UserStatus.ACTIVE:
                raise LoginRefused("access_denied")
            if known is not None and known.user_id != user_id:
                raise LoginRefused("email_taken")
            await self._users.drop_identity(transaction, user_id, provider)
            await self._add(transaction, provider, profile, user_id)

    async def _sign_in(self, provider: str, profile: Profile, client: Client) -> SignedIn:
        async with self._store.transaction() as transaction:
            known = await self._users.identity(transaction.connection, provider, profile.subject)
            if known is not None:
                user = await self._users.by_id(transaction.connection, known.user_id)
                if user is None or user.status is not UserStatus.ACTIVE:
                    raise LoginRefused("access_denied")
                return await self._sessions.open(transaction, user, client)
        email = await self._new_address(profile)
        async with self._store.transaction() as transaction:
            user = await self._register(transaction, email, profile.name)
            await self._add(transaction, provider, profile, user.id)
            return await self._sessions.open(transaction, user, client)

    async def _new_address(self, profile: Profile) -> str:
        """Of somebody who has no account yet, and may make one."""
        if profile.email is None:  # Else anybody could claim somebody's address.
            raise LoginRefused("access_denied")
        try:
            email = valid_email(profile.email)
            await self._accounts.may_sign_up(email)
        except (InvalidInput, SignUpClosed) as error:
            raise LoginRefused("access_denied") from error
        return email

    async def _register(self, transaction: Transaction, email: str, name: str) -> User:
        """An account with the address stays its owner's: they connect the provider themselves, signed in."""
        if await self._users.by_email(transaction.connection, email) is not None:
            raise LoginRefused("email_taken")
        shown = "".join(character for character in name if character.isprintable()).strip()[:MAX_NAME]
        user = new_user(email, shown or "User", UserStatus.ACTIVE, self._clock)
        return await self._accounts.insert(transaction, user, None)

    async def _add(self, transaction: Transaction, provider: str, profile: Profile, user_id: str) -> None:
        identity = Identity(provider, profile.subject, user_id, profile.email or "", self._clock.now())
        await self._users.add_identity(transaction, identity)
