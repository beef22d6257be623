"""What mailed links and logins lead to, used as a person with a browser does, and as others try to."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from moonpool.access.attempts import OF_ACCOUNT
from moonpool.access.people import ACTIVATION_LIFETIME, RESET_LIFETIME
from moonpool.app import Core
from tests.contract.wrenn.people.conftest import PASSWORD, MovableClock, NewUser
from tests.contract.wrenn.people.mail import MailServer
from tests.contract.wrenn.people.provider import Person, Provider
from tests.web.conftest import Browser, Browsers

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHOSEN = "chosen by who has the mail"
LINK = re.compile(r"^http\S+", re.MULTILINE)


@pytest.fixture(autouse=True)
def in_its_time(clock: MovableClock) -> Any:
    yield
    clock.ahead += timedelta(hours=2)  # What was tried here is forgotten.


async def link(mail: MailServer, to: str) -> str:
    """That of the next mail, which goes to ``to``."""
    recipients, message = await mail.mails.get()
    assert recipients == [to]
    found = LINK.search(message.get_content())
    assert found is not None
    return found[0].strip()


async def sign_in(browser: Browser, email: str, password: str = PASSWORD) -> httpx.Response:
    await browser.open("/login")
    return await browser.send("/login", email=email, password=password)


async def test_from_the_sign_up_to_a_key(browser: Browser, mail: MailServer) -> None:
    await browser.open("/login")
    await browser.open(next(one for one in browser.forms.links if one == "/sign-up"))
    assert (await browser.send("/sign-up", name="New", email="new@example.com")).status_code == 200
    address = await link(mail, "new@example.com")
    for _ in range(2):  # Programs that look at links use up none.
        assert (await browser.open(address)).status_code == 200
    assert (await browser.send("/activate", password="short")).status_code == 400
    await browser.send("/activate", password=CHOSEN)
    assert (browser.path, browser.page.status_code) == ("/account", 200)
    assert "new@example.com" in browser.page.text
    made = await browser.send("/api-keys", name="laptop")
    key = re.search(r"mp_[A-Za-z0-9_-]+", made.text)
    assert key is not None
    asked = await browser.http.get("/v1/capsules", headers={"X-API-Key": key[0]})
    assert (asked.status_code, asked.json()) == (200, [])
    await browser.open("/account")
    await browser.send("/logout")
    assert (browser.path, browser.cookie()) == ("/login", None)
    assert (await sign_in(browser, "new@example.com", CHOSEN)).url.path == "/account"
    assert (await browser.open(address)).status_code == 200
    assert (await browser.send("/activate", password=CHOSEN)).status_code == 400


async def test_who_signs_somebody_else_up_gets_nothing(browser: Browser, browsers: Browsers, mail: MailServer) -> None:
    wanted = {"email": "victim@example.com", "password": "the attacker's own", "name": "Victim"}
    assert (await browsers().http.post("/v1/auth/signup", json=wanted)).status_code == 201
    await browser.open(await link(mail, "victim@example.com"))
    await browser.send("/activate", password=CHOSEN)
    assert browser.path == "/account"
    assert (await sign_in(browsers(), "victim@example.com", "the attacker's own")).status_code == 401


async def test_a_link_ends(browser: Browser, mail: MailServer, clock: MovableClock) -> None:
    await browser.open("/sign-up")
    await browser.send("/sign-up", name="Late", email="late@example.com")
    await browser.open(await link(mail, "late@example.com"))
    clock.ahead += ACTIVATION_LIFETIME
    assert (await browser.send("/activate", password=CHOSEN)).status_code == 400
    assert "not good any more" in browser.page.text
    for path in ("/activate", "/reset-password"):
        assert (await browser.open(path)).status_code == 400


async def test_a_forgotten_password(
    browser: Browser, browsers: Browsers, mail: MailServer, new_user: NewUser, clock: MovableClock
) -> None:
    email, other = await new_user(), browsers()
    await sign_in(other, email)
    told = []
    for address in ("nobody@example.com", email):
        await browser.open("/forgot-password")
        told.append((await browser.send("/forgot-password", email=address)).text.replace(address, "ADDRESS"))
    assert told[0] == told[1]
    await browser.open(await link(mail, email))
    assert (await browser.send("/reset-password", password=CHOSEN, again="something else")).status_code == 400
    assert (await browser.send("/reset-password", password=CHOSEN, again=CHOSEN)).status_code == 200
    await other.open("/account")
    assert other.path == "/login"  # Every session has ended.
    assert (await sign_in(other, email)).status_code == 401
    assert (await sign_in(other, email, CHOSEN)).url.path == "/account"
    await browser.open("/forgot-password")
    await browser.send("/forgot-password", email=email)
    await browser.open(await link(mail, email))
    clock.ahead += RESET_LIFETIME
    assert (await browser.send("/reset-password", password=PASSWORD, again=PASSWORD)).status_code == 400


async def test_an_invitation(browser: Browser, mail: MailServer, new_user: NewUser, core: Core) -> None:
    host = await core.access.local_principal()
    email = await new_user("guest")
    await core.community.invitations.create(host, email)
    assert urlsplit(await link(mail, email)).path == "/login"
    await sign_in(browser, email)
    answers = [action for action in browser.forms.by_action if action.startswith("/invitations/")]
    assert [action.rpartition("/")[2] for action in answers] == ["accept", "decline"]
    await browser.send(answers[0])
    assert not [action for action in browser.forms.by_action if action.startswith("/invitations/")]
    before = browser.cookie()
    await browser.send("/account/team", team=host.team_id)
    assert browser.cookie() not in (None, before)
    assert host.user_id in {member.user.id for member in await core.access.members(host)}
    assert email in {member.user.email for member in await core.access.members(host)}


async def test_pages_of_others_send_no_forms(browser: Browser, new_user: NewUser) -> None:
    email = await new_user()
    form = {"email": email, "password": PASSWORD}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site"},
    ):
        assert (await browser.post("/login", form, **headers)).status_code == 403
        assert browser.cookie() is None
    await sign_in(browser, email)
    forms = browser.forms.by_action
    for action in (
        "/logout",
        "/api-keys",
        "/account/team",
        "/account/logins/github/connect",
        "/invitations/some/accept",
    ):
        for csrf in ("", "wrong"):
            assert (await browser.post(action, {"csrf": csrf})).status_code == 403
        assert (await browser.post(action, forms["/logout"].fields, Origin="https://evil.example")).status_code == 403
    assert (await browser.open("/account")).status_code == 200


async def test_no_page_of_others_signs_anybody_in_by_the_api(browser: Browser, new_user: NewUser) -> None:
    """A form can send text that is JSON, and the browser keeps the cookies of the answer."""
    text = f'{{"email": "{await new_user()}", "password": "{PASSWORD}", "x": "="}}'
    headers = {"Content-Type": "text/plain", "Origin": "https://evil.example"}
    answer = await browser.http.post("/v1/auth/login", content=text, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    answer = await browser.http.post("/v1/auth/activate", content='{"token": "x"}', headers=headers)
    assert answer.status_code == 403
    answer = await browser.http.post("/v1/auth/login", content=text, headers={**headers, "Origin": browser.url})
    assert answer.status_code == 200


async def test_a_session_is_not_taken_up(browser: Browser, browsers: Browsers, new_user: NewUser) -> None:
    attacker = browsers()
    await sign_in(attacker, await new_user())
    planted = attacker.cookie()
    assert planted is not None
    email = await new_user()
    browser.http.cookies.set("wrenn_sid", "planted", domain="127.0.0.1", path="/")
    await sign_in(browser, email)
    assert browser.cookie() not in ("planted", planted)
    assert email in browser.page.text


async def test_guessing_slows_down(browser: Browser, new_user: NewUser) -> None:
    email = await new_user()
    for number in range(OF_ACCOUNT):
        assert (await sign_in(browser, email, f"guess {number}")).status_code == 401
    assert (await sign_in(browser, email)).status_code == 429
    assert int(browser.page.headers["retry-after"]) >= 1


async def test_what_is_typed_is_no_markup(browser: Browser) -> None:
    nasty = '"><script>alert(1)</script>@example.com'
    await browser.open("/login")
    await browser.send("/login", email=nasty, password="x")
    assert "<script" not in browser.page.text
    await browser.open(f"/activate?token={nasty}")
    assert "script" not in browser.forms.tags
    assert browser.forms.by_action["/activate"].fields["token"] == nasty


async def test_a_page_is_kept_to_itself(browser: Browser) -> None:
    for path in ("/login", "/sign-up", "/forgot-password", "/activate?token=t", "/reset-password?token=t", "/login/x"):
        headers = (await browser.open(path)).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
        assert (policy["default-src"], policy["frame-ancestors"], policy["base-uri"]) == ("'none'",) * 3
        assert "script-src" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "strict-origin"  # The address has a token.
        assert browser.forms.tags.isdisjoint({"script", "img", "iframe", "link"})
        assert all(one.startswith("/") and not one.startswith("//") for one in browser.forms.links)


@pytest.mark.parametrize("body", [b"\xff=\xfe", b"&".join(b"a=1" for _ in range(100)), b"a" * 20_000])
async def test_what_is_no_form(browser: Browser, body: bytes) -> None:
    headers = {"Origin": browser.url, "Content-Type": "application/x-www-form-urlencoded"}
    assert (await browser.http.post("/login", content=body, headers=headers)).status_code in (400, 401, 413)
    assert (await browser.http.post("/login", json={}, headers={"Origin": browser.url})).status_code == 400
    assert (await browser.http.put("/login")).status_code == 405


async def test_a_login_by_a_provider(browser: Browser, provider: Provider) -> None:
    provider.person = Person(id=77, email="p77@example.com")
    await browser.open("/login")
    begun = await browser.http.get(next(one for one in browser.forms.links if "oauth" in one), follow_redirects=False)
    async with httpx.AsyncClient(trust_env=False) as http:
        back = urlsplit((await http.get(begun.headers["location"])).headers["location"])
    ended = await browser.http.get(f"{back.path}?{back.query}", follow_redirects=False)
    assert (await browser.open(ended.headers["location"])).status_code == 200
    await browser.open(browser.forms.links[0])
    assert (browser.path, "p77@example.com" in browser.page.text) == ("/account", True)
    refused = await browser.http.get(f"{back.path}?{back.query}", follow_redirects=False)
    assert parse_qs(urlsplit(refused.headers["location"]).query)["error"] == ["invalid_state"]
    assert (await browser.open(refused.headers["location"])).status_code == 401
    assert (await browser.open("/auth/gitlab/callback")).status_code == 404


async def test_a_login_is_connected_to_an_account_that_is_there(
    browser: Browser, browsers: Browsers, provider: Provider, new_user: NewUser
) -> None:
    owner = await new_user()
    provider.person = Person(id=78, email=owner)
    await sign_in(browser, owner)
    told = await browser.send("/account/logins/github/connect")
    (onwards,) = browser.forms.links
    assert (told.status_code, onwards.startswith(provider.url)) == (200, True)
    assert await by_provider(browser, onwards) == 200
    await browser.open("/account")
    assert "/account/logins/github/disconnect" in browser.forms.by_action
    other = browsers()
    await other.open("/login")
    begun = await other.http.get(next(one for one in other.forms.links if "oauth" in one), follow_redirects=False)
    assert await by_provider(other, begun.headers["location"]) == 200
    await other.open("/account")
    assert owner in other.page.text
    await browser.send("/account/logins/github/disconnect")
    assert (browser.path, "/account/logins/github/connect" in browser.forms.by_action) == ("/account", True)
    begun = await other.http.get("/auth/oauth/github", follow_redirects=False)
    assert await by_provider(other, begun.headers["location"]) == 401  # An account of that address is there.


async def by_provider(browser: Browser, url: str) -> int:
    """The status of the page on which a login at the provider ends."""
    async with httpx.AsyncClient(trust_env=False) as http:
        back = urlsplit((await http.get(url)).headers["location"])
    ended = await browser.http.get(f"{back.path}?{back.query}", follow_redirects=False)
    return (await browser.open(ended.headers["location"])).status_code


async def test_logins_that_cannot_be_connected(browser: Browser, new_user: NewUser, provider: Provider) -> None:
    await sign_in(browser, await new_user())
    csrf = browser.forms.by_action["/logout"].fields["csrf"]
    assert (await browser.post("/account/logins/gitlab/connect", {"csrf": csrf})).status_code == 404
    assert (await browser.post("/account/logins/github/disconnect", {"csrf": csrf})).status_code == 404
    assert (await browser.post("/account/logins/github/connect", {"csrf": "x"})).status_code == 403
    evil = await browser.post("/account/logins/github/connect", {"csrf": csrf}, Origin="https://evil.example")
    assert (evil.status_code, "wrenn_oauth" in browser.http.cookies) == (403, False)


async def test_nobody_sees_an_account(browser: Browser) -> None:
    for path in ("/account",):
        await browser.open(path)
        assert browser.path == "/login"
    for action in ("/logout", "/api-keys", "/account/team", "/invitations/some/decline"):
        await browser.post(action, {"csrf": "x"})
        assert browser.path == "/login"
