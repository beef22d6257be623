"""Bring a database to the newest revision; the migrations are part of the package and need no alembic.ini."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

MIGRATIONS = Path(__file__).parent / "migrations"


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: Connection) -> None:
    """Apply what is missing; all of it or, on failure, nothing. Does nothing when the database is up to date."""
    config = configuration()
    head = ScriptDirectory.from_config(config).get_current_head()
    if MigrationContext.configure(connection).get_current_revision() == head:
        connection.rollback()
        return
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()
