"""The same server with everything that people need: mail, providers of logins, and browsers."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr

from moonpool.access.passwords import Passwords
from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.store.database import Store
from tests.contract.documents import WRENN
from tests.contract.record import listening
from tests.contract.wrenn.conftest import KEY, OPERATIONS, Api, ProcessMachines, conforming, each, shared
from tests.contract.wrenn.people import mail as mails
from tests.contract.wrenn.people.mail import MailServer, mail_server
from tests.contract.wrenn.people.provider import CLIENT, SECRET, Provider, provider_server

WEB = "https://console.example"
PASSWORD = "correct horse battery"


class MovableClock(SystemClock):
    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()


@dataclass
class Browser(Api):
    """Keeps cookies, and sends the CSRF token as the page would."""

    async def call(self, operation: str, status: int, path: Mapping[str, str] | None = None, **request: Any) -> Any:
        answer = await self.ask(operation, path, **request)
        assert answer.status_code == status, answer.text
        return conforming(operation, answer)

    async def ask(self, operation: str, path: Mapping[str, str] | None = None, **request: Any) -> httpx.Response:
        method, template = OPERATIONS[operation]
        headers = {"X-CSRF-Token": self.http.cookies.get("wrenn_csrf", "")} | request.pop("headers", {})
        return await self.http.request(method, template.format(**(path or {})), headers=headers, **request)

    async def login(self, email: str, password: str = PASSWORD) -> Any:
        return await self.call("login", 200, json={"email": email, "password": password})


@shared
async def mail() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@shared
async def provider() -> AsyncIterator[Provider]:
    async with provider_server() as server:
        yield server


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, mail: MailServer, provider: Provider) -> Settings:
    return Settings(
        data=tmp_path_factory.mktemp("data"),
        api_key=SecretStr(KEY),
        on_exit="keep",
        sign_up="open",
        web_url=WEB,
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
        oauth_oidc_issuer=provider.url,
        oauth_oidc_client_id=CLIENT,
        oauth_oidc_client_secret=SecretStr(SECRET),
    )


@pytest.fixture(scope="module")
def clock() -> MovableClock:  # type: ignore[override]
    return MovableClock()


@shared
async def core(settings: Settings, machines: ProcessMachines, clock: MovableClock) -> AsyncIterator[Core]:
    async with AsyncExitStack() as stack:
        store = await Store.open(settings.database)
        stack.push_async_callback(store.close)
        quick = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        core = Core(settings, store, machines, clock, quick)
        stack.push_async_callback(core.stop)
        await core.start()
        yield core


@each
async def browsers(url: str) -> AsyncIterator[Callable[[], Browser]]:
    async with AsyncExitStack() as stack:
        opened: list[httpx.AsyncClient] = []

        def open_one() -> Browser:
            http = httpx.AsyncClient(
                base_url=url, trust_env=False, verify=False, timeout=60, event_hooks=listening(WRENN)
            )
            opened.append(http)
            stack.push_async_callback(http.aclose)
            return Browser(url, http)

        yield open_one


@each
async def browser(browsers: Callable[[], Browser]) -> Browser:
    """In which nobody has signed in."""
    return browsers()


NewUser = Callable[..., Awaitable[str]]


@each
async def new_user(core: Core) -> NewUser:
    """Makes an account as the operator does: its address."""

    async def make(name: str = "user", *, admin: bool = False) -> str:
        email = f"{name}-{secrets.token_hex(4)}@example.com"
        operator = await core.access.local_principal()
        await core.community.administration.create_user(operator, email, name, PASSWORD, platform_admin=admin)
        return email

    return make


@dataclass
class Person:
    browser: Browser
    email: str
    told: Mapping[str, Any]  # the answer to the login

    @property
    def id(self) -> str:
        return str(self.told["user_id"])

    @property
    def team(self) -> dict[str, str]:
        """The path of the team that the login began in."""
        return {"id": str(self.told["team_id"])}


SignIn = Callable[..., Awaitable[Person]]


@each
async def sign_in(browsers: Callable[[], Browser], new_user: NewUser) -> SignIn:
    """A new person, signed in with a browser of their own."""

    async def make(name: str = "user", *, admin: bool = False) -> Person:
        email, browser = await new_user(name, admin=admin), browsers()
        return Person(browser, email, await browser.login(email))

    return make
