"""A team's webhooks in a browser: opened by a link of the API, used as an admin does, and as others try to."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from moonpool.access.model import Scope
from moonpool.app import Core
from moonpool.deliveries.portal import LINK_LIFETIME, VISIT_LIFETIME
from tests.contract.wrenn.conftest import KEY, each
from tests.contract.wrenn.people.conftest import MovableClock, NewUser
from tests.receivers import HttpReceiver, http_receiver
from tests.web.conftest import Browser, Browsers
from tests.web.test_pages import sign_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")
COOKIE = "moonpool_webhooks"


@each
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as receiver:
        yield receiver


async def asked(browser: Browser, key: str = KEY) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    (organization,) = (await browser.http.get("/api/organizations", headers=headers)).json()
    path = f"/api/webhooks/organizations/{organization['id']}/app-portal-access"
    return await browser.http.post(path, headers=headers)


async def link(browser: Browser, key: str = KEY) -> str:
    answer = await asked(browser, key)
    assert answer.status_code == 200, answer.text
    address: str = answer.json()["url"]
    return address


async def enter(browser: Browser, key: str = KEY) -> str:
    """The secret of the visit."""
    await browser.open(await link(browser, key))
    await browser.send("/webhook-portal/enter")
    assert (browser.path, browser.page.status_code) == ("/webhook-portal", 200)
    secret = browser.cookie(COOKIE)
    assert secret is not None
    return secret


async def add(browser: Browser, url: str, **events: str) -> str:
    """The endpoint's path, and its page is open."""
    made = await browser.send("/webhook-portal/endpoints", url=url, description="<ours>", **events)
    assert made.status_code == 200
    assert SECRET.search(made.text)
    path = browser.forms.links[0]
    await browser.open(path)
    assert "&lt;ours&gt;" in browser.page.text
    return path


def deliveries(browser: Browser) -> list[str]:
    return [one for one in browser.forms.links if "/deliveries/" in one]


async def test_from_the_api_to_a_replay(browser: Browser, receiver: HttpReceiver) -> None:
    address = await link(browser)
    for _ in range(2):  # Programs that look at links use up none.
        assert (await browser.open(address)).status_code == 200
    await browser.send("/webhook-portal/enter")
    path = await add(browser, receiver.url)
    made = await browser.http.post("/api/volumes", json={"name": "told-of"}, headers={"X-API-Key": KEY})
    assert made.status_code == 200, made.text
    first = (await receiver.wait(2))[0]  # What happens to one volume comes in order: this one's arrival is noted.
    assert '"volume.created"' in first.body
    await browser.send(f"{path}/test")
    assert "it answered 200" in browser.page.text
    await browser.open(f"{path}?state=delivered")
    oldest = deliveries(browser)[-1]
    await browser.open(oldest)
    assert ("told-of" in browser.page.text, ": 200" in browser.page.text) == (True, True)
    await browser.send(f"{oldest}/replay")
    count = 2
    while [one.headers["webhook-id"] for one in receiver.got].count(first.headers["webhook-id"]) < 2:
        count = len(await receiver.wait(count)) + 1
    assert (await browser.open(f"{path}?state=none-of-them")).status_code == 400
    assert (await browser.open(f"{path}?cursor=nonsense")).status_code == 400
    assert (await browser.open(f"{path}/deliveries/999999")).status_code == 404


async def test_an_endpoint_is_changed_and_removed(browser: Browser, receiver: HttpReceiver) -> None:
    await enter(browser)
    refused = await browser.send("/webhook-portal/endpoints", url="https://169.254.169.254/", description="kept")
    assert (refused.status_code, browser.forms.by_action["/webhook-portal/endpoints"].fields["description"]) == (
        400,
        "kept",
    )
    path = await add(browser, receiver.url)
    await browser.send(f"{path}/change", description="theirs", **{"event:sandbox.created": "on"})
    assert "theirs" in browser.page.text
    change = browser.forms.by_action[f"{path}/change"]
    assert [name for name, value in change.boxes.items() if value] == ["event:sandbox.created"]
    assert (await browser.send(f"{path}/change", url="https://10.0.0.1/")).status_code == 400
    assert receiver.url in browser.page.text
    await browser.send(f"{path}/enable")
    assert "is disabled" in browser.page.text
    await browser.send(f"{path}/enable")
    assert "is disabled" not in browser.page.text
    assert SECRET.search((await browser.send(f"{path}/rotate-secret")).text)
    await browser.open(path)
    assert not SECRET.search(browser.page.text)
    receiver.status = 500
    await browser.send(f"{path}/test")
    assert ('class="error"' in browser.page.text, "500" in browser.page.text) == (True, True)
    await browser.send(f"{path}/remove")
    assert (browser.path, path in browser.page.text) == ("/webhook-portal", False)
    assert (await browser.open(path)).status_code == 404
    await browser.open("/webhook-portal")
    await browser.send("/webhook-portal/leave")
    assert browser.cookie(COOKIE) is None
    assert (await browser.open("/webhook-portal")).status_code == 401


