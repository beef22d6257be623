"""Where people can sign in instead: GitHub, and any provider that speaks OpenID Connect. With state and PKCE."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from moonpool.clock import Clock
from moonpool.errors import ProviderFailed

TIMEOUT = 15.0  # seconds for one question
KNOWN_FOR = 3600.0  # seconds that what a provider says of itself holds
# Never one that a shared secret makes.
SIGNATURES = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
BASIC, POST = "client_secret_basic", "client_secret_post"  # how we say at a provider who we are
NOT_US = frozenset({"invalid_client", "unauthorized_client"})  # what it says where it wants the other one
LEEWAY = 60  # seconds that clocks may differ


@dataclass(frozen=True)
class Flow:
    """One login under way; sealed in a cookie meanwhile. ``link_user``: whose account it is to be added to."""

    provider: str
    state: str
    verifier: str
    nonce: str
    redirect_uri: str
    link_user: str | None = None


@dataclass(frozen=True)
class Profile:
    """``email`` is None unless the provider says that it is verified."""

    subject: str
    email: str | None
    name: str


class Provider(Protocol):
    @property
    def name(self) -> str: ...

    async def authorization_url(self, flow: Flow) -> str:
        """Where the browser goes to; ProviderFailed."""
        ...

    async def profile(self, flow: Flow, code: str) -> Profile:
        """Who signed in there; ProviderFailed."""
        ...


@dataclass(frozen=True)
class GitHub:
    """``url`` is GitHub's own or an enterprise's server, ``api`` that of its API; without a slash at their ends."""

    client_id: str
    client_secret: str = field(repr=False)
    url: str = "https://github.com"
    api: str = "https://api.github.com"
    name: str = "github"

    async def authorization_url(self, flow: Flow) -> str:
        return grant_uri(f"{self.url}/login/oauth/authorize", self.client_id, flow, scope="read:user user:email")

    async def profile(self, flow: Flow, code: str) -> Profile:
        async with client() as http:
            token = await exchange(http, f"{self.url}/login/oauth/access_token", self, flow, code, [POST])
            headers = {"Authorization": f"Bearer {token.get('access_token')}"}
            user = await answer_of(http, "GET", f"{self.api}/user", headers=headers)
            emails = await answer_of(http, "GET", f"{self.api}/user/emails", headers=headers)
        if not isinstance(user, Mapping) or not isinstance(user.get("id"), int) or not isinstance(emails, list):
            raise ProviderFailed
        primary = [one["email"] for one in emails if one.get("primary") and one.get("verified")]
        return Profile(str(user["id"]), str(primary[0]) if primary else None, str(user.get("name") or user["login"]))


class OpenIdConnect:
    """What it is like is asked of the issuer itself, which the operator names."""

    name = "oidc"

    def __init__(self, issuer: str, client_id: str, client_secret: str, clock: Clock) -> None:
        self._clock = clock
        self.issuer = issuer
        self.client_id = client_id
        self.client_secret = client_secret
        self._metadata: Mapping[str, Any] = {}
        self._known_until = 0.0

    async def authorization_url(self, flow: Flow) -> str:
        async with client() as http:
            metadata = await self._discover(http)
        return grant_uri(
            metadata["authorization_endpoint"], self.client_id, flow, scope="openid email profile", nonce=flow.nonce
        )

    async def profile(self, flow: Flow, code: str) -> Profile:
        async with client() as http:
            metadata = await self._discover(http)
            token = await exchange(http, metadata["token_endpoint"], self, flow, code, methods_of(metadata))
            keys = await answer_of(http, "GET", metadata["jwks_uri"])
            claims = self._verified(token.get("id_token"), keys, flow.nonce)
            told = await self._told(http, metadata, token, claims)
        email = told.get("email") if told.get("email_verified") in (True, "true") else None
        return Profile(claims["sub"], None if email is None else str(email), str(told.get("name") or "User"))

    async def _told(
        self, http: httpx.AsyncClient, metadata: Mapping[str, Any], token: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """What the provider tells of who signed in: many have it not in the ID token but at an address of its own."""
        where = metadata.get("userinfo_endpoint")
        if {"email", "email_verified"} <= claims.keys() or not isinstance(where, str):
            return claims
        found = await answer_of(http, "GET", where, headers={"Authorization": f"Bearer {token['access_token']}"})
        if not isinstance(found, Mapping) or found.get("sub") != claims["sub"]:  # of somebody else (section 5.3.2)
            raise ProviderFailed
        return found

    def _verified(self, token: Any, keys: Any, nonce: str) -> Mapping[str, Any]:
        """The claims of an ID token that this issuer signed for us and this login."""
        rules = jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            decoded = jwt.decode(str(token), KeySet(known_keys(keys)), algorithms=SIGNATURES)
            rules.validate(decoded.claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ProviderFailed("The provider's answer is not signed as it has to be") from error
        return decoded.claims

    async def _discover(self, http: httpx.AsyncClient) -> Mapping[str, Any]:
        if self._clock.monotonic() < self._known_until:
            return self._metadata
        found = await answer_of(http, "GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if not isinstance(found, Mapping) or found.get("issuer") != self.issuer:
            raise ProviderFailed("The provider calls itself by another name than MOONPOOL_OAUTH_OIDC_ISSUER")
        if not all(isinstance(found.get(name), str) for name in needed):
            raise ProviderFailed
        self._metadata, self._known_until = found, self._clock.monotonic() + KNOWN_FOR
        return found


class Registered(Protocol):
    """What we are to a provider."""

    @property
    def client_id(self) -> str: ...

    @property
    def client_secret(self) -> str: ...


def client() -> httpx.AsyncClient:
    """Follows no redirects: answers come from where they were asked for."""
    return httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, headers={"Accept": "application/json"})


def grant_uri(url: str, client_id: str, flow: Flow, *, scope: str, **more: str) -> str:
    challenge = create_s256_code_challenge(flow.verifier)  # type: ignore[no-untyped-call]
    return prepare_grant_uri(  # type: ignore[no-any-return]
        url,
        client_id,
        "code",
        redirect_uri=flow.redirect_uri,
        scope=scope,
        state=flow.state,
        code_challenge=challenge,
        code_challenge_method="S256",
        **more,
    )


def methods_of(metadata: Mapping[str, Any]) -> list[str]:
    """Those that we know of the provider's; the one that is meant where it names none (OpenID Connect Discovery 3)."""
    named = metadata.get("token_endpoint_auth_methods_supported")
    known = [method for method in (BASIC, POST) if isinstance(named, list) and method in named]
    return known or [BASIC]


