"""Columns that were written and never read go."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

UNREAD = (
    ("goals", "due_at"),
    ("hubs", "started_at"),
    ("life_runs", "finished_at"),
    ("slack_events", "error"),
    ("slack_events", "finished_at"),
    ("slack_installations", "bot_user_id"),
    ("slack_installations", "installed_at"),
)


def upgrade() -> None:
    for table, column in UNREAD:
        op.drop_column(table, column)
    # On SQLite this copies the table, for the column is part of a key; what keeps the index of
    # its words in step goes with the old one. The rows keep their ids, which that index knows.
    triggers = _triggers("memories")
    with op.batch_alter_table("memories") as memories:
        memories.drop_constraint(op.f("uq_memories_client_id_namespace_person_key"), type_="unique")
        memories.drop_column("namespace")
        memories.create_unique_constraint(
            op.f("uq_memories_client_id_person_key"), ["client_id", "person", "key"]
        )
    for trigger in triggers:
        op.execute(trigger)


def _triggers(table: str) -> list[str]:
    """The SQL of a table's triggers; only on SQLite it has any."""
    if op.get_bind().dialect.name != "sqlite":
        return []
    found = sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table")
    return list(op.get_bind().execute(found, {"table": table}).scalars())
