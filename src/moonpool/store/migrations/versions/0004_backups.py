"""Backups of sandboxes' disks; why a snapshot could not be made."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Json

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sandboxes", sa.Column("backup", Json, nullable=True))
    op.add_column("snapshots", sa.Column("reason", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("snapshots", "reason")
    op.drop_column("sandboxes", "backup")
