"""Every table. Migrations in ``migrations/versions`` make the same; a test compares them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects.postgresql import JSONB

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Timestamp(TypeDecorator[datetime]):
    """A moment as microseconds since 1970 (UTC): exact, and sorted alike by SQLite and PostgreSQL."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + value * MICROSECOND


Json = JSON().with_variant(JSONB(), "postgresql")
Sequence = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only an INTEGER PRIMARY KEY.

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

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

# Who may use single sandboxes without a key of the team's; ``users`` null: as every user inside.
identities = Table(
    "identities",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_identities_team_id_created_at", "team_id", "created_at"),
)

identity_tokens = Table(
    "identity_tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("identity_id", ForeignKey("identities.id"), nullable=False, index=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", Timestamp, nullable=False),
)

identity_permissions = Table(
    "identity_permissions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("identity_id", ForeignKey("identities.id"), nullable=False),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("users", Json),
    Column("granted_by", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Index("uq_identity_permissions_identity_id_sandbox_id", "identity_id", "sandbox_id", unique=True),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), index=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("cpu", Float, nullable=False),
    Column("memory_mib", BigInteger, nullable=False),
    Column("disk_mib", BigInteger, nullable=False),
    Column("size_bytes", BigInteger),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("last_used_at", Timestamp),
    Column("has_memory", Boolean, nullable=False, server_default=false()),
    Column("source_sandbox_id", String(36)),
    Column("user", Text),
    Column("dialect_data", Json, nullable=False, server_default="{}"),
    Column("reason", Text),
    Column("eviction_priority", Integer),
    Column("mounts", Json, nullable=False, server_default="[]"),
    Column("config", Json),
)
# The record of a removed one is kept for a while; its name is free.
Index(
    "uq_snapshots_team_id_name",
    snapshots.c.team_id,
    snapshots.c.name,
    unique=True,
    sqlite_where=snapshots.c.state != "removed",
    postgresql_where=snapshots.c.state != "removed",
)
# NULL is equal to nothing, so the general snapshots need an index of their own.
Index(
    "uq_snapshots_general_name",
    snapshots.c.name,
    unique=True,
    sqlite_where=snapshots.c.team_id.is_(None),
    postgresql_where=snapshots.c.team_id.is_(None),
)

