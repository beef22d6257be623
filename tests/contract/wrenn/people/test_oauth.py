"""Signing in by a provider, which is a real server on loopback, and everything that is not good about such a login."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import ECKey

from moonpool.app import Core
from tests.contract.wrenn.conftest import each
from tests.contract.wrenn.people.conftest import WEB, Browser, MovableClock, SignIn
from tests.contract.wrenn.people.provider import Person, Provider

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASIC, POST = "client_secret_basic", "client_secret_post"
GITHUB, OIDC = {"provider": "github"}, {"provider": "oidc"}
people = iter(range(1000, 9000))


@each
async def person(provider: Provider) -> AsyncIterator[Person]:
    """Somebody new at the provider."""
    number = next(people)
    provider.person = Person(id=number, email=f"p{number}@example.com")
    yield provider.person
    provider.claims, provider.denying, provider.userinfo, provider.strange_keys = {}, False, None, []
    provider.method, provider.methods = POST, [POST]


async def to_provider(browser: Browser, path: dict[str, str], url: str = "") -> str:
    """What the provider's page leads back to, once the person has agreed; ``url`` where the browser knows it."""
    if not url:
        answer = await browser.ask("oauthRedirect", path)
        assert answer.status_code == 302, answer.text
        url = answer.headers["location"]
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(url)).headers["location"]


