"""Runs the revisions on the connection that ``daybook.installation.migrate`` hands over."""

from alembic import context

from daybook.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