volumes = Table(
    "volumes",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("size_mib", BigInteger, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("last_used_at", Timestamp),
    Column("reason", Text),
)
# A deleted volume's row is kept for a day; its name is free at once.
Index(
    "uq_volumes_team_id_name",
    volumes.c.team_id,
    volumes.c.name,
    unique=True,
    sqlite_where=volumes.c.state != "deleted",
    postgresql_where=volumes.c.state != "deleted",
)

sandboxes = Table(
    "sandboxes",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("desired", Text, nullable=False),
    Column("reason", Text),
    Column("recoverable", Boolean, nullable=False),
    Column("snapshot", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("env", Json, nullable=False),
    Column("labels", Json, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("cpu", Float, nullable=False),
    Column("memory_mib", BigInteger, nullable=False),
    Column("disk_mib", BigInteger, nullable=False),
    Column("pids", Integer, nullable=False),
    Column("network", Json, nullable=False),
    Column("timers", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("started_at", Timestamp),
    Column("stopped_at", Timestamp),
    Column("last_activity_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Column("preview_token", Text, nullable=False),
    Column("dialect_data", Json, nullable=False),
    Column("version", Integer, nullable=False),
    Column("instance_id", Text, nullable=False, server_default=""),
    Column("forked_from", String(36)),
    Column("backup", Json),
    Column("eviction_priority", Integer),
    Column("recreatable", Boolean, nullable=False, server_default=false()),
    Column("secrets", Json, nullable=False, server_default="{}"),
    Column("mounts", Json, nullable=False, server_default="[]"),
    Column("config", Json),
)
# A destroyed sandbox's row is kept for a day; its name is free as soon as its destruction is asked for.
Index(
    "uq_sandboxes_team_id_name",
    sandboxes.c.team_id,
    sandboxes.c.name,
    unique=True,
    sqlite_where=sandboxes.c.desired != "destroyed",
    postgresql_where=sandboxes.c.desired != "destroyed",
)
Index("ix_sandboxes_team_id_created_at", sandboxes.c.team_id, sandboxes.c.created_at)

events = Table(
    "events",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("team_id", String(36), nullable=False),
    Column("type", Text, nullable=False),
    Column("subject_id", String(36), nullable=False),
    Column("data", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_events_team_id_id", "team_id", "id"),
    Index("ix_events_created_at", "created_at"),
    sqlite_autoincrement=True,
)

event_cursors = Table(
    "event_cursors",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("last_event_id", BigInteger, nullable=False),
)

# A name under which sandboxes can be forked, and a readable name of that name.
sandbox_tags = Table(
    "sandbox_tags",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False, index=True),
    Column("created_at", Timestamp, nullable=False),
)

tagged_sandboxes = Table(
    "tagged_sandboxes",
    metadata,
    Column("tag_id", ForeignKey("sandbox_tags.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), nullable=False, index=True),
)

tag_aliases = Table(
    "tag_aliases",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("namespace", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("tag_id", ForeignKey("sandbox_tags.id", ondelete="CASCADE"), nullable=False, index=True),
    Index("uq_tag_aliases_team_id_namespace_alias", "team_id", "namespace", "alias", unique=True),
)

preview_tokens = Table(
    "preview_tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Column("last_used_at", Timestamp),
)

preview_hosts = Table(
    "preview_hosts",
    metadata,
    Column("team_id", ForeignKey("teams.id"), primary_key=True),
    Column("host", String(255), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

# A link that opens one port for a while, to whoever has it.
preview_links = Table(
    "preview_links",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("port", Integer, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
)

# A domain of a user's own that leads to a port of a sandbox.
preview_mappings = Table(
    "preview_mappings",
    metadata,
    Column("domain", String(253), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False, index=True),
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("port", Integer, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

# What makes the key with which a sandbox's file links are signed, together with the server's own secret.
file_keys = Table(
    "file_keys",
    metadata,
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("salt", String(64), nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

ssh_tokens = Table(
    "ssh_tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("sandbox_id", ForeignKey("sandboxes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
)

# A recipe becoming a snapshot; its log is a file in the data folder.
builds = Table(
    "builds",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("snapshot_id", String(36), nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("recipe", Json, nullable=False),
    Column("phases", Json, nullable=False),
    Column("planned", Json, nullable=False),
    Column("reason", Text),
    Column("code", Text),
    Column("created_at", Timestamp, nullable=False),
    Column("started_at", Timestamp),
    Column("finished_at", Timestamp),
    Column("dialect_data", Json, nullable=False),
    Index("ix_builds_team_id_created_at", "team_id", "created_at"),
)

# The disks that builds stand on: found by a hash of all that went into one.
build_layers = Table(
    "build_layers",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("key", String(64), nullable=False),
    Column("config", Json),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("last_used_at", Timestamp, nullable=False, index=True),
    Index("uq_build_layers_team_id_key", "team_id", "key", unique=True),
)

# A machine that runs sandboxes: the switches that keep them away from it, and what its operator calls it.
hosts = Table(
    "hosts",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("unschedulable", Boolean, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("tags", Json, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)

# How many warm machines are kept ready beyond the server's own number, for which team's creates of which snapshot.
warm_pools = Table(
    "warm_pools",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("snapshot_id", String(36), nullable=False),
    Column("snapshot_name", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("uq_warm_pools_team_id_snapshot_id", "team_id", "snapshot_id", unique=True),
)

# Where a team's telemetry goes on to; the headers (a JSON object) are encrypted with the server's key.
telemetry_targets = Table(
    "telemetry_targets",
    metadata,
    Column("team_id", ForeignKey("teams.id"), primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)

# Where a team has images of its own; the password is encrypted with the server's key.
registries = Table(
    "registries",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("uq_registries_team_id_name", "team_id", "name", unique=True),
)

# What nobody's key did has no team. Names are those of the time.
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("team_id", String(36), nullable=True),
    Column("actor_kind", Text, nullable=False),
    Column("user_id", String(36), nullable=True),
    Column("key_id", String(36), nullable=True),
    Column("actor_name", Text, nullable=False),
    Column("actor_email", Text, nullable=False),
    Column("key_prefix", Text, nullable=True),
    Column("key_suffix", Text, nullable=True),
    Column("api", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target_type", Text, nullable=False),
    Column("target_id", Text, nullable=True),
    Column("status", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=True),
    Column("address", Text, nullable=True),
    Column("agent", Text, nullable=True),
    Column("request_id", Text, nullable=True),
    Column("details", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_audit_entries_team_id_created_at", "team_id", "created_at"),
    Index("ix_audit_entries_created_at", "created_at"),
    sqlite_autoincrement=True,
)

# Where events go: webhook endpoints and channels. The configuration (addresses, secrets) is sealed.
receivers = Table(
    "receivers",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("events", Json, nullable=False),
    Column("config", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", Text, nullable=True),
    Column("failing_since", Timestamp, nullable=True),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("uq_receivers_team_id_kind_name", "team_id", "kind", "name", unique=True),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("receiver_id", ForeignKey("receivers.id", ondelete="CASCADE"), nullable=False),
    Column("team_id", String(36), nullable=False),
    Column("subject_id", String(36), nullable=False),
    Column("message_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Json, nullable=False),
    Column("next_attempt_at", Timestamp, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("finished_at", Timestamp, nullable=True),
    Index("ix_deliveries_receiver_id_subject_id_state_id", "receiver_id", "subject_id", "state", "id"),
    Index("ix_deliveries_state_next_attempt_at", "state", "next_attempt_at"),
    Index("ix_deliveries_finished_at", "finished_at"),
    sqlite_autoincrement=True,
)

# Teams that use webhooks, since when.
webhook_teams = Table(
    "webhook_teams",
    metadata,
    Column("team_id", ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)

# Links that open a team's webhooks to a browser, and the visits that they became.
webhook_visits = Table(
    "webhook_visits",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", ForeignKey("teams.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("key_id", String(36), nullable=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("entered", Boolean, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False, index=True),
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
