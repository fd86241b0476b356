"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "articles",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("url", sa.String(length=1024), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("take", sa.Text(), nullable=False),
        sa.Column("read_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_articles")),
        sa.UniqueConstraint(
            "client_id", "agent", "url", name=op.f("uq_articles_client_id_agent_url")
        ),
    )
    op.create_index(op.f("ix_articles_client_id"), "articles", ["client_id"], unique=False)
    op.create_table(
        "call_events",
        sa.Column("call_id", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", "seq", name=op.f("pk_call_events")),
    )
    op.create_index(op.f("ix_call_events_client_id"), "call_events", ["client_id"], unique=False)
    op.create_table(
        "call_tapes",
        sa.Column("call_id", sa.String(length=32), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", "part", name=op.f("pk_call_tapes")),
    )
    op.create_index(op.f("ix_call_tapes_client_id"), "call_tapes", ["client_id"], unique=False)
    op.create_table(
        "calls",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("wire", sa.String(length=32), nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("caller", sa.String(length=256), nullable=False),
        sa.Column("called", sa.String(length=256), server_default="", nullable=False),
        sa.Column("external_id", sa.String(length=128), nullable=True),
        sa.Column("hub", sa.String(length=32), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("session_key", sa.String(length=256), server_default="", nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("cause", sa.String(length=64), nullable=True),
        sa.Column("recording", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
    )
    op.create_index(op.f("ix_calls_client_id"), "calls", ["client_id"], unique=False)
    op.create_index(op.f("ix_calls_external_id"), "calls", ["external_id"], unique=False)
    op.create_index(op.f("ix_calls_started_at"), "calls", ["started_at"], unique=False)
    op.create_table(
        "contacts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("phone", sa.String(length=32), nullable=True),
        sa.Column("email", sa.String(length=200), nullable=True),
        sa.Column("company", sa.String(length=200), nullable=True),
        sa.Column("role", sa.String(length=200), nullable=True),
        sa.Column("notes", sa.Text(), server_default="", nullable=False),
        sa.Column("tags", sa.Text(), server_default="[]", nullable=False),
        sa.Column("found_by", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts")),
        sa.UniqueConstraint("client_id", "phone", name=op.f("uq_contacts_client_id_phone")),
    )
    op.create_index(op.f("ix_contacts_client_id"), "contacts", ["client_id"], unique=False)
    op.create_table(
        "delegations",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("session_key", sa.String(length=256), nullable=False),
        sa.Column("process_id", sa.String(length=8), nullable=False),
        sa.Column("from_agent", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("reported", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("hub", sa.String(length=32), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delegations")),
    )
    op.create_index(op.f("ix_delegations_client_id"), "delegations", ["client_id"], unique=False)
    op.create_index(
        op.f("ix_delegations_session_key"), "delegations", ["session_key"], unique=False
    )
    op.create_index(op.f("ix_delegations_status"), "delegations", ["status"], unique=False)
    op.create_table(
        "feeds",
        sa.Column("url", sa.String(length=1024), nullable=False),
        sa.Column("etag", sa.String(length=256), nullable=True),
        sa.Column("modified", sa.String(length=256), nullable=True),
        sa.Column("entries", sa.Text(), server_default="[]", nullable=False),
        sa.Column("fetched_at", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_feeds")),
    )
    op.create_table(
        "goals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("progress", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.String(length=16), server_default="active", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_goals")),
    )
    op.create_index(op.f("ix_goals_client_id"), "goals", ["client_id"], unique=False)
    op.create_index(op.f("ix_goals_client_id_agent"), "goals", ["client_id", "agent"], unique=False)
    op.create_table(
        "history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("process_id", sa.String(length=8), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("metrics", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("parent_id", sa.String(length=8), nullable=True),
        sa.Column("parent_agent", sa.String(length=64), nullable=True),
        sa.Column("depth", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history")),
    )
    op.create_index(op.f("ix_history_at"), "history", ["at"], unique=False)
    op.create_index(op.f("ix_history_client_id"), "history", ["client_id"], unique=False)
    op.create_table(
        "hubs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hubs")),
    )
    op.create_table(
        "journal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
    )
    op.create_index(op.f("ix_journal_client_id"), "journal", ["client_id"], unique=False)
    op.create_index(
        op.f("ix_journal_client_id_agent_created_at"),
        "journal",
        ["client_id", "agent", "created_at"],
        unique=False,
    )
    op.create_index(op.f("ix_journal_created_at"), "journal", ["created_at"], unique=False)
    op.create_table(
        "knowledge",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("domain", sa.String(length=32), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), server_default="[]", nullable=False),
        sa.Column("source", sa.Text(), server_default="{}", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_knowledge")),
        sa.UniqueConstraint("id", name=op.f("uq_knowledge_id")),
    )
    op.create_index(op.f("ix_knowledge_client_id"), "knowledge", ["client_id"], unique=False)
    op.create_index(op.f("ix_knowledge_created_at"), "knowledge", ["created_at"], unique=False)
    op.create_table(
        "life_runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("activity", sa.String(length=32), nullable=False),
        sa.Column("slot", sa.String(length=64), nullable=False),
        sa.Column("hub", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("result", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_life_runs")),
        sa.UniqueConstraint(
            "client_id",
            "agent",
            "activity",
            "slot",
            name=op.f("uq_life_runs_client_id_agent_activity_slot"),
        ),
    )
    op.create_index(op.f("ix_life_runs_client_id"), "life_runs", ["client_id"], unique=False)
    op.create_table(
        "memories",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=256), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("namespace", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("tags", sa.Text(), server_default="[]", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memories")),
        sa.UniqueConstraint(
            "client_id",
            "namespace",
            "person",
            "key",
            name=op.f("uq_memories_client_id_namespace_person_key"),
        ),
    )
    op.create_index(op.f("ix_memories_client_id"), "memories", ["client_id"], unique=False)
    op.create_index(
        op.f("ix_memories_client_id_person_updated_at"),
        "memories",
        ["client_id", "person", "updated_at"],
        unique=False,
    )
    op.create_table(
        "messages",
        sa.Column("session_key", sa.String(length=256), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.Column("superseded", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_key", "seq", name=op.f("pk_messages")),
    )
    op.create_index(op.f("ix_messages_client_id"), "messages", ["client_id"], unique=False)
    op.create_table(
        "owner",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owner")),
    )
    op.create_table(
        "posts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("article_url", sa.String(length=1024), nullable=True),
        sa.Column("delivered", sa.Text(), server_default="[]", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posts")),
    )
    op.create_index(op.f("ix_posts_client_id"), "posts", ["client_id"], unique=False)
    op.create_index(op.f("ix_posts_created_at"), "posts", ["created_at"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("caller", sa.String(length=256), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("process_id", sa.String(length=8), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("summary_seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("end_cause", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_client_id"), "sessions", ["client_id"], unique=False)
    op.create_index(
        op.f("ix_sessions_client_id_caller_agent"),
        "sessions",
        ["client_id", "caller", "agent"],
        unique=False,
    )
    op.create_index(
        op.f("ix_sessions_client_id_digest"),
        "sessions",
        ["client_id", "digest"],
        unique=False,
    )
    op.create_index(op.f("ix_sessions_updated_at"), "sessions", ["updated_at"], unique=False)
    op.create_table(
        "slack_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("team_id", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("ts", sa.String(length=32), nullable=True),
        sa.Column("lane", sa.String(length=200), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("hub", sa.String(length=32), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("session_key", sa.String(length=256), nullable=True),
        sa.Column("replies", sa.Text(), server_default="[]", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slack_events")),
        sa.UniqueConstraint(
            "app", "team_id", "event_id", name=op.f("uq_slack_events_app_team_id_event_id")
        ),
        sa.UniqueConstraint(
            "app", "team_id", "channel", "ts", name=op.f("uq_slack_events_app_team_id_channel_ts")
        ),
    )
    op.create_index(
        op.f("ix_slack_events_accepted_at"), "slack_events", ["accepted_at"], unique=False
    )
    op.create_index(op.f("ix_slack_events_client_id"), "slack_events", ["client_id"], unique=False)
    op.create_index(
        op.f("ix_slack_events_lane_status"), "slack_events", ["lane", "status"], unique=False
    )
    op.create_index(
        op.f("ix_slack_events_status_hub"), "slack_events", ["status", "hub"], unique=False
    )
    op.create_table(
        "slack_installations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("enterprise_id", sa.String(length=64), nullable=False),
        sa.Column("team_id", sa.String(length=64), nullable=False),
        sa.Column("bot_user_id", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("rotating_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("installed_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slack_installations")),
        sa.UniqueConstraint(
            "client_id",
            "enterprise_id",
            "team_id",
            name=op.f("uq_slack_installations_client_id_enterprise_id_team_id"),
        ),
    )
    op.create_index(
        op.f("ix_slack_installations_client_id"), "slack_installations", ["client_id"], unique=False
    )
    op.create_table(
        "slack_states",
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_slack_states")),
    )
    op.create_index(op.f("ix_slack_states_client_id"), "slack_states", ["client_id"], unique=False)
    op.create_table(
        "slack_threads",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("team_id", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("thread_ts", sa.String(length=32), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=True),
        sa.Column("caller", sa.String(length=256), nullable=False),
        sa.Column("session_key", sa.String(length=256), nullable=True),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("summarised_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slack_threads")),
        sa.UniqueConstraint(
            "team_id",
            "channel",
            "thread_ts",
            name=op.f("uq_slack_threads_team_id_channel_thread_ts"),
        ),
    )
    op.create_index(
        op.f("ix_slack_threads_client_id"), "slack_threads", ["client_id"], unique=False
    )
    op.create_index(op.f("ix_slack_threads_last_at"), "slack_threads", ["last_at"], unique=False)
    op.create_table(
        "subdomains",
        sa.Column("label", sa.String(length=63), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("label", name=op.f("pk_subdomains")),
        sa.UniqueConstraint("client_id", "project", name=op.f("uq_subdomains_client_id_project")),
        sa.UniqueConstraint("port", name=op.f("uq_subdomains_port")),
    )
    op.create_index(op.f("ix_subdomains_client_id"), "subdomains", ["client_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
    )
    op.create_index(op.f("ix_tokens_client_id"), "tokens", ["client_id"], unique=False)
    op.create_table(
        "tool_calls",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("session_key", sa.String(length=256), nullable=False),
        sa.Column("process_id", sa.String(length=8), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("tool", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("arguments_sha256", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_calls")),
    )
    op.create_index(op.f("ix_tool_calls_client_id"), "tool_calls", ["client_id"], unique=False)
    op.create_index(op.f("ix_tool_calls_session_key"), "tool_calls", ["session_key"], unique=False)
    op.create_table(
        "vapi_calls",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("caller", sa.String(length=256), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=True),
        sa.Column("lines", sa.Text(), server_default="[]", nullable=False),
        sa.Column("tools", sa.Text(), server_default="{}", nullable=False),
        sa.Column("report", sa.Text(), nullable=True),
        sa.Column("ended_reason", sa.String(length=200), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("summary_state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hub", sa.String(length=32), server_default="", nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vapi_calls")),
        sa.UniqueConstraint("client_id", "call_id", name=op.f("uq_vapi_calls_client_id_call_id")),
    )
    op.create_index(op.f("ix_vapi_calls_client_id"), "vapi_calls", ["client_id"], unique=False)
    op.create_index(
        op.f("ix_vapi_calls_client_id_started_at"),
        "vapi_calls",
        ["client_id", "started_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_vapi_calls_summary_state"), "vapi_calls", ["summary_state"], unique=False
    )
    op.create_table(
        "elevenlabs_links",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_elevenlabs_links")),
    )
    op.create_index(
        op.f("ix_elevenlabs_links_client_id"), "elevenlabs_links", ["client_id"], unique=False
    )
    op.create_index(
        op.f("ix_elevenlabs_links_expires_at"), "elevenlabs_links", ["expires_at"], unique=False
    )
    op.create_table(
        "elevenlabs_conversations",
        sa.Column("conversation_id", sa.String(length=128), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("agent_id", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("caller", sa.String(length=256), nullable=True),
        sa.Column("lines", sa.Text(), server_default="[]", nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("duration_s", sa.Integer(), nullable=True),
        sa.Column("audio", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_elevenlabs_conversations")),
    )
    op.create_index(
        op.f("ix_elevenlabs_conversations_client_id"),
        "elevenlabs_conversations",
        ["client_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_elevenlabs_conversations_received_at"),
        "elevenlabs_conversations",
        ["received_at"],
        unique=False,
    )
    if op.get_bind().dialect.name == "sqlite":
        _search_sqlite()
    else:
        _search_postgresql()


def _search_sqlite() -> None:
    """FTS5 beside the two searched tables, kept in step by triggers; English word stems."""
    for table, id, columns in (
        ("memories", "id", ("key", "content")),
        ("knowledge", "seq", ("title", "content")),
    ):
        names = ", ".join(columns)
        new = ", ".join(f"new.{column}" for column in columns)
        op.execute(
            f"CREATE VIRTUAL TABLE {table}_fts "
            f"USING fts5({names}, tokenize='porter unicode61 remove_diacritics 2')"
        )
        insert = f"INSERT INTO {table}_fts(rowid, {names}) VALUES (new.{id}, {new});"
        delete = f"DELETE FROM {table}_fts WHERE rowid = old.{id};"
        for event, body in (
            ("INSERT", insert),
            ("DELETE", delete),
            ("UPDATE", delete + insert),
        ):
            op.execute(
                f"CREATE TRIGGER {table}_fts_{event.lower()} AFTER {event} ON {table} "
                f"BEGIN {body} END"
            )


def _search_postgresql() -> None:
    for table, columns in (
        ("memories", "key || ' ' || content"),
        ("knowledge", "title || ' ' || content"),
    ):
        op.execute(
            f"CREATE INDEX {table}_fts ON {table} USING gin (to_tsvector('english', {columns}))"
        )
