"""Forks, instances of sandboxes, and snapshots of sandboxes with their memory."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Json

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sandboxes", sa.Column("instance_id", sa.Text(), nullable=False, server_default=""))
    op.add_column("sandboxes", sa.Column("forked_from", sa.String(length=36), nullable=True))
    # Whatever runs now goes on under an id of the right form.
    op.execute("UPDATE sandboxes SET instance_id = id")
    op.add_column("snapshots", sa.Column("has_memory", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("snapshots", sa.Column("source_sandbox_id", sa.String(length=36), nullable=True))
    op.add_column("snapshots", sa.Column("user", sa.Text(), nullable=True))
    op.add_column("snapshots", sa.Column("dialect_data", Json, nullable=False, server_default="{}"))


def downgrade() -> None:
    for column in ("dialect_data", "user", "source_sandbox_id", "has_memory"):
        op.drop_column("snapshots", column)
    for column in ("forked_from", "instance_id"):
        op.drop_column("sandboxes", column)
