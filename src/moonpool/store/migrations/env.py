"""Run by Alembic: on the connection it was given, or to print SQL without one (``alembic upgrade --sql``)."""

from alembic import context

from moonpool.store.tables import metadata

POSTGRESQL_LOCK = 0x6D6F6F6E  # "moon": servers that start at once migrate one after the other

connection = context.config.attributes.get("connection")
if connection is None:
    context.configure(dialect_name="sqlite", target_metadata=metadata, literal_binds=True)
else:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({POSTGRESQL_LOCK})")
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
