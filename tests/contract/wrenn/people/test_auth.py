"""Getting in and out by Wrenn's API, and everybody who tries to without being asked."""

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
import websockets

from moonpool.access.attempts import OF_ACCOUNT
from moonpool.access.people import ACTIVATION_LIFETIME, RESET_LIFETIME, SESSION_IDLE
from tests.contract.wrenn.conftest import KEY
from tests.contract.wrenn.people.conftest import PASSWORD, Browser, MovableClock, NewUser, SignIn
from tests.contract.wrenn.people.mail import MailServer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def in_its_time(clock: MovableClock) -> Any:
    yield
    clock.ahead += timedelta(hours=2)  # What was tried here is forgotten.


def wanted(email: str, **changes: str) -> dict[str, str]:
    return {"email": email, "password": PASSWORD, "name": "New", **changes}


async def test_from_the_sign_up_to_the_end_of_a_session(browser: Browser, mail: MailServer) -> None:
    await browser.call("signup", 201, json=wanted("new@example.com"))
    token = await mail.token("new@example.com")
    told = await browser.call("activate", 200, json={"token": token})
    assert (told["email"], told["name"], told["role"], told["is_admin"]) == ("new@example.com", "New", "owner", False)
    me = await browser.call("getMe", 200)
    assert me == {"name": "New", "email": "new@example.com", "has_password": True, "providers": []}
    assert await browser.call("listCapsules", 200) == []
    await browser.call("logout", 204)
    assert browser.http.cookies.get("wrenn_sid") is None
    assert (await browser.call("getMe", 401))["code"] == "unauthorized"
    assert (await browser.call("activate", 400, json={"token": token}))["code"] == "invalid_request"
    assert (await browser.call("signup", 409, json=wanted("new@example.com")))["code"] == "conflict"


async def test_an_activation_link_ends(browser: Browser, mail: MailServer, clock: MovableClock) -> None:
    await browser.call("signup", 201, json=wanted("late@example.com"))
    assert (await browser.call("signup", 409, json=wanted("late@example.com")))["code"] == "conflict"
    token = await mail.token("late@example.com")
    clock.ahead += ACTIVATION_LIFETIME
    assert (await browser.call("activate", 400, json={"token": token}))["code"] == "invalid_request"
    assert (await browser.call("login", 401, json=wanted("late@example.com")))["code"] == "unauthorized"


async def test_a_mail_server_that_refuses(browser: Browser, mail: MailServer) -> None:
    mail.refusing = True
    assert (await browser.call("signup", 503, json=wanted("later@example.com")))["code"] == "mail_failed"
    mail.refusing = False
    await browser.call("signup", 201, json=wanted("later@example.com"))
    await mail.token("later@example.com")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "no address", "password": PASSWORD, "name": "x"},
        {"email": "a@example.com", "password": "short", "name": "x"},
        {"email": "a@example.com", "password": PASSWORD, "name": ""},
        {"email": "a@example.com", "password": PASSWORD, "name": "x" * 101},
        {"email": "a@example.com\nBcc: b@example.com", "password": PASSWORD, "name": "x"},
        {"email": ["a@example.com"], "password": PASSWORD, "name": "x"},
        {"email": "a@example.com", "password": PASSWORD, "name": "x\u0000"},
    ],
)
async def test_nonsense_signs_nobody_up(browser: Browser, body: Any) -> None:
    assert (await browser.call("signup", 400, json=body))["code"] == "invalid_request"


async def test_strangers_send_little(browser: Browser) -> None:
    """A thousand of them at once have to fit into memory."""
    body = {"email": "a@example.com", "token": "x", "name": "x", "new_password": PASSWORD, "password": "x" * 20_000}
    for operation in ("signup", "activate", "login", "requestPasswordReset", "confirmPasswordReset"):
        assert (await browser.ask(operation, json=body)).status_code == 413


async def test_cookies_are_as_the_document_says(browser: Browser, new_user: NewUser) -> None:
    answer = await browser.ask("login", json={"email": await new_user(), "password": PASSWORD})
    assert answer.headers["cache-control"] == "no-store"
    flags = {line.partition("=")[0]: line.lower() for line in answer.headers.get_list("set-cookie")}
    assert set(flags) == {"wrenn_sid", "wrenn_csrf"}
    for line in flags.values():
        assert "samesite=strict" in line
        assert "path=/" in line
        assert "domain=" not in line
        assert "secure" not in line  # This server speaks plain HTTP.
    assert "httponly" in flags["wrenn_sid"]
    assert "httponly" not in flags["wrenn_csrf"]
    behind_tls = await browser.ask(
        "login", json={"email": await new_user(), "password": PASSWORD}, headers={"X-Forwarded-Proto": "https"}
    )
    assert all("; secure" in line.lower() for line in behind_tls.headers.get_list("set-cookie"))


