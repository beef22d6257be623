"""Builds with their layers, registries; the configuration of the image that something was made from."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Json, Timestamp

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("sandboxes", "snapshots"):
        op.add_column(table, sa.Column("config", Json, nullable=True))
    create_builds()
    create_layers()
    create_registries()


def downgrade() -> None:
    for table in ("registries", "build_layers", "builds"):
        op.drop_table(table)
    for table in ("snapshots", "sandboxes"):
        op.drop_column(table, "config")


def create_builds() -> None:
    op.create_table(
        "builds",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("snapshot_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("recipe", Json, nullable=False),
        sa.Column("phases", Json, nullable=False),
        sa.Column("planned", Json, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("started_at", Timestamp(), nullable=True),
        sa.Column("finished_at", Timestamp(), nullable=True),
        sa.Column("dialect_data", Json, nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_builds_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_builds")),
    )
    op.create_index("ix_builds_snapshot_id", "builds", ["snapshot_id"], unique=False)
    op.create_index("ix_builds_team_id_created_at", "builds", ["team_id", "created_at"], unique=False)


def create_layers() -> None:
    op.create_table(
        "build_layers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("config", Json, nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("last_used_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_build_layers_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_layers")),
    )
    op.create_index("ix_build_layers_last_used_at", "build_layers", ["last_used_at"], unique=False)
    op.create_index("uq_build_layers_team_id_key", "build_layers", ["team_id", "key"], unique=True)


def create_registries() -> None:
    op.create_table(
        "registries",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_registries_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registries")),
    )
    op.create_index("uq_registries_team_id_name", "registries", ["team_id", "name"], unique=True)