def known_keys(keys: Any) -> list[Key]:
    """Those that sign; a provider may have others, of kinds that nobody here has heard of."""
    found: list[Key] = []
    for key in keys["keys"]:
        if not isinstance(key, dict) or key.get("use") == "enc":
            continue
        try:
            found.append(JWKRegistry.import_key(key))
        except (JoseError, ValueError, KeyError):
            continue
    return found


async def exchange(
    http: httpx.AsyncClient, url: str, us: Registered, flow: Flow, code: str, methods: list[str]
) -> Mapping[str, Any]:
    """The tokens that a code is good for, once. Providers hold each client to one of the ``methods`` that they name and
    do not say to which; who is not known by one has not used up the code."""
    for method in methods:
        answer = await asked(http, "POST", url, **token_request(us, flow, code, method))
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            continue
        found = json_of(answer)
        if not isinstance(found, Mapping):
            break
        if answer.status_code == httpx.codes.OK and isinstance(found.get("access_token"), str):
            return found
        if found.get("error") not in NOT_US:
            break
    raise ProviderFailed


def token_request(us: Registered, flow: Flow, code: str, method: str) -> dict[str, Any]:
    """Both secrets of a header are encoded first (RFC 6749, 2.3.1), so that a colon parts them."""
    named = {"client_id": us.client_id, "client_secret": us.client_secret} if method == POST else {}
    body = prepare_token_request(
        "authorization_code", code=code, redirect_uri=flow.redirect_uri, code_verifier=flow.verifier, **named
    )
    request: dict[str, Any] = {"content": body, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    if method == BASIC:
        request["auth"] = (quote(us.client_id, safe=""), quote(us.client_secret, safe=""))
    return request


async def answer_of(http: httpx.AsyncClient, method: str, url: str, **request: Any) -> Any:
    """JSON; ProviderFailed for anything else."""
    answer = await asked(http, method, url, **request)
    if answer.status_code != httpx.codes.OK:
        raise ProviderFailed
    return json_of(answer)


async def asked(http: httpx.AsyncClient, method: str, url: str, **request: Any) -> httpx.Response:
    try:
        return await http.request(method, url, **request)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProviderFailed from error


def json_of(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise ProviderFailed from error