async def come_back(browser: Browser, location: str, path: dict[str, str], **changes: str) -> str:
    """The reason of a refusal, or nothing; the end is always on the operator's page."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()} | changes
    answer = await browser.ask("oauthCallback", path, params=asked)
    assert answer.status_code == 302
    end = urlsplit(answer.headers["location"])
    assert f"{end.scheme}://{end.netloc}{end.path}" == f"{WEB}/auth/{path['provider']}/callback"
    return parse_qs(end.query).get("error", [""])[0]


async def sign_in_by(browser: Browser, path: dict[str, str]) -> str:
    return await come_back(browser, await to_provider(browser, path), path)


@pytest.mark.parametrize("path", [GITHUB, OIDC], ids=str)
async def test_somebody_new_and_again(
    browsers: Callable[[], Browser], person: Person, provider: Provider, path: dict[str, str]
) -> None:
    first, second = browsers(), browsers()
    assert await sign_in_by(first, path) == ""
    me = await first.call("getMe", 200)
    assert me == {"name": "Olga", "email": person.email, "has_password": False, "providers": [path["provider"]]}
    person.email = "moved@example.com"  # Who somebody is does not hang on their address.
    assert await sign_in_by(second, path) == ""
    assert (await second.call("getMe", 200))["email"] == me["email"]
    assert len((await second.call("listSessions", 200))["sessions"]) == 2
    assert "wrenn_oauth" not in first.http.cookies


@pytest.mark.parametrize(
    ("method", "methods"),
    [(BASIC, None), (BASIC, [POST, BASIC, "private_key_jwt"]), (POST, [BASIC, POST]), (POST, [POST])],
    ids=str,
)
async def test_a_provider_takes_the_client_in_its_own_way(
    browser: Browser, person: Person, provider: Provider, clock: MovableClock, method: str, methods: list[str] | None
) -> None:
    provider.method, provider.methods = method, methods
    clock.ahead += timedelta(hours=2)  # What it said of itself before no longer holds.
    assert await sign_in_by(browser, OIDC) == ""
    assert (await browser.call("getMe", 200))["email"] == person.email
    location = await to_provider(browser, OIDC)
    assert await come_back(browser, location, OIDC, code="guessed") == "exchange_failed"


@pytest.mark.parametrize("verified", [True, "true"])
async def test_a_provider_tells_of_a_person_elsewhere_than_in_the_token(
    browser: Browser, person: Person, provider: Provider, verified: object
) -> None:
    provider.userinfo = {"email_verified": verified, "name": "Olga of the userinfo"}
    assert await sign_in_by(browser, OIDC) == ""
    me = await browser.call("getMe", 200)
    assert (me["email"], me["name"]) == (person.email, "Olga of the userinfo")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"sub": "another", "email_verified": True}, "exchange_failed"),
        ({"email_verified": False}, "access_denied"),
        ({"email_verified": "false"}, "access_denied"),
        ({}, "access_denied"),
    ],
    ids=str,
)
async def test_what_is_told_of_a_person_has_to_be_theirs_and_verified(
    browser: Browser, person: Person, provider: Provider, told: dict[str, Any], reason: str
) -> None:
    provider.userinfo = told
    assert await sign_in_by(browser, OIDC) == reason
    await browser.call("getMe", 401)


async def test_a_provider_has_keys_of_kinds_that_nobody_knows(
    browser: Browser, person: Person, provider: Provider
) -> None:
    provider.strange_keys = [
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "quantum"},
        {"kty": "EC", "crv": "brainpoolP256r1", "x": "AA", "y": "AA", "kid": "curve"},
        {"kty": "RSA", "use": "sig", "kid": "half"},
    ]
    assert await sign_in_by(browser, OIDC) == ""


async def test_the_state_is_this_browsers(browsers: Callable[[], Browser], person: Person) -> None:
    victim, attacker = browsers(), browsers()
    planned = await to_provider(attacker, GITHUB)
    assert await come_back(victim, planned, GITHUB) == "invalid_state"
    await to_provider(victim, GITHUB)
    assert await come_back(victim, planned, GITHUB) == "invalid_state"
    own = await to_provider(victim, GITHUB)
    for state in ("", "x", "é"):
        assert await come_back(victim, own, GITHUB, state=state) == "invalid_state"
        own = await to_provider(victim, GITHUB)
    await victim.call("getMe", 401)


async def test_a_login_at_one_provider_is_none_at_another(browser: Browser, person: Person) -> None:
    location = await to_provider(browser, GITHUB)
    assert await come_back(browser, location, OIDC) == "invalid_state"


async def test_a_sealed_login_cannot_be_made_or_kept(browser: Browser, person: Person) -> None:
    location = await to_provider(browser, GITHUB)
    browser.http.cookies.clear()
    browser.http.cookies.set("wrenn_oauth", "made up", domain="127.0.0.1", path="/auth/oauth")
    assert await come_back(browser, location, GITHUB) == "invalid_state"


async def test_codes_that_are_none(browser: Browser, person: Person) -> None:
    location = await to_provider(browser, GITHUB)
    assert await come_back(browser, location, GITHUB, code="") == "missing_code"
    location = await to_provider(browser, GITHUB)
    assert await come_back(browser, location, GITHUB, code="guessed") == "exchange_failed"
    other = await to_provider(browser, GITHUB)  # A code of another login, whose verifier is another one.
    own = await to_provider(browser, GITHUB)
    code = parse_qs(urlsplit(other).query)["code"][0]
    assert await come_back(browser, own, GITHUB, code=code) == "exchange_failed"


async def test_somebody_who_would_not(browser: Browser, person: Person, provider: Provider) -> None:
    provider.denying = True
    assert await sign_in_by(browser, GITHUB) == "access_denied"
    await browser.call("getMe", 401)


async def test_nothing_leads_elsewhere(browser: Browser, person: Person) -> None:
    for name in ("redirect_uri", "return_to", "next", "url"):
        started = await browser.ask("oauthRedirect", GITHUB, params={name: "https://evil.example"})
        asked = parse_qs(urlsplit(started.headers["location"]).query)
        assert asked["redirect_uri"][0].endswith("/auth/oauth/github/callback")
        assert "evil" not in started.headers["location"]
        location = await to_provider(browser, GITHUB)
        await come_back(browser, location, GITHUB, **{name: "https://evil.example", "error": "//evil.example"})
    for unknown in ("gitlab", "%2F%2Fevil.example", "..", "github%0d%0aX"):
        told = await browser.http.get(f"/auth/oauth/{unknown}")
        assert told.status_code == 404
        told = await browser.http.get(f"/auth/oauth/{unknown}/callback", params={"code": "c", "state": "s"})
        assert told.status_code == 404


async def test_an_address_that_is_not_verified_is_nobodys(browser: Browser, person: Person) -> None:
    person.verified = False
    for path in (GITHUB, OIDC):
        assert await sign_in_by(browser, path) == "access_denied"


async def test_accounts_are_not_joined_by_their_address(browser: Browser, person: Person, sign_in: SignIn) -> None:
    owner = await sign_in()
    person.email = owner.email
    assert await sign_in_by(browser, GITHUB) == "email_taken"
    await browser.call("getMe", 401)


async def test_a_provider_is_connected_by_who_is_signed_in(
    browser: Browser, person: Person, sign_in: SignIn, browsers: Callable[[], Browser]
) -> None:
    owner, other = await sign_in(), await sign_in()
    for somebody, told in ((owner, ""), (other, "email_taken")):
        url = (await somebody.browser.call("connectProvider", 200, GITHUB))["auth_url"]
        location = await to_provider(somebody.browser, GITHUB, url)
        assert await come_back(somebody.browser, location, GITHUB) == told
    assert (await owner.browser.call("getMe", 200))["providers"] == ["github"]
    assert (await other.browser.call("getMe", 200))["providers"] == []
    assert await sign_in_by(browser, GITHUB) == ""
    assert (await browser.call("getMe", 200))["email"] == owner.email
    await owner.browser.call("disconnectProvider", 204, GITHUB)
    assert (await owner.browser.call("disconnectProvider", 404, GITHUB))["code"] == "not_found"
    await owner.browser.call("connectProvider", 404, {"provider": "gitlab"})
    await browsers().call("connectProvider", 401, GITHUB)


async def test_the_last_way_in_stays(browser: Browser, person: Person) -> None:
    assert await sign_in_by(browser, GITHUB) == ""
    assert (await browser.call("disconnectProvider", 400, GITHUB))["code"] == "invalid_request"
    first = {"new_password": "a first password", "confirm_password": "another one"}
    assert (await browser.call("changePassword", 400, json=first))["code"] == "invalid_request"
    await browser.call("changePassword", 204, json={**first, "confirm_password": "a first password"})
    await browser.call("disconnectProvider", 204, GITHUB)
    await browser.login(person.email, "a first password")


async def test_somebody_who_was_deactivated(browser: Browser, person: Person, core: Core) -> None:
    assert await sign_in_by(browser, GITHUB) == ""
    operator = await core.access.local_principal()
    user = await core.community.administration.user_by_email(operator, person.email)
    await core.community.administration.set_active(operator, user.id, False)
    assert await sign_in_by(browser, GITHUB) == "access_denied"
    await browser.call("getMe", 401)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "somebody else"},
        {"iss": "https://evil.example"},
        {"nonce": "of another login"},
        {"exp": 1_700_000_000},
        {"sub": ""},
    ],
    ids=str,
)
async def test_tokens_that_are_not_for_us(
    browser: Browser, person: Person, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    assert await sign_in_by(browser, OIDC) == "exchange_failed"
    await browser.call("getMe", 401)


async def test_a_token_that_somebody_else_signed(browser: Browser, person: Person, provider: Provider) -> None:
    location, own = await to_provider(browser, OIDC), provider.signer
    (code,) = parse_qs(urlsplit(location).query)["code"]
    provider.signer = ECKey.generate_key("P-256", {"kid": "one"})
    forged = provider.id_token(provider.codes[code]["nonce"])
    provider.signer = own
    provider.id_token = lambda nonce: forged  # type: ignore[method-assign]
    try:
        assert await come_back(browser, location, OIDC) == "exchange_failed"
    finally:
        del provider.id_token  # type: ignore[method-assign]
