"""Teams, their members, keys and figures."""

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, String, Table, Text, UniqueConstraint, false

from moonpool.store.tables.columns import Json, Timestamp, metadata

teams = Table(
    "teams",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("slug", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("personal", Boolean, nullable=False, server_default=false()),
    Column("created_by", String(36)),
    Column("updated_at", Timestamp, nullable=False, server_default="0"),
    Column("deleted_at", Timestamp),
    Column("emptied_at", Timestamp),
    UniqueConstraint("slug", name="uq_teams_name"),
)

users = Table(
    "users",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False, index=True),
    Column("handle", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("status", Text, nullable=False, server_default="active"),
    Column("platform_admin", Boolean, nullable=False, server_default=false()),
    Column("password_hash", Text),
    Column("updated_at", Timestamp, nullable=False, server_default="0"),
    Column("deleted_at", Timestamp),
    UniqueConstraint("handle", name="uq_users_name"),
    Index("uq_users_email", "email", unique=True),
)

memberships = Table(
    "memberships",
    metadata,
    Column("team_id", ForeignKey("teams.id"), primary_key=True),
    Column("user_id", ForeignKey("users.id"), primary_key=True, index=True),
    Column("role", Text, nullable=False),
    Column("role_ids", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)


# A team's own roles; those that every team has are no rows.
team_roles = Table(
    "team_roles",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("permissions", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("uq_team_roles_team_id_name", "team_id", "name", unique=True),
)

invitations = Table(
    "invitations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False, index=True),
    Column("email", Text, nullable=False, index=True),
    Column("role", Text, nullable=False),
    Column("role_ids", Json, nullable=False),
    Column("invited_by", String(36), nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
)

browser_sessions = Table(
    "browser_sessions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("user_agent", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("last_seen_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False, index=True),
)


# What was sent by mail, once: to activate an account, to set a new password.
account_tokens = Table(
    "account_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("purpose", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
)


# Who a user is to a provider of logins.
provider_logins = Table(
    "provider_logins",
    metadata,
    Column("provider", String(64), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("email", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)


# Only what an operator set for one team: by the limit's name a number, or null for no limit.
team_limits = Table(
    "team_limits",
    metadata,
    Column("team_id", ForeignKey("teams.id"), primary_key=True),
    Column("limits", Json, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)


# What a team has chosen that means something to one API alone.
team_preferences = Table(
    "team_preferences",
    metadata,
    Column("team_id", ForeignKey("teams.id"), primary_key=True),
    Column("dialect", String(64), primary_key=True),
    Column("document", Json, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)


# What a team has used on one day (UTC), in core seconds and MiB seconds of what was reserved, and in core seconds used.
usage_days = Table(
    "usage_days",
    metadata,
    Column("team_id", ForeignKey("teams.id"), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("running_seconds", Float, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("memory_mib_seconds", Float, nullable=False),
    Column("disk_mib_seconds", Float, nullable=False),
    Column("cpu_used_seconds", Float, nullable=False),
)


# Up to when usage was added to the days, on both clocks; the monotonic one counts within one boot of the machine.
usage_clock = Table(
    "usage_clock",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("accrued_until", Timestamp, nullable=False),
    Column("monotonic", Float, nullable=False),
    Column("boot", Text, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    Column("suffix", Text, nullable=False),
    Column("scopes", Json, nullable=False),
    Column("origin", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Column("last_used_at", Timestamp),
    Index("uq_api_keys_team_id_name", "team_id", "name", unique=True),
)


team_secrets = Table(
    "team_secrets",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=True),
    Column("hosts", Json, nullable=False),
    Column("placeholder", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("uq_team_secrets_team_id_name", "team_id", "name", unique=True),
)
