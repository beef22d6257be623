"""Limits of teams; what teams used each day."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Json, Timestamp

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "team_limits",
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("limits", Json, nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_team_limits_team_id")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_team_limits")),
    )
    op.create_table(
        "usage_days",
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("running_seconds", sa.Float(), nullable=False),
        sa.Column("cpu_seconds", sa.Float(), nullable=False),
        sa.Column("memory_mib_seconds", sa.Float(), nullable=False),
        sa.Column("disk_mib_seconds", sa.Float(), nullable=False),
        sa.Column("cpu_used_seconds", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_usage_days_team_id")),
        sa.PrimaryKeyConstraint("team_id", "day", name=op.f("pk_usage_days")),
    )
    op.create_table(
        "usage_clock",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("accrued_until", Timestamp(), nullable=False),
        sa.Column("monotonic", sa.Float(), nullable=False),
        sa.Column("boot", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_usage_clock")),
    )


def downgrade() -> None:
    for table in ("usage_clock", "usage_days", "team_limits"):
        op.drop_table(table)
