"""Links that open a team's webhooks to a browser, and the visits that they became."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Timestamp

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_visits",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("key_id", sa.String(length=36), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("entered", sa.Boolean(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("expires_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_webhook_visits_team_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_webhook_visits_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_visits")),
        sa.UniqueConstraint("digest", name=op.f("uq_webhook_visits_digest")),
    )
    for column in ("team_id", "expires_at"):
        op.create_index(f"ix_webhook_visits_{column}", "webhook_visits", [column])


def downgrade() -> None:
    op.drop_table("webhook_visits")
