"""People of several teams over a database, with mail that stays here."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from moonpool.access.accounts import AccountRules
from moonpool.access.community import Community, community
from moonpool.access.mail import Mail
from moonpool.access.model import Principal
from moonpool.access.passwords import Passwords
from moonpool.access.people import Client, SignedIn, User
from moonpool.access.service import AccessService
from moonpool.errors import MailFailed
from moonpool.store.database import Store
from tests.conftest import ManualClock
from tests.databases import open_store

WEB = "https://moonpool.example"
PASSWORD = "correct horse battery"
HERE = Client("192.0.2.7", "a browser")


@dataclass
class Outbox:
    """Stands for the network alone: tests/contract/wrenn has a real mail server."""

    mails: list[Mail] = field(default_factory=list)
    broken: bool = False

    async def send(self, mail: Mail) -> None:
        if self.broken:
            raise MailFailed
        self.mails.append(mail)

    def token(self) -> str:
        """That of the last mail."""
        return self.mails[-1].text.partition("?token=")[2].split()[0]


@dataclass
class World:
    store: Store
    clock: ManualClock
    access: AccessService
    people: Community
    outbox: Outbox
    operator: Principal
    tasks: list[asyncio.Task[None]]

    async def settled(self) -> None:
        """What nobody waits for is done."""
        await asyncio.gather(*self.tasks)
        self.tasks.clear()

    async def user(self, name: str, *, admin: bool = False) -> User:
        return await self.people.administration.create_user(
            self.operator, f"{name}@example.com", name, PASSWORD, platform_admin=admin
        )

    async def login(self, user: User) -> SignedIn:
        return await self.people.accounts.login(user.email, PASSWORD, HERE)

    async def signed_in(self, name: str, *, admin: bool = False) -> Principal:
        """A new user, in a team of their own."""
        return await self.principal(await self.login(await self.user(name, admin=admin)))

    async def principal(self, signed: SignedIn) -> Principal:
        return await self.people.sessions.authenticate(signed.token)

    async def again(self, principal: Principal, team_id: str | None = None) -> Principal:
        """The same user, signed in anew; in another team where one is named."""
        user = await self.people.accounts.user(principal)
        now = await self.principal(await self.login(user))
        if team_id is None:
            return now
        return await self.principal(await self.people.sessions.switch(now, team_id))


def make_world(store: Store, clock: ManualClock, sign_up: str = "open") -> World:
    tasks: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[Any, Any, None], name: str) -> None:
        tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    access, outbox = AccessService(store, clock), Outbox()
    rules = AccountRules(sign_up, WEB)  # type: ignore[arg-type]
    quick = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    people = community(store, clock, access, rules, outbox, b"k" * 32, spawn, quick)
    return World(store, clock, access, people, outbox, None, tasks)  # type: ignore[arg-type]


async def opened(world: World) -> World:
    await world.access.start(None)
    world.operator = await world.access.local_principal()
    return world


@pytest.fixture
async def world(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    """Over SQLite; ``worlds`` are of each kind of database."""
    store = await open_store(tmp_path)
    made = await opened(make_world(store, clock))
    yield made
    await made.settled()
    await store.close()


@pytest.fixture
async def worlds(store: Store, clock: ManualClock) -> AsyncIterator[World]:
    made = await opened(make_world(store, clock))
    yield made
    await made.settled()
