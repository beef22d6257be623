"""Secrets of teams, and which of them a sandbox has."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Json, Timestamp

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sandboxes", sa.Column("secrets", Json, nullable=False, server_default="{}"))
    op.create_table(
        "team_secrets",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("hosts", Json, nullable=False),
        sa.Column("placeholder", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_team_secrets_team_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team_secrets")),
    )
    op.create_index("uq_team_secrets_team_id_name", "team_secrets", ["team_id", "name"], unique=True)


def downgrade() -> None:
    op.drop_table("team_secrets")
    op.drop_column("sandboxes", "secrets")
