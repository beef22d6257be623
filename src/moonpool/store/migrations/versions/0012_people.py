"""People: memberships of several teams, roles, invitations, sessions, logins of other providers."""

import sqlalchemy as sa
from alembic import op

from moonpool.store.tables import Json, Timestamp

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = ("provider_logins", "account_tokens", "browser_sessions", "invitations", "team_roles", "memberships")


def upgrade() -> None:
    change_teams()
    change_users()
    create_memberships()
    create_roles()
    create_invitations()
    create_sessions()
    create_tokens()
    create_provider_logins()
    # Until now every user was the admin of their one team.
    op.execute(
        "INSERT INTO memberships (team_id, user_id, role, role_ids, created_at, updated_at) "
        "SELECT team_id, id, 'owner', '[]', created_at, created_at FROM users"
    )
    op.drop_column("users", "role")


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    op.add_column("users", sa.Column("role", sa.Text(), nullable=False, server_default="admin"))
    op.drop_index("uq_users_email", table_name="users")
    for column in ("deleted_at", "updated_at", "password_hash", "platform_admin", "status", "name"):
        op.drop_column("users", column)
    op.execute("ALTER TABLE users RENAME COLUMN handle TO name")
    for column in ("emptied_at", "deleted_at", "updated_at", "created_by", "personal", "name"):
        op.drop_column("teams", column)
    op.execute("ALTER TABLE teams RENAME COLUMN slug TO name")


def change_teams() -> None:
    op.execute("ALTER TABLE teams RENAME COLUMN name TO slug")
    op.add_column("teams", sa.Column("name", sa.Text(), nullable=False, server_default=""))
    op.add_column("teams", sa.Column("personal", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("teams", sa.Column("created_by", sa.String(length=36), nullable=True))
    op.add_column("teams", sa.Column("updated_at", Timestamp(), nullable=False, server_default="0"))
    op.add_column("teams", sa.Column("deleted_at", Timestamp(), nullable=True))
    op.add_column("teams", sa.Column("emptied_at", Timestamp(), nullable=True))
    op.execute("UPDATE teams SET name = slug, updated_at = created_at")


def change_users() -> None:
    op.execute("ALTER TABLE users RENAME COLUMN name TO handle")
    op.add_column("users", sa.Column("name", sa.Text(), nullable=False, server_default=""))
    op.add_column("users", sa.Column("status", sa.Text(), nullable=False, server_default="active"))
    op.add_column("users", sa.Column("platform_admin", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("users", sa.Column("password_hash", sa.Text(), nullable=True))
    op.add_column("users", sa.Column("updated_at", Timestamp(), nullable=False, server_default="0"))
    op.add_column("users", sa.Column("deleted_at", Timestamp(), nullable=True))
    op.execute("UPDATE users SET name = handle, updated_at = created_at")
    op.execute(sa.text("UPDATE users SET platform_admin = :yes WHERE handle = 'admin'").bindparams(yes=True))
    op.create_index("uq_users_email", "users", ["email"], unique=True)


def create_memberships() -> None:
    op.create_table(
        "memberships",
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("role_ids", Json, nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_memberships_team_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_memberships_user_id")),
        sa.PrimaryKeyConstraint("team_id", "user_id", name=op.f("pk_memberships")),
    )
    op.create_index("ix_memberships_user_id", "memberships", ["user_id"], unique=False)


def create_roles() -> None:
    op.create_table(
        "team_roles",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("permissions", Json, nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_team_roles_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team_roles")),
    )
    op.create_index("uq_team_roles_team_id_name", "team_roles", ["team_id", "name"], unique=True)


def create_invitations() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("role_ids", Json, nullable=False),
        sa.Column("invited_by", sa.String(length=36), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.Column("expires_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_invitations_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
    )
    op.create_index("ix_invitations_team_id", "invitations", ["team_id"], unique=False)
    op.create_index("ix_invitations_email", "invitations", ["email"], unique=False)


def create_sessions() -> None:
    op.create_table(
        "browser_sessions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("last_seen_at", Timestamp(), nullable=False),
        sa.Column("expires_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_browser_sessions_user_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_browser_sessions_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_browser_sessions")),
        sa.UniqueConstraint("digest", name=op.f("uq_browser_sessions_digest")),
    )
    for column in ("user_id", "team_id", "expires_at"):
        op.create_index(f"ix_browser_sessions_{column}", "browser_sessions", [column], unique=False)


def create_tokens() -> None:
    op.create_table(
        "account_tokens",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("expires_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_account_tokens_user_id")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_account_tokens")),
    )
    op.create_index("ix_account_tokens_user_id", "account_tokens", ["user_id"], unique=False)


def create_provider_logins() -> None:
    op.create_table(
        "provider_logins",
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_provider_logins_user_id")),
        sa.PrimaryKeyConstraint("provider", "subject", name=op.f("pk_provider_logins")),
    )
    op.create_index("ix_provider_logins_user_id", "provider_logins", ["user_id"], unique=False)
