"""Run by Alembic: applies the revisions over the connection that `kobklein.database.migrate` opened."""

from alembic import context

from wallets_service import models

context.configure(
    connection=context.config.attributes["connection"], target_metadata=models.Base.metadata, transactional_ddl=True
)
context.run_migrations()
