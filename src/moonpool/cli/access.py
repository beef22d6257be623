"""Access without a running server, for commands that an operator runs on the machine itself."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from moonpool.cli.client import CommandFailed
from moonpool.cli.settings import load_settings

if TYPE_CHECKING:
    from moonpool.access.service import AccessService

T = TypeVar("T")


def with_access(action: Callable[["AccessService"], Awaitable[T]]) -> T:
    """What ``action`` gives; the database is made and migrated when needed. CommandFailed when it cannot be used."""
    from moonpool.access.model import TeamLimits
    from moonpool.access.service import open_access

    limits = TeamLimits.of(load_settings())

    async def run(database: str) -> T:
        async with open_access(database, limits) as access:
            return await action(access)

    return with_database(run)


def with_database(action: Callable[[str], Coroutine[Any, Any, T]]) -> T:
    """What ``action`` gives, which opens the database of this URL. CommandFailed when it cannot be used."""
    import asyncio

    from sqlalchemy.exc import SQLAlchemyError

    settings = load_settings()
    if settings.database_url is None:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return asyncio.run(action(settings.database))
    except SQLAlchemyError as error:
        raise CommandFailed(f"The database cannot be used: {error}") from error
