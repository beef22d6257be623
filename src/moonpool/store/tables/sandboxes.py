"""Sandboxes, what they are made of, and where they run."""

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text, false

from moonpool.store.tables.columns import Json, Timestamp, metadata

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
