"""Tags of sandboxes with their aliases; preview tokens and trusted preview hosts."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Timestamp

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("preview_hosts", "preview_tokens", "tag_aliases", "tagged_sandboxes", "sandbox_tags")


def upgrade() -> None:
    op.create_table(
        "sandbox_tags",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_sandbox_tags_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sandbox_tags")),
    )
    op.create_index("ix_sandbox_tags_team_id", "sandbox_tags", ["team_id"], unique=False)
    create_tagged_sandboxes()
    create_aliases()
    create_preview_tokens()
    op.create_table(
        "preview_hosts",
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_preview_hosts_team_id")),
        sa.PrimaryKeyConstraint("team_id", "host", name=op.f("pk_preview_hosts")),
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)


def create_tagged_sandboxes() -> None:
    op.create_table(
        "tagged_sandboxes",
        sa.Column("tag_id", sa.String(length=36), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sandbox_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["sandbox_id"], ["sandboxes.id"], name=op.f("fk_tagged_sandboxes_sandbox_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["sandbox_tags.id"], name=op.f("fk_tagged_sandboxes_tag_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tag_id", "position", name=op.f("pk_tagged_sandboxes")),
    )
    op.create_index("ix_tagged_sandboxes_sandbox_id", "tagged_sandboxes", ["sandbox_id"], unique=False)


def create_aliases() -> None:
    op.create_table(
        "tag_aliases",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("tag_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["sandbox_tags.id"], name=op.f("fk_tag_aliases_tag_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_tag_aliases_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag_aliases")),
    )
    op.create_index("ix_tag_aliases_tag_id", "tag_aliases", ["tag_id"], unique=False)
    columns = ["team_id", "namespace", "alias"]
    op.create_index("uq_tag_aliases_team_id_namespace_alias", "tag_aliases", columns, unique=True)


def create_preview_tokens() -> None:
    op.create_table(
        "preview_tokens",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("sandbox_id", sa.String(length=36), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("expires_at", Timestamp(), nullable=True),
        sa.Column("last_used_at", Timestamp(), nullable=True),
        sa.ForeignKeyConstraint(
            ["sandbox_id"], ["sandboxes.id"], name=op.f("fk_preview_tokens_sandbox_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_preview_tokens_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preview_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_preview_tokens_digest")),
    )
    op.create_index("ix_preview_tokens_sandbox_id", "preview_tokens", ["sandbox_id"], unique=False)
