import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from moonpool.access.cache import TRUSTED_FOR
from moonpool.access.model import ALL_SCOPES, KeyChange, Principal, Scope
from moonpool.access.repository import AccessRepository
from moonpool.access.service import AccessService, open_access
from moonpool.errors import Forbidden, InvalidInput, KeyExpired, KeyNotFound, NameTaken, Unauthorized
from moonpool.store.database import Store
from moonpool.store.tables import api_keys
from tests.conftest import ManualClock

FIRST_KEY = "first-key-of-all"


@pytest.fixture
async def access(store: Store, clock: ManualClock) -> AsyncIterator[AccessService]:
    service = AccessService(store, clock)
    await service.start(FIRST_KEY)
    yield service
    await service.close()


@pytest.fixture
async def admin(access: AccessService) -> Principal:
    return await access.authenticate(FIRST_KEY)


class TestBootstrap:
    async def test_the_key_of_the_settings_may_do_everything(self, access: AccessService) -> None:
        principal = await access.authenticate(FIRST_KEY)
        for scope in Scope:
            access.require(principal, scope)

    async def test_a_restart_with_the_same_key_changes_nothing(self, access: AccessService, admin: Principal) -> None:
        await access.start(FIRST_KEY)
        assert await access.authenticate(FIRST_KEY) == admin

    async def test_a_changed_key_replaces_the_one_before_and_leaves_others(
        self, access: AccessService, admin: Principal
    ) -> None:
        made = await access.create_key(admin, "mine")
        await access.start("another-first-key")
        with pytest.raises(Unauthorized):
            await access.authenticate(FIRST_KEY)
        assert (await access.authenticate("another-first-key")).team_id == admin.team_id
        assert (await access.authenticate(made.secret)).key_id == made.key.id

    async def test_without_one_the_keys_that_are_there_stay(self, access: AccessService, admin: Principal) -> None:
        await access.start(None)
        assert await access.authenticate(FIRST_KEY) == admin

    async def test_a_short_one_is_refused(self, access: AccessService) -> None:
        with pytest.raises(InvalidInput, match="8 characters"):
            await access.start("short")

    async def test_keys_without_a_server(self, database_url: str) -> None:
        async with open_access(database_url) as first:
            made = await first.create_key(await first.local_principal(), "mine")
        async with open_access(database_url) as second:
            assert (await second.authenticate(made.secret)).team_id == made.key.team_id


