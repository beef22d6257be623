"""A server with its own pages, a mail server and a login provider; and browsers that fill in forms."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr

from moonpool.config import Settings
from tests.contract.wrenn.conftest import KEY, each, machines, url
from tests.contract.wrenn.people import mail as mails
from tests.contract.wrenn.people.conftest import clock, core, mail, new_user, provider
from tests.contract.wrenn.people.mail import MailServer
from tests.contract.wrenn.people.provider import CLIENT, SECRET, Provider
from tests.receivers import LOOPBACK_NETWORK

__all__ = ["clock", "core", "machines", "mail", "new_user", "provider", "url"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, mail: MailServer, provider: Provider) -> Settings:
    return Settings(
        data=tmp_path_factory.mktemp("data"),
        api_key=SecretStr(KEY),
        on_exit="keep",
        sign_up="open",
        smtp_host="127.0.0.1",
        smtp_port=mail.port,
        smtp_security="none",
        smtp_username=mails.USER,
        smtp_password=SecretStr(mails.PASSWORD),
        smtp_from="moonpool@example.com",
        oauth_github_client_id=CLIENT,
        oauth_github_client_secret=SecretStr(SECRET),
        oauth_github_url=provider.url,
        oauth_github_api=f"{provider.url}/api",
        webhook_networks=LOOPBACK_NETWORK,
    )


@dataclass
class Form:
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    boxes: dict[str, str] = field(default_factory=dict)


class Forms(HTMLParser):
    """The forms of a page, by where they lead, with the boxes that can be ticked; ``tags`` are all that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.by_action: dict[str, Form] = {}
        self.tags: set[str] = set()
        self.links: list[str] = []
        self._open: Form | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.tags.add(tag)
        if tag == "form":
            self._open = self.by_action[given["action"]] = Form(given["method"])
        elif tag == "input" and self._open is not None:
            if given.get("type") != "checkbox":
                self._open.fields[given["name"]] = given.get("value", "")
            else:
                self._open.boxes[given["name"]] = "on" if "checked" in given else ""
        elif tag == "a":
            self.links.append(given["href"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


@dataclass
class Browser:
    """Stays where the last answer left it; goes after redirects of this server itself."""

    url: str
    http: httpx.AsyncClient
    at: httpx.Response | None = None

    @property
    def page(self) -> httpx.Response:
        assert self.at is not None
        return self.at

    @property
    def path(self) -> str:
        return self.page.url.path

    @property
    def forms(self) -> Forms:
        return Forms(self.page.text)

    async def open(self, address: str) -> httpx.Response:
        """A link of a mail may name another host: this server is at ``url`` here."""
        parts = urlsplit(address)
        self.at = await self.http.get(f"{parts.path}?{parts.query}" if parts.query else parts.path)
        return self.at

    async def send(self, action: str, **values: str) -> httpx.Response:
        """The form of this page that leads to ``action``, filled in; every name must be one of its fields."""
        form = self.forms.by_action[action]
        checked = {name: value for name, value in form.boxes.items() if value}
        assert (form.method, set(values) - set(form.fields) - set(form.boxes)) == ("post", set())
        return await self.post(action, {**form.fields, **checked, **values})

    async def post(self, action: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        sent = {"Origin": self.url, **{name.replace("_", "-"): value for name, value in headers.items()}}
        self.at = await self.http.post(
            action, data=fields, headers={name: value for name, value in sent.items() if value}
        )
        return self.at

    def cookie(self, name: str = "wrenn_sid") -> str | None:
        found: str | None = self.http.cookies.get(name)
        return found


Browsers = Callable[[], Browser]


@each
async def browsers(url: str) -> AsyncIterator[Browsers]:
    async with AsyncExitStack() as stack:
        opened: list[httpx.AsyncClient] = []

        def open_one() -> Browser:
            http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, follow_redirects=True)
            opened.append(http)
            stack.push_async_callback(http.aclose)
            return Browser(url, http)

        yield open_one


@each
async def browser(browsers: Browsers) -> Any:
    return browsers()
