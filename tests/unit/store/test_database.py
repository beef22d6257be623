import asyncio
import gc
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from moonpool.errors import MachineUnfit, NoCapacity
from moonpool.store.database import Store, normalised
from moonpool.store.migrate import configuration, newest
from moonpool.store.tables import event_cursors, memberships, metadata, teams, users

WRITERS = 50
STEPS = 25  # turns of the loop after which somebody is cancelled


async def add(store: Store, *consumers: str, after_commit: Callable[[], None] = lambda: None) -> None:
    """Rows of a table in which a name may stand once, in one transaction."""
    async with store.transaction() as transaction:
        transaction.after_commit(after_commit)
        for consumer in consumers:
            statement = insert(event_cursors).values(consumer=consumer, last_event_id=1)
            await transaction.connection.execute(statement)


async def look_and_add(store: Store, consumer: str) -> None:
    async with store.transaction() as transaction:
        await transaction.connection.execute(select(event_cursors.c.consumer))
        await transaction.connection.execute(insert(event_cursors).values(consumer=consumer, last_event_id=1))


async def consumers(store: Store) -> list[str]:
    async with store.reading() as connection:
        return list((await connection.execute(select(event_cursors.c.consumer))).scalars())


class TestTransaction:
    async def test_what_it_writes_is_there_for_readers(self, store: Store) -> None:
        await add(store, "a")
        assert await consumers(store) == ["a"]

    async def test_a_full_disk_is_told_and_nothing_is_kept(self, tmp_path: Path) -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'db.sqlite'}")
        await add(store, "a")
        async with store.transaction() as transaction:
            await transaction.connection.exec_driver_sql("PRAGMA max_page_count = 1")  # As many as there are.
        with pytest.raises(NoCapacity, match="disk is full"):
            await add(store, *(f"{number:01000}" for number in range(100)))
        assert await consumers(store) == ["a"]
        await store.close()

    async def test_nothing_of_a_failed_one_is_kept(self, store: Store) -> None:
        with pytest.raises(IntegrityError):
            await add(store, "a", "a")
        assert await consumers(store) == []
        await add(store, "b")
        assert await consumers(store) == ["b"]

    async def test_a_refused_statement_leaves_the_store_usable(self, store: Store) -> None:
        await add(store, "a")
        with pytest.raises(IntegrityError):
            await add(store, "a")
        await add(store, "b")
        assert sorted(await consumers(store)) == ["a", "b"]

    async def test_many_at_once_all_succeed(self, store: Store) -> None:
        await asyncio.gather(*(add(store, f"{number}") for number in range(WRITERS)))
        assert len(await consumers(store)) == WRITERS

    async def test_callbacks_follow_the_commit_and_never_a_rollback(self, store: Store) -> None:
        seen: list[str] = []
        async with store.transaction() as transaction:
            transaction.after_commit(lambda: seen.append("committed"))
            assert seen == []
        with pytest.raises(IntegrityError):
            await add(store, "a", "a", after_commit=lambda: seen.append("rolled back"))
        assert seen == ["committed"]

    async def test_one_that_is_cancelled_midway_leaves_nothing(self, store: Store) -> None:
        inside, forever = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            async with store.transaction() as transaction:
                await transaction.connection.execute(insert(event_cursors).values(consumer="a", last_event_id=1))
                inside.set()
                await forever.wait()

        task = asyncio.create_task(work())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await consumers(store) == []
        await add(store, "b")

    async def test_foreign_keys_hold(self, store: Store) -> None:
        values = {"id": "u", "team_id": "none", "handle": "n", "email": "e", "created_at": None}
        with pytest.raises(IntegrityError):
            async with store.transaction() as transaction:
                await transaction.connection.execute(insert(users).values(**values))


