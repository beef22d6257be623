"""What happened, and who is told of it."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from moonpool.store.tables.columns import Json, Sequence, Timestamp, metadata

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

# Where a team's telemetry goes on to; the headers (a JSON object) are encrypted with the server's key.
telemetry_targets = Table(
    "telemetry_targets",
    metadata,
    Column("team_id", ForeignKey("teams.id"), primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)
