"""What teams have chosen that means something to one API alone."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Json, Timestamp

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "team_preferences",
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("dialect", sa.String(length=64), nullable=False),
        sa.Column("document", Json, nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_team_preferences_team_id")),
        sa.PrimaryKeyConstraint("team_id", "dialect", name=op.f("pk_team_preferences")),
    )


def downgrade() -> None:
    op.drop_table("team_preferences")
