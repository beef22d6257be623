"""Volumes, and where sandboxes and snapshots have them mounted."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Json, Timestamp

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "volumes",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("size_mib", sa.BigInteger(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.Column("last_used_at", Timestamp(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_volumes_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volumes")),
    )
    there = sa.text("state != 'deleted'")
    op.create_index(
        "uq_volumes_team_id_name",
        "volumes",
        ["team_id", "name"],
        unique=True,
        sqlite_where=there,
        postgresql_where=there,
    )
    for table in ("sandboxes", "snapshots"):
        op.add_column(table, sa.Column("mounts", Json, nullable=False, server_default="[]"))


def downgrade() -> None:
    for table in ("sandboxes", "snapshots"):
        op.drop_column(table, "mounts")
    op.drop_table("volumes")