class TestCancelled:
    async def test_nothing_stays_locked_at_whatever_step(self, prepared_url: str) -> None:
        """Also while the statement that was under way is remembered, as a traceback does. A connection that is dropped
        would be told as a warning."""
        remembered = []
        for step in range(STEPS):
            store = await Store.open(prepared_url)
            for work in (consumers(store), look_and_add(store, f"cut off {step}")):
                task = asyncio.ensure_future(work)
                for _ in range(step):
                    await asyncio.sleep(0)
                task.cancel()
                remembered += await asyncio.gather(task, return_exceptions=True)
            await add(store, f"{step}")
            await store.close()
        gc.collect()
        store = await Store.open(prepared_url)
        assert {f"{step}" for step in range(STEPS)} <= set(await consumers(store))
        await store.close()
        assert any(isinstance(end, asyncio.CancelledError) for end in remembered)


class TestSqlite:
    async def test_two_processes_do_not_lock_each_other_out(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'db.sqlite'}"
        first, second = await Store.open(url), await Store.open(url)
        await asyncio.gather(
            *(add(store, f"{store is first} {number}") for number in range(20) for store in (first, second))
        )
        assert len(await consumers(first)) == 40
        await first.close()
        await second.close()

    async def test_a_reader_cannot_write(self, tmp_path: Path) -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'db.sqlite'}")
        with pytest.raises(OperationalError, match="readonly"):
            async with store.reading() as connection:
                await connection.execute(insert(event_cursors).values(consumer="a", last_event_id=1))
        await store.close()

    async def test_it_survives_a_power_cut(self, tmp_path: Path) -> None:
        path = tmp_path / "db.sqlite"
        store = await Store.open(f"sqlite:///{path}")
        async with store.transaction() as transaction:
            mode = await transaction.connection.exec_driver_sql("PRAGMA synchronous")
            assert mode.scalar_one() == 2  # FULL
        await store.close()
        with sqlite3.connect(path) as plain:
            assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        plain.close()


def upgraded_to(connection: Connection, revision: str) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    connection.commit()


class TestMigrations:
    def test_the_newest_is_known_by_its_file(self) -> None:
        assert ScriptDirectory.from_config(configuration()).get_heads() == [newest()]

    async def test_they_make_what_the_tables_say(self, database_url: str) -> None:
        store = await Store.open(database_url)
        await store.close()
        engine = create_async_engine(normalised(database_url))

        def differences(connection: Connection) -> list[object]:
            return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))

        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
        await engine.dispose()

    async def test_users_of_earlier_versions_own_their_team(self, database_url: str) -> None:
        engine = create_async_engine(normalised(database_url))
        async with engine.connect() as connection:
            await connection.run_sync(upgraded_to, "0011")
            for statement in (
                "INSERT INTO teams (id, name, created_at) VALUES ('t', 'default', 5)",
                "INSERT INTO users (id, team_id, name, email, role, created_at) "
                "VALUES ('u', 't', 'admin', 'admin@localhost', 'admin', 7)",
            ):
                await connection.exec_driver_sql(statement)
            await connection.commit()
        await engine.dispose()
        store = await Store.open(database_url)
        async with store.reading() as connection:
            (member,) = (await connection.execute(select(memberships))).all()
            (user,) = (await connection.execute(select(users))).all()
            (team,) = (await connection.execute(select(teams))).all()
        await store.close()
        assert (member.team_id, member.user_id, member.role, member.role_ids) == ("t", "u", "owner", [])
        assert (user.handle, user.name, user.status, user.platform_admin) == ("admin", "admin", "active", True)
        assert (team.slug, team.name, team.updated_at) == ("default", "default", team.created_at)

    async def test_a_second_start_keeps_what_is_there(self, database_url: str) -> None:
        first = await Store.open(database_url)
        await add(first, "a")
        await first.close()
        second = await Store.open(database_url)
        assert await consumers(second) == ["a"]
        await second.close()

    async def test_servers_that_start_at_once_migrate_once(self, database_url: str) -> None:
        script = f"import asyncio; from moonpool.store.database import Store; asyncio.run(Store.open({database_url!r}))"
        starts = [await asyncio.create_subprocess_exec(sys.executable, "-c", script) for _ in range(3)]
        assert [await start.wait() for start in starts] == [0, 0, 0]


def test_another_database_is_refused_with_a_hint() -> None:
    with pytest.raises(MachineUnfit) as caught:
        normalised("mysql://localhost/moonpool")
    assert "postgresql" in caught.value.hint
