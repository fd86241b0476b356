"""Which hub runs a process, so that the ends of those a dead hub left can be told."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("history", sa.Column("hub", sa.String(length=32), nullable=True))
    op.create_index(op.f("ix_history_process_id"), "history", ["process_id"], unique=False)