async def test_no_account_is_told_from_a_wrong_password(browser: Browser, new_user: NewUser) -> None:
    told = [
        await browser.call("login", 401, json={"email": email, "password": "a wrong one"})
        for email in (await new_user(), "nobody@example.com", "admin@localhost", "no address", "")
    ]
    assert all(one == told[0] for one in told)
    assert told[0]["code"] == "unauthorized"
    assert browser.http.cookies.get("wrenn_sid") is None


async def test_guessing_slows_down(browser: Browser, new_user: NewUser) -> None:
    email = await new_user()
    for number in range(OF_ACCOUNT):
        await browser.call("login", 401, json={"email": email, "password": f"guess {number}"})
    answer = await browser.ask("login", json={"email": email, "password": PASSWORD})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    for number in range(OF_ACCOUNT):  # An account that is none is slowed down alike.
        await browser.call("login", 401, json={"email": "nobody@example.org", "password": f"guess {number}"})
    await browser.call("login", 429, json={"email": "nobody@example.org", "password": PASSWORD})


async def test_a_planted_session_is_not_taken_up(browser: Browser, new_user: NewUser, sign_in: SignIn) -> None:
    planted = await sign_in("attacker")
    for value in ("planted-by-somebody", planted.browser.http.cookies["wrenn_sid"]):
        browser.http.cookies.clear()
        browser.http.cookies.set("wrenn_sid", value, domain="127.0.0.1", path="/")
        email = await new_user()
        await browser.login(email)
        assert browser.http.cookies["wrenn_sid"] != value
        assert (await browser.call("getMe", 200))["email"] == email
    assert (await planted.browser.call("getMe", 200))["email"] == planted.email


async def test_changes_take_the_csrf_token(sign_in: SignIn) -> None:
    one, other = await sign_in(), await sign_in()
    browser = one.browser
    for header in ("", "wrong", other.browser.http.cookies["wrenn_csrf"]):
        answer = await browser.ask("updateName", json={"name": "Mallory"}, headers={"X-CSRF-Token": header})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    # Neither does it to plant both, the cookie and the header.
    browser.http.cookies.set("wrenn_csrf", "planted", domain="127.0.0.1", path="/")
    answer = await browser.ask("updateName", json={"name": "Mallory"}, headers={"X-CSRF-Token": "planted"})
    assert answer.status_code == 403
    assert (await browser.call("getMe", 200))["name"] == "user"
    # Operations that take a key, too, take the token of a session without one.
    assert (await browser.ask("createCapsule", json={}, headers={"X-CSRF-Token": ""})).status_code == 403


async def test_a_session_uses_capsules(sign_in: SignIn) -> None:
    one, other = await sign_in(), await sign_in()
    capsule = {"id": await one.browser.capsule()}
    ran = await one.browser.call("execCommand", 200, capsule, json={"cmd": "echo", "args": ["hi"]})
    assert ran["stdout"] == "hi\n"
    assert (await other.browser.call("getCapsule", 404, capsule))["code"] == "not_found"
    assert await other.browser.call("listCapsules", 200) == []
    await one.browser.call("destroyCapsule", 202, capsule)


