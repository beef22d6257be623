"""Who else is let in, and by which address."""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text

from moonpool.store.tables.columns import Json, Timestamp, metadata

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
