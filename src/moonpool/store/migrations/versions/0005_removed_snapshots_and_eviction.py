"""Records of removed snapshots; what the server may remove when space runs out."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NAMES = "uq_snapshots_team_id_name"
COLUMNS = ["team_id", "name"]


def upgrade() -> None:
    op.add_column("snapshots", sa.Column("eviction_priority", sa.Integer(), nullable=True))
    op.add_column("sandboxes", sa.Column("eviction_priority", sa.Integer(), nullable=True))
    op.add_column("sandboxes", sa.Column("recreatable", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.drop_index(NAMES, "snapshots")
    named = sa.text("state != 'removed'")
    op.create_index(NAMES, "snapshots", COLUMNS, unique=True, sqlite_where=named, postgresql_where=named)


def downgrade() -> None:
    op.execute("DELETE FROM snapshots WHERE state = 'removed'")
    op.drop_index(NAMES, "snapshots")
    op.create_index(NAMES, "snapshots", COLUMNS, unique=True)
    for column in ("recreatable", "eviction_priority"):
        op.drop_column("sandboxes", column)
    op.drop_column("snapshots", "eviction_priority")
