"""Bring a database to the newest revision; the migrations are part of the package and need no alembic.ini.

Alembic is imported only where there is something to do: that takes a tenth of a server's start.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import column, inspect, select, table
from sqlalchemy.engine import Connection

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION = table("alembic_version", column("version_num"))


def configuration() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@cache
def newest() -> str:
    """The last revision of this package. Files are named ``REVISION_WORDS.py``, and each follows the one before."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def current(connection: Connection) -> str | None:
    """The revision that the database has; None for one without tables."""
    if not inspect(connection).has_table(VERSION.name):
        return None
    revision: str | None = connection.scalar(select(VERSION.c.version_num))
    return revision


def upgrade(connection: Connection) -> None:
    """Apply what is missing; all of it or, on failure, nothing. Does nothing when the database is up to date."""
    if current(connection) == newest():
        connection.rollback()
        return
    from alembic import command

    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()
