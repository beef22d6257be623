"""Identities, with their tokens and their permissions for single sandboxes."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Json, Timestamp

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identities",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        team("identities"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identities")),
    )
    op.create_index("ix_identities_team_id_created_at", "identities", ["team_id", "created_at"], unique=False)
    create_tokens()
    create_permissions()


def downgrade() -> None:
    for table in ("identity_permissions", "identity_tokens", "identities"):
        op.drop_table(table)


def team(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f(f"fk_{table}_team_id"))


def identity(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["identity_id"], ["identities.id"], name=op.f(f"fk_{table}_identity_id"))


def create_tokens() -> None:
    op.create_table(
        "identity_tokens",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("identity_id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        identity("identity_tokens"),
        team("identity_tokens"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_identity_tokens_digest")),
    )
    op.create_index(op.f("ix_identity_tokens_identity_id"), "identity_tokens", ["identity_id"], unique=False)


def create_permissions() -> None:
    table = "identity_permissions"
    op.create_table(
        table,
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("identity_id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("sandbox_id", sa.String(length=36), nullable=False),
        sa.Column("users", Json, nullable=True),
        sa.Column("granted_by", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        identity(table),
        team(table),
        sa.ForeignKeyConstraint(
            ["sandbox_id"], ["sandboxes.id"], name=op.f(f"fk_{table}_sandbox_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"ix_{table}_sandbox_id"), table, ["sandbox_id"], unique=False)
    op.create_index(f"uq_{table}_identity_id_sandbox_id", table, ["identity_id", "sandbox_id"], unique=True)
