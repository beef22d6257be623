"""All SQL of builds, of their layers and of registries."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.builds.model import ENDED, Build, BuildState, Layer, Phase, Recipe
from moonpool.builds.registries import Registry
from moonpool.errors import NameTaken
from moonpool.store.database import Transaction
from moonpool.store.tables import build_layers, builds, registries


class BuildRepository:
    async def insert(self, transaction: Transaction, build: Build) -> None:
        await transaction.connection.execute(insert(builds).values(**values_of(build)))

    async def write(self, transaction: Transaction, build: Build) -> None:
        owned = (builds.c.id == build.id) & (builds.c.team_id == build.team_id)
        await transaction.connection.execute(update(builds).where(owned).values(**values_of(build)))

    async def unfinished(self, connection: AsyncConnection) -> list[Build]:
        """Every team's, the oldest first, for the server itself."""
        wanted = builds.c.state.not_in([state.value for state in ENDED])
        rows = await connection.execute(select(builds).where(wanted).order_by(builds.c.created_at))
        return [build_of(row) for row in rows]

    async def find(self, connection: AsyncConnection, team_id: str, build_id: str) -> Build | None:
        """By its own id, or the latest of a snapshot."""
        wanted = (builds.c.team_id == team_id) & ((builds.c.id == build_id) | (builds.c.snapshot_id == build_id))
        statement = select(builds).where(wanted).order_by(builds.c.created_at.desc()).limit(1)
        row = (await connection.execute(statement)).first()
        return None if row is None else build_of(row)

    async def page(self, connection: AsyncConnection, team_id: str, limit: int) -> list[Build]:
        """The newest first."""
        wanted = select(builds).where(builds.c.team_id == team_id).order_by(builds.c.created_at.desc()).limit(limit)
        return [build_of(row) for row in await connection.execute(wanted)]

    async def prune(self, transaction: Transaction, before: datetime) -> list[str]:
        """Forget builds that ended before that moment; their ids."""
        old = builds.c.finished_at < before
        found = [row.id for row in await transaction.connection.execute(select(builds.c.id).where(old))]
        await transaction.connection.execute(delete(builds).where(old))
        return found


class LayerRepository:
    async def find(self, connection: AsyncConnection, team_id: str, key: str) -> Layer | None:
        wanted = (build_layers.c.team_id == team_id) & (build_layers.c.key == key)
        row = (await connection.execute(select(build_layers).where(wanted))).first()
        return None if row is None else Layer(**row._mapping)

    async def all(self, connection: AsyncConnection) -> list[Layer]:
        """Every team's, the longest unused first, for the server itself."""
        rows = await connection.execute(select(build_layers).order_by(build_layers.c.last_used_at))
        return [Layer(**row._mapping) for row in rows]

    async def replace(self, transaction: Transaction, layer: Layer) -> str | None:
        """Note it under its key; the id of the one that was there before."""
        same = (build_layers.c.team_id == layer.team_id) & (build_layers.c.key == layer.key)
        old = (await transaction.connection.execute(select(build_layers.c.id).where(same))).scalar()
        await transaction.connection.execute(delete(build_layers).where(same))
        await transaction.connection.execute(insert(build_layers).values(**vars(layer)))
        return old

    async def used(self, transaction: Transaction, layer: Layer, moment: datetime) -> None:
        owned = (build_layers.c.id == layer.id) & (build_layers.c.team_id == layer.team_id)
        await transaction.connection.execute(update(build_layers).where(owned).values(last_used_at=moment))

    async def delete(self, transaction: Transaction, ids: Iterable[str]) -> None:
        await transaction.connection.execute(delete(build_layers).where(build_layers.c.id.in_(list(ids))))


class RegistryRepository:
    async def insert(self, transaction: Transaction, registry: Registry) -> None:
        """NameTaken."""
        try:
            await transaction.connection.execute(insert(registries).values(**vars(registry)))
        except IntegrityError as error:
            raise registry_name_taken(registry) from error

    async def write(self, transaction: Transaction, registry: Registry) -> None:
        """NameTaken."""
        owned = (registries.c.id == registry.id) & (registries.c.team_id == registry.team_id)
        try:
            await transaction.connection.execute(update(registries).where(owned).values(**vars(registry)))
        except IntegrityError as error:
            raise registry_name_taken(registry) from error

    async def all_of(self, connection: AsyncConnection, team_id: str) -> list[Registry]:
        wanted = select(registries).where(registries.c.team_id == team_id).order_by(registries.c.created_at)
        return [Registry(**row._mapping) for row in await connection.execute(wanted)]

    async def delete(self, transaction: Transaction, registry: Registry) -> None:
        owned = (registries.c.id == registry.id) & (registries.c.team_id == registry.team_id)
        await transaction.connection.execute(delete(registries).where(owned))


def registry_name_taken(registry: Registry) -> NameTaken:
    return NameTaken(f"Registry with name {registry.name} already exists")


def values_of(build: Build) -> dict[str, Any]:
    phases = [
        {"name": phase.name, "at": phase.started_at.timestamp(), "cached": phase.cached} for phase in build.phases
    ]
    return {
        **vars(build),
        "recipe": build.recipe.document(),
        "planned": list(build.planned),
        "phases": phases,
        "dialect_data": dict(build.dialect_data),
    }


def build_of(row: Row[Any]) -> Build:
    phases = tuple(Phase(item["name"], moment_of(item["at"]), item["cached"]) for item in row.phases)
    own = {
        "state": BuildState(row.state),
        "recipe": Recipe.of(row.recipe),
        "planned": tuple(row.planned),
        "phases": phases,
    }
    return Build(**{**row._mapping, **own})


def moment_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