class TestAuthenticate:
    @pytest.mark.parametrize("token", ["", "nonsense", "mp_" + "A" * 43, "x" * 10_000, "\0", "\ud800", "é"])
    async def test_what_is_no_key(self, access: AccessService, token: str) -> None:
        with pytest.raises(Unauthorized):
            await access.authenticate(token)

    async def test_the_secret_is_nowhere_in_the_database(
        self, access: AccessService, admin: Principal, store: Store
    ) -> None:
        made = await access.create_key(admin, "mine")
        assert made.secret.startswith("mp_")
        assert len(made.secret) == 46
        async with store.reading() as connection:
            rows = (await connection.execute(select(api_keys))).all()
        assert not any(made.secret in str(row) or FIRST_KEY in str(row) for row in rows)
        assert made.secret not in repr(await access.list_keys(admin))

    async def test_a_known_key_needs_no_sql(self, access: AccessService, admin: Principal, store: Store) -> None:
        statements: list[str] = []
        engine = store._reader.sync_engine
        event.listen(engine, "before_cursor_execute", lambda _c, _r, sql, *_rest: statements.append(sql))
        for _ in range(100):
            await access.authenticate(FIRST_KEY)
        assert statements == []

    async def test_a_thousand_streams_of_one_key_look_it_up_once(
        self, access: AccessService, admin: Principal, store: Store, clock: ManualClock
    ) -> None:
        assert admin.key_id is not None
        statements: list[str] = []
        engine = store._reader.sync_engine
        event.listen(engine, "before_cursor_execute", lambda _c, _r, sql, *_rest: statements.append(sql))
        clock.advance(TRUSTED_FOR)
        asking = [access.still(admin.team_id, admin.key_id) for _ in range(1000)]
        assert set(await asyncio.gather(*asking)) == {admin}
        await access.still(admin.team_id, admin.key_id)
        assert len([sql for sql in statements if "FROM api_keys" in sql]) == 1

    async def test_who_goes_leaves_the_look_to_the_others(
        self, access: AccessService, admin: Principal, clock: ManualClock
    ) -> None:
        assert admin.key_id is not None
        clock.advance(TRUSTED_FOR)
        first, other = (asyncio.create_task(access.still(admin.team_id, admin.key_id)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await other == admin

    async def test_what_is_looked_up_during_a_revocation_is_not_kept(
        self, access: AccessService, admin: Principal, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = await access.create_key(admin, "mine")
        found, go_on = asyncio.Event(), asyncio.Event()
        look = AccessRepository.grant_by_digest

        async def slowly(*asked: Any) -> Any:
            stored = await look(*asked)
            found.set()
            await go_on.wait()
            return stored

        monkeypatch.setattr(AccessRepository, "grant_by_digest", slowly)
        early = asyncio.create_task(access.authenticate(made.secret))
        await found.wait()
        await access.revoke_key(admin, "mine")
        go_on.set()
        await early  # It was good when it was asked for.
        with pytest.raises(Unauthorized):
            await access.authenticate(made.secret)

    async def test_an_expired_one(self, access: AccessService, admin: Principal, clock: ManualClock) -> None:
        made = await access.create_key(admin, "mine", expires_at=clock.now() + timedelta(seconds=5))
        await access.authenticate(made.secret)
        clock.advance(5)
        for _ in range(2):
            with pytest.raises(KeyExpired):
                await access.authenticate(made.secret)

    async def test_a_revoked_one_ends_at_once(self, access: AccessService, admin: Principal) -> None:
        made = await access.create_key(admin, "mine")
        await access.authenticate(made.secret)
        await access.revoke_key(admin, "mine")
        with pytest.raises(Unauthorized):
            await access.authenticate(made.secret)

    async def test_one_revoked_by_another_process_ends_soon(
        self, access: AccessService, admin: Principal, clock: ManualClock, store: Store
    ) -> None:
        made = await access.create_key(admin, "mine")
        await access.authenticate(made.secret)
        await AccessService(store, clock).revoke_key(admin, made.key.id)
        clock.advance(TRUSTED_FOR)
        with pytest.raises(Unauthorized):
            await access.authenticate(made.secret)


class TestKeys:
    async def test_listing(self, access: AccessService, admin: Principal, clock: ManualClock) -> None:
        clock.advance(1)
        made = await access.create_key(admin, "mine", [Scope.SANDBOXES_READ])
        keys = await access.list_keys(admin)
        assert [key.name for key in keys] == ["mine", "bootstrap"]
        assert keys[0].scopes == {Scope.SANDBOXES_READ}
        assert made.key.masked.startswith(made.secret[:6])
        assert FIRST_KEY[2:] not in keys[1].masked

    async def test_names_are_unique_and_free_after_the_revocation(
        self, access: AccessService, admin: Principal
    ) -> None:
        await access.create_key(admin, "mine")
        with pytest.raises(NameTaken):
            await access.create_key(admin, "mine")
        await access.revoke_key(admin, "mine")
        await access.create_key(admin, "mine")

    @pytest.mark.parametrize("name", ["", "  ", "x" * 256, "a\nb", "a\0b"])
    async def test_bad_names(self, access: AccessService, admin: Principal, name: str) -> None:
        with pytest.raises(InvalidInput):
            await access.create_key(admin, name)

    async def test_an_expiry_in_the_past(self, access: AccessService, admin: Principal, clock: ManualClock) -> None:
        with pytest.raises(InvalidInput):
            await access.create_key(admin, "mine", expires_at=clock.now())

    async def test_nobody_gives_what_they_lack(self, access: AccessService, admin: Principal) -> None:
        made = await access.create_key(admin, "mine", [Scope.KEYS_WRITE, Scope.SANDBOXES_READ])
        lesser = await access.authenticate(made.secret)
        await access.create_key(lesser, "less", [Scope.SANDBOXES_READ])
        for scopes in (ALL_SCOPES, [Scope.SANDBOXES_WRITE]):
            with pytest.raises(Forbidden):
                await access.create_key(lesser, "more", scopes)

    async def test_scopes_of_the_keys_themselves(self, access: AccessService, admin: Principal) -> None:
        made = await access.create_key(admin, "mine", [Scope.SANDBOXES_WRITE])
        who = await access.authenticate(made.secret)
        assert (await access.get_key(who, made.key.id)).name == "mine"
        for refused in (access.list_keys(who), access.get_key(who, "bootstrap"), access.revoke_key(who, "mine")):
            with pytest.raises(Forbidden):
                await refused

    async def test_another_teams_key_does_not_exist(self, access: AccessService, admin: Principal) -> None:
        stranger = replace(admin, team_id="00000000-0000-0000-0000-000000000000")
        made = await access.create_key(admin, "mine")
        assert await access.list_keys(stranger) == []
        for name in ("mine", made.key.id, "\0", "\ud800"):
            with pytest.raises(KeyNotFound):
                await access.get_key(stranger, name)
            with pytest.raises(KeyNotFound):
                await access.revoke_key(stranger, name)

    async def test_the_last_use_is_seen_at_once_and_written_later(
        self, access: AccessService, admin: Principal, clock: ManualClock, store: Store
    ) -> None:
        clock.advance(5)
        await asyncio.gather(*(access.authenticate(FIRST_KEY) for _ in range(10)))
        assert (await access.get_key(admin, "bootstrap")).last_used_at == clock.now()
        await access.close()
        assert (await AccessService(store, clock).get_key(admin, "bootstrap")).last_used_at == clock.now()


class TestUpdate:
    async def test_only_what_is_given_changes(
        self, access: AccessService, admin: Principal, clock: ManualClock
    ) -> None:
        made = await access.create_key(admin, "mine", {Scope.SANDBOXES_READ}, clock.now() + timedelta(hours=1))
        renamed = await access.update_key(admin, made.key.id, KeyChange(name="other"))
        assert renamed == replace(made.key, name="other")
        changed = await access.update_key(admin, "other", KeyChange(scopes=frozenset({Scope.ADMIN}), set_expiry=True))
        assert (changed.scopes, changed.expires_at) == (frozenset({Scope.ADMIN}), None)
        assert await access.get_key(admin, made.key.id) == changed

    async def test_it_counts_at_once(self, access: AccessService, admin: Principal, clock: ManualClock) -> None:
        made = await access.create_key(admin, "mine", {Scope.SANDBOXES_READ})
        assert not (await access.authenticate(made.secret)).allows(Scope.SANDBOXES_WRITE)
        await access.update_key(admin, "mine", KeyChange(scopes=frozenset({Scope.SANDBOXES_WRITE})))
        assert (await access.authenticate(made.secret)).allows(Scope.SANDBOXES_WRITE)
        await access.update_key(admin, "mine", KeyChange(expires_at=clock.now(), set_expiry=True))
        with pytest.raises(KeyExpired):
            await access.authenticate(made.secret)

    async def test_who_may_not(self, access: AccessService, admin: Principal) -> None:
        made = await access.create_key(admin, "mine")
        await access.create_key(admin, "taken")
        with pytest.raises(NameTaken):
            await access.update_key(admin, "mine", KeyChange(name="taken"))
        stranger = Principal("00000000-0000-0000-0000-000000000000", "nobody", None, ALL_SCOPES)
        with pytest.raises(KeyNotFound):
            await access.update_key(stranger, made.key.id, KeyChange(name="stolen"))
        manager = replace(admin, scopes=frozenset({Scope.KEYS_WRITE}))
        with pytest.raises(Forbidden):
            await access.update_key(manager, "mine", KeyChange(scopes=frozenset({Scope.ADMIN})))
        reader = replace(admin, scopes=frozenset({Scope.KEYS_READ}))
        with pytest.raises(Forbidden):
            await access.update_key(reader, "mine", KeyChange(name="other"))
