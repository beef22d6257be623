"""Signed links and mapped domains of previews; keys of file links; tokens for SSH."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Timestamp

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = ("ssh_tokens", "file_keys", "preview_mappings", "preview_links")


def upgrade() -> None:
    create_links()
    create_mappings()
    op.create_table(
        "file_keys",
        sa.Column("sandbox_id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        *owners("file_keys"),
        sa.PrimaryKeyConstraint("sandbox_id", name=op.f("pk_file_keys")),
    )
    create_ssh_tokens()


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)


def owners(table: str) -> tuple[sa.ForeignKeyConstraint, sa.ForeignKeyConstraint]:
    return (
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f(f"fk_{table}_team_id")),
        sa.ForeignKeyConstraint(
            ["sandbox_id"], ["sandboxes.id"], name=op.f(f"fk_{table}_sandbox_id"), ondelete="CASCADE"
        ),
    )


def create_links() -> None:
    op.create_table(
        "preview_links",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("sandbox_id", sa.String(length=36), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("expires_at", Timestamp(), nullable=False),
        *owners("preview_links"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_preview_links")),
    )
    op.create_index("ix_preview_links_sandbox_id", "preview_links", ["sandbox_id"], unique=False)


def create_mappings() -> None:
    op.create_table(
        "preview_mappings",
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("sandbox_id", sa.String(length=36), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        *owners("preview_mappings"),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_preview_mappings")),
    )
    op.create_index("ix_preview_mappings_team_id", "preview_mappings", ["team_id"], unique=False)
    op.create_index("ix_preview_mappings_sandbox_id", "preview_mappings", ["sandbox_id"], unique=False)


def create_ssh_tokens() -> None:
    op.create_table(
        "ssh_tokens",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("sandbox_id", sa.String(length=36), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("expires_at", Timestamp(), nullable=False),
        *owners("ssh_tokens"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ssh_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_ssh_tokens_digest")),
    )
    op.create_index("ix_ssh_tokens_sandbox_id", "ssh_tokens", ["sandbox_id"], unique=False)
