"""The host's switches and tags, teams' warm pools, where their telemetry goes."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Json, Timestamp

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hosts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("unschedulable", sa.Boolean(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("tags", Json, nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hosts")),
    )
    op.create_table(
        "warm_pools",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("snapshot_id", sa.String(length=36), nullable=False),
        sa.Column("snapshot_name", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_warm_pools_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_warm_pools")),
    )
    op.create_index("uq_warm_pools_team_id_snapshot_id", "warm_pools", ["team_id", "snapshot_id"], unique=True)
    op.create_table(
        "telemetry_targets",
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_telemetry_targets_team_id")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_telemetry_targets")),
    )


def downgrade() -> None:
    for table in ("telemetry_targets", "warm_pools", "hosts"):
        op.drop_table(table)