async def test_pages_of_others_open_no_sockets(sign_in: SignIn) -> None:
    person = await sign_in()
    capsule = await person.browser.capsule()
    address = f"{person.browser.url.replace('http', 'ws', 1)}/v1/capsules/{capsule}/pty"
    headers = {"Cookie": f"wrenn_sid={person.browser.http.cookies['wrenn_sid']}"}
    for origin in (f"http://8080-{capsule}.localhost", "https://evil.example", "null"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(address, additional_headers={**headers, "Origin": origin}, proxy=None)
        assert refused.value.response.status_code == 403
    own = {**headers, "Origin": person.browser.url}
    async with websockets.connect(address, additional_headers=own, proxy=None):
        pass
    await person.browser.call("destroyCapsule", 202, {"id": capsule})


async def test_an_idle_session_ends(sign_in: SignIn, clock: MovableClock) -> None:
    person = await sign_in()
    clock.ahead += SESSION_IDLE
    assert (await person.browser.call("getMe", 401))["code"] == "unauthorized"
    await person.browser.call("listCapsules", 401)


async def test_a_key_is_no_session(api: Any, sign_in: SignIn) -> None:
    assert (await api.call("getMe", 401))["code"] == "unauthorized"
    person = await sign_in()
    # A key that is sent counts, and a wrong one is not made good by a cookie.
    wrong = await person.browser.http.get("/v1/capsules", headers={"X-API-Key": "mp_wrong"})
    assert wrong.status_code == 401
    right = await person.browser.http.post("/v1/auth/logout", headers={"X-API-Key": KEY})
    assert right.status_code == 403  # It is the session's operation, and the CSRF token is missing.


async def test_sessions_are_listed_and_ended_each_by_itself(browser: Browser, sign_in: SignIn) -> None:
    person = await sign_in()
    await browser.login(person.email)
    listed = (await browser.call("listSessions", 200))["sessions"]
    assert [one["current"] for one in listed].count(True) == 1
    other = next(one for one in listed if not one["current"])
    assert other["ip_address"] == "127.0.0.1"
    assert "httpx" in other["user_agent"]
    stranger = await sign_in()
    assert (await stranger.browser.call("revokeSession", 404, {"id": other["id"]}))["code"] == "not_found"
    await browser.call("revokeSession", 204, {"id": other["id"]})
    await person.browser.call("getMe", 401)
    await person.browser.login(person.email)
    await browser.call("logoutAll", 204)
    await person.browser.call("getMe", 401)


async def test_another_team(sign_in: SignIn) -> None:
    person, stranger = await sign_in(), await sign_in()
    browser = person.browser
    made = await browser.call("createTeam", 201, json={"name": "Second team"})
    before = browser.http.cookies["wrenn_sid"]
    told = await browser.call("switchTeam", 200, json={"team_id": made["id"]})
    assert (told["team_id"], told["role"]) == (made["id"], "owner")
    after = browser.http.cookies["wrenn_sid"]
    assert after != before
    async with httpx.AsyncClient(base_url=browser.url, trust_env=False, cookies={"wrenn_sid": before}) as old:
        assert (await old.get("/v1/me")).status_code == 401
    for team_id in (stranger.team["id"], "team-none", ""):
        assert (await browser.call("switchTeam", 404, json={"team_id": team_id}))["code"] == "not_found"


class TestPasswords:
    async def test_a_change_ends_other_sessions(self, browser: Browser, sign_in: SignIn) -> None:
        person = await sign_in()
        await browser.login(person.email)
        change = {"current_password": PASSWORD, "new_password": "another password"}
        wrong = await browser.call("changePassword", 401, json={**change, "current_password": "wrong"})
        assert wrong["code"] == "unauthorized"
        await browser.call("changePassword", 400, json={**change, "new_password": "short"})
        await browser.call("changePassword", 400, json={**change, "confirm_password": "anotter password"})
        await browser.call("changePassword", 204, json=change)
        await browser.call("getMe", 200)
        await person.browser.call("getMe", 401)
        await person.browser.login(person.email, "another password")

    async def test_a_mailed_link_sets_a_new_one(
        self, browser: Browser, sign_in: SignIn, mail: MailServer, clock: MovableClock
    ) -> None:
        person = await sign_in()
        await browser.call("requestPasswordReset", 204, json={"email": "nobody@example.com"})
        await browser.call("requestPasswordReset", 204, json={"email": person.email.upper()})
        token = await mail.token(person.email)
        late = {"token": token, "new_password": "another password"}
        await browser.call("confirmPasswordReset", 400, json={**late, "new_password": "short"})
        await browser.call("confirmPasswordReset", 204, json=late)
        await person.browser.call("getMe", 401)
        assert (await browser.call("confirmPasswordReset", 400, json=late))["code"] == "invalid_request"
        await browser.login(person.email, "another password")
        await browser.call("requestPasswordReset", 204, json={"email": person.email})
        token = await mail.token(person.email)
        clock.ahead += RESET_LIFETIME
        await browser.call("confirmPasswordReset", 400, json={**late, "token": token})

    async def test_links_lead_where_the_operator_says(
        self, browser: Browser, new_user: NewUser, mail: MailServer
    ) -> None:
        email = await new_user()
        headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
        await browser.call("requestPasswordReset", 204, json={"email": email}, headers=headers)
        _, message = await mail.mails.get()
        hosts = re.findall(r"https?://([a-z.]+[a-z])", message.get_content())
        assert set(hosts) == {"console.example"}


async def test_the_profile(sign_in: SignIn) -> None:
    person = await sign_in()
    await person.browser.call("updateName", 204, json={"name": "Somebody"})
    assert (await person.browser.call("getMe", 200))["name"] == "Somebody"
    for name in ("", "x" * 101, "a\nb"):
        assert (await person.browser.call("updateName", 400, json={"name": name}))["code"] == "invalid_request"


async def test_an_account_ends(browser: Browser, sign_in: SignIn) -> None:
    person = await sign_in()
    key = (await person.browser.call("createAPIKey", 201, json={}))["key"]
    wrong = await person.browser.call("deleteAccount", 400, json={"confirmation": "other@example.com"})
    assert wrong["code"] == "invalid_request"
    await person.browser.call("deleteAccount", 204, json={"confirmation": person.email.upper()})
    await person.browser.call("getMe", 401)
    await browser.call("login", 401, json={"email": person.email, "password": PASSWORD})
    assert (await browser.http.get("/v1/capsules", headers={"X-API-Key": key})).status_code == 401