async def test_a_link_opens_once_and_everything_ends(browser: Browser, core: Core, clock: MovableClock) -> None:
    owner = await core.access.local_principal()
    late = await link(browser)
    clock.ahead += LINK_LIFETIME
    assert (await browser.open(late)).status_code == 401
    await browser.open(await link(browser))
    form = browser.forms.by_action["/webhook-portal/enter"].fields
    assert (await browser.post("/webhook-portal/enter", form)).status_code == 200
    before = browser.cookie(COOKIE)
    assert (await browser.post("/webhook-portal/enter", form)).status_code == 401
    assert before != form["token"]
    browser.http.cookies.set(COOKIE, form["token"], domain="127.0.0.1", path="/webhook-portal")
    assert (await browser.open("/webhook-portal")).status_code == 401
    browser.http.cookies.clear()
    await enter(browser)
    clock.ahead += VISIT_LIFETIME
    assert (await browser.open("/webhook-portal")).status_code == 401
    made = await core.access.create_key(owner, "of the portal", frozenset({Scope.ADMIN}))
    unused = await link(browser, made.secret)
    await enter(browser, made.secret)
    await core.access.revoke_key(owner, made.key.id)
    assert (await browser.open("/webhook-portal")).status_code == 401
    assert (await browser.open(unused)).status_code == 401


async def test_it_opens_nothing_else(browser: Browser, browsers: Browsers, core: Core, new_user: NewUser) -> None:
    """Neither the link nor the visit, nor anything to others."""
    owner = await core.access.local_principal()
    reader = await core.access.create_key(owner, "reading", frozenset({Scope.SANDBOXES_READ, Scope.KEYS_READ}))
    assert (await asked(browser, reader.secret)).status_code == 403
    token = urlsplit(await link(browser)).query.removeprefix("token=")
    visit = await enter(browser)
    for secret in (token, visit):
        for headers in (
            {"Authorization": f"Bearer {secret}"},
            {"X-API-Key": secret},
            {"Cookie": f"wrenn_sid={secret}"},
        ):
            for path in ("/api/sandbox", "/v1/capsules", "/v1/me", "/v1/vms", "/api/volumes"):
                assert (await browser.http.get(path, headers=headers)).status_code == 401
    for path in ("/account", "/v1/me"):
        assert (await browser.open(path)).url.path == "/login" or browser.page.status_code == 401
    path = await add_elsewhere(browsers(), new_user)
    await browser.open("/webhook-portal")
    assert path not in browser.page.text
    assert (await browser.open(path)).status_code == 404
    csrf = (await browser.open("/webhook-portal")) and browser.forms.by_action["/webhook-portal/leave"].fields
    for action in ("change", "enable", "rotate-secret", "test", "remove", "deliveries/1/replay"):
        assert (await browser.post(f"{path}/{action}", csrf)).status_code == 404


async def add_elsewhere(browser: Browser, new_user: NewUser) -> str:
    """An endpoint of another team, made by its owner, who comes from their account."""
    await sign_in(browser, await new_user())
    await browser.send("/account/webhooks")
    assert browser.path == "/webhook-portal"
    async with http_receiver() as receiver:
        return await add(browser, receiver.url)


async def test_members_do_not_manage_webhooks(browser: Browser, new_user: NewUser, core: Core) -> None:
    host, email = await core.access.local_principal(), await new_user("member")
    await sign_in(browser, email)
    invited = await core.community.invitations.create(host, email)
    await browser.open("/account")
    await browser.send(f"/invitations/{invited.invitation.id}/accept")
    await browser.send("/account/team", team=host.team_id)
    assert "/account/webhooks" not in browser.forms.by_action
    csrf = browser.forms.by_action["/logout"].fields
    assert (await browser.post("/account/webhooks", csrf)).status_code == 403


async def test_pages_of_others_change_nothing(browser: Browser, receiver: HttpReceiver) -> None:
    await enter(browser)
    path = await add(browser, receiver.url)
    good = browser.forms.by_action[f"{path}/remove"].fields
    for action in (f"{path}/remove", f"{path}/test", f"{path}/rotate-secret", "/webhook-portal/endpoints"):
        for csrf in ("", "wrong", browser.cookie(COOKIE) or ""):
            assert (await browser.post(action, {"csrf": csrf})).status_code == 403
        assert (await browser.post(action, good, Origin="https://evil.example")).status_code == 403
    await browser.open(path)
    assert browser.page.status_code == 200
    assert receiver.got == []
    policy = browser.page.headers["content-security-policy"]
    assert "script-src" not in policy
    assert browser.forms.tags.isdisjoint({"script", "img", "iframe", "link"})


async def test_the_cookie_goes_nowhere_else(browser: Browser) -> None:
    address = await link(browser)
    await browser.open(address)
    fields: dict[str, Any] = browser.forms.by_action["/webhook-portal/enter"].fields
    answer = await browser.http.post(
        "/webhook-portal/enter", data=fields, headers={"Origin": browser.url}, follow_redirects=False
    )
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/webhook-portal"))
