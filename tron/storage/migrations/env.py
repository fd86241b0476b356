"""Alembic's entry: runs the migrations on the connection it is handed, in that transaction."""

from alembic import context

from tron.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
