"""Every table of the hub, one schema for SQLite and PostgreSQL.

Times are milliseconds since the epoch (UTC). Every tenant-owned table carries `client_id`; the
hub's own people live under the tenant `HOUSE`. Structured extras are JSON text written and read
by their owner. Changes here need a migration; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

HOUSE = "house"
"""The tenant that owns everything until a client is named."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _client() -> Column[str]:
    return Column("client_id", String(64), nullable=False, index=True)


def _row_id() -> Column[int]:
    # SQLite only counts up by itself in a column that is exactly INTEGER.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


sessions = Table(
    "sessions",
    metadata,
    Column("key", String(256), primary_key=True),
    _client(),
    Column("caller", String(256), nullable=False),  # caller id as in the API
    Column("channel", String(32), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("process_id", String(8), nullable=False),  # the latest process that served it
    Column("digest", String(64)),  # of the visible turns; finds anonymous callers again
    Column("summary", Text),  # what was said before `summary_seq`
    Column("summary_seq", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("end_cause", String(32)),
    Index(None, "client_id", "caller", "agent"),
    Index(None, "client_id", "digest"),
    Index(None, "updated_at"),
)

messages = Table(
    "messages",
    metadata,
    Column("session_key", String(256), primary_key=True),
    Column("seq", Integer, primary_key=True),
    _client(),
    Column("role", String(16), nullable=False),  # user, assistant, tool, system
    Column("content", Text, nullable=False),
    Column("extra", Text),  # JSON: parts, tool_calls, tool_call_id, interrupted, …
    Column("superseded", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
)

history = Table(
    "history",
    metadata,
    _row_id(),
    _client(),
    Column("type", String(32), nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
    Column("agent", String(64), nullable=False),
    Column("process_id", String(8), nullable=False, index=True),
    Column("task", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("duration_ms", BigInteger),
    Column("metrics", Text),
    Column("error", Text),
    Column("parent_id", String(8)),
    Column("parent_agent", String(64)),
    Column("depth", Integer),
    Column("hub", String(32)),  # which one runs it, at its start
)

memories = Table(
    "memories",
    metadata,
    _row_id(),
    _client(),
    Column("person", String(256), nullable=False),  # caller id; empty: shared by everyone
    Column("key", String(256), nullable=False),
    Column("content", Text, nullable=False),
    Column("author", String(64), nullable=False),  # agent that wrote it, or `api`
    Column("namespace", String(64), nullable=False, server_default="default"),
    Column("tags", Text, nullable=False, server_default="[]"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "namespace", "person", "key"),
    Index(None, "client_id", "person", "updated_at"),
)

knowledge = Table(
    "knowledge",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", String(8), nullable=False, unique=True),
    _client(),
    Column("type", String(32), nullable=False),
    Column("domain", String(32), nullable=False),
    Column("author", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("tags", Text, nullable=False, server_default="[]"),
    Column("source", Text, nullable=False, server_default="{}"),
    Column("created_at", BigInteger, nullable=False, index=True),
)

contacts = Table(
    "contacts",
    metadata,
    _row_id(),
    _client(),
    Column("name", String(200), nullable=False),
    Column("phone", String(32)),  # E.164; null, never empty, when unknown
    Column("email", String(200)),
    Column("company", String(200)),
    Column("role", String(200)),
    Column("notes", Text, nullable=False, server_default=""),
    Column("tags", Text, nullable=False, server_default="[]"),
    Column("found_by", Text, nullable=False),  # its words as `find` compares them
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "phone"),
)

journal = Table(
    "journal",
    metadata,
    _row_id(),
    _client(),
    Column("agent", String(64), nullable=False),
    Column("kind", String(32), nullable=False),  # the activity, or `note`
    Column("text", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
    Index(None, "client_id", "agent", "created_at"),
)

articles = Table(
    "articles",
    metadata,
    _row_id(),
    _client(),
    Column("agent", String(64), nullable=False),
    Column("url", String(1024), nullable=False),
    Column("title", Text, nullable=False),
    Column("source", String(200), nullable=False),
    Column("score", Float, nullable=False),
    Column("take", Text, nullable=False),
    Column("read_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "agent", "url"),
)

feeds = Table(  # a cache of public pages: nobody's in particular
    "feeds",
    metadata,
    Column("url", String(1024), primary_key=True),
    Column("etag", String(256)),
    Column("modified", String(256)),
    Column("entries", Text, nullable=False, server_default="[]"),
    Column("fetched_at", BigInteger, nullable=False),
    Column("error", Text),
)

goals = Table(
    "goals",
    metadata,
    _row_id(),
    _client(),
    Column("agent", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("progress", Integer, nullable=False, server_default="0"),  # percent
    Column("status", String(16), nullable=False, server_default="active"),
    Column("note", Text, nullable=False, server_default=""),
    Column("due_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "client_id", "agent"),
)

posts = Table(
    "posts",
    metadata,
    _row_id(),
    _client(),
    Column("agent", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("article_url", String(1024)),
    Column("delivered", Text, nullable=False, server_default="[]"),  # JSON: where else it went
    Column("created_at", BigInteger, nullable=False, index=True),
)

life_runs = Table(
    "life_runs",
    metadata,
    _row_id(),
    _client(),
    Column("agent", String(64), nullable=False),
    Column("activity", String(32), nullable=False),
    Column("slot", String(64), nullable=False),  # local time it was due, or `manual-…`
    Column("hub", String(32), nullable=False),  # who claimed it
    Column("status", String(16), nullable=False),  # running, completed, failed, skipped
    Column("result", Text, nullable=False, server_default=""),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    UniqueConstraint("client_id", "agent", "activity", "slot"),
)

delegations = Table(
    "delegations",
    metadata,
    Column("id", String(16), primary_key=True),
    _client(),
    Column("session_key", String(256), nullable=False, index=True),
    Column("process_id", String(8), nullable=False),
    Column("from_agent", String(64), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("task", Text, nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("result", Text),
    Column("reported", Boolean, nullable=False, server_default=false()),
    Column("hub", String(32), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
)

tool_calls = Table(  # the audit: one line a call
    "tool_calls",
    metadata,
    _row_id(),
    _client(),
    Column("session_key", String(256), nullable=False, index=True),
    Column("process_id", String(8), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("tool", String(64), nullable=False),
    Column("call_id", String(64), nullable=False),
    Column("arguments_sha256", String(64), nullable=False),
    Column("status", String(16), nullable=False),  # ok, failed, timeout, refused
    Column("error", Text),
    Column("duration_ms", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    _client(),
    Column("name", String(200), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

owner = Table(  # at most one row: who owns this hub
    "owner",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("password_hash", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

subdomains = Table(
    "subdomains",
    metadata,
    Column("label", String(63), primary_key=True),
    _client(),
    Column("project", String(200), nullable=False),
    Column("port", Integer, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "project"),
)

calls = Table(
    "calls",
    metadata,
    Column("id", String(32), primary_key=True),
    _client(),
    Column("wire", String(32), nullable=False),
    Column("direction", String(16), nullable=False),  # inbound, outbound
    Column("caller", String(256), nullable=False),
    Column("called", String(256), nullable=False, server_default=""),
    Column("external_id", String(128), index=True),  # the carrier's own id
    Column("agent", String(64), nullable=False),
    Column("hub", String(32), nullable=False),  # which one carries it
    Column("session_key", String(256), nullable=False, server_default=""),
    Column("started_at", BigInteger, nullable=False, index=True),
    Column("ended_at", BigInteger),
    Column("cause", String(64)),
    Column("recording", Text),  # folder, where recording is on
)

call_events = Table(  # the ledger: append-only, on the call's media clock
    "call_events",
    metadata,
    Column("call_id", String(32), primary_key=True),
    Column("seq", Integer, primary_key=True),
    _client(),
    Column("at", Integer, nullable=False),  # ms since the call began
    Column("kind", String(32), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("value", Integer, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(32), primary_key=True),
    _client(),
    Column("session_key", String(256), nullable=False, index=True),  # empty: none
    Column("owner", String(256), nullable=False),  # who asked for it
    Column("user_id", String(256), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("intent", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("priority", String(8), nullable=False),
    Column("status", String(24), nullable=False),
    Column("stretch", Integer, nullable=False),  # names the work in the durable queue
    Column("fence", String(16), nullable=False),  # of the step under way; empty: none
    Column("place", BigInteger, nullable=False),  # in the queue: created_at, shifted by priority
    Column("wake_at", BigInteger),
    Column("expires_at", BigInteger, nullable=False),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("client_key", String(200)),
    Column("digest", String(64), nullable=False),  # of the intent, to notice the same asked twice
    Column("last_event", Integer, nullable=False),  # its highest `task_events.seq`
    Column("result", Text),
    Column("code", String(40)),
    Column("detail", Text),
    Column("reported", Boolean, nullable=False, server_default=false()),  # told in the session
    Column("adopted", String(200), nullable=False, server_default=""),  # left-behind work,
    Column("adopter", String(32), nullable=False, server_default=""),  # and who took it up
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    UniqueConstraint("client_id", "client_key"),
    Index(None, "status", "wake_at"),
    Index(None, "client_id", "created_at"),
    Index(None, "client_id", "digest"),
)

task_steps = Table(
    "task_steps",
    metadata,
    Column("task_id", String(32), primary_key=True),
    Column("seq", Integer, primary_key=True),
    _client(),
    Column("node", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("tool", String(64), nullable=False),
    Column("arguments", Text, nullable=False),  # JSON
    Column("needs", Text, nullable=False),  # JSON: nodes
    Column("effect", String(16), nullable=False),
    Column("status", String(24), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("result", Text),
    Column("error", Text),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
)

task_events = Table(  # append-only; its ids order what happened in all tasks
    "task_events",
    metadata,
    _row_id(),
    _client(),
    Column("task_id", String(32), nullable=False),
    Column("session_key", String(256), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("body", Text, nullable=False),  # JSON
    UniqueConstraint("task_id", "seq"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", String(32), primary_key=True),
    _client(),
    Column("task_id", String(32), nullable=False, index=True),
    Column("node", String(16), nullable=False),  # of the step
    Column("attempt", Integer, nullable=False),  # it counts for this one
    Column("digest", String(64), nullable=False),  # of exactly what would be done
    Column("tool", String(64), nullable=False),
    Column("arguments", Text, nullable=False),  # JSON
    Column("prompt", Text, nullable=False),
    Column("risk", String(8), nullable=False),
    Column("status", String(16), nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("answered_at", BigInteger),
    Column("answered_by", String(256)),
    Column("through", String(16)),
    Column("reported", Boolean, nullable=False, server_default=false()),  # asked in the session
    Index(None, "status", "expires_at"),
)

task_policies = Table(  # what a tenant decided; for the rest `tron.tasks.policy` decides
    "task_policies",
    metadata,
    Column("client_id", String(64), primary_key=True),
    Column("agent", String(64), primary_key=True),  # empty: every agent
    Column("effect", String(16), primary_key=True),
    Column("decision", String(8), nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

call_tapes = Table(  # what each call's machine was told, in parts, for running it again
    "call_tapes",
    metadata,
    Column("call_id", String(32), primary_key=True),
    Column("part", Integer, primary_key=True),
    _client(),
    Column("data", LargeBinary, nullable=False),
)

hubs = Table(  # heartbeats, so that a peer knows which work was left behind
    "hubs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

slack_events = Table(  # what Slack told us: stored before it is acknowledged, handled once
    "slack_events",
    metadata,
    _row_id(),
    _client(),
    Column("app", String(64), nullable=False),  # persona with an app of its own; empty: shared app
    Column("team_id", String(64), nullable=False),
    Column("event_id", String(255), nullable=False),
    Column("kind", String(16), nullable=False),  # message, command, opened
    Column("channel", String(64), nullable=False),
    Column("ts", String(32)),  # of the message; null where there is none
    Column("lane", String(200), nullable=False),  # its events are answered one after another
    Column("payload", Text, nullable=False),
    Column("status", String(16), nullable=False),  # waiting, working, done, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("hub", String(32), nullable=False),  # whose it is, until `lease_until`
    Column("lease_until", BigInteger, nullable=False),
    Column("session_key", String(256)),
    Column("replies", Text, nullable=False, server_default="[]"),  # JSON: messages written so far
    Column("error", Text),
    Column("accepted_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    UniqueConstraint("app", "team_id", "event_id"),
    UniqueConstraint("app", "team_id", "channel", "ts"),
    Index(None, "status", "hub"),
    Index(None, "lane", "status"),
    Index(None, "accepted_at"),
)

slack_threads = Table(
    "slack_threads",
    metadata,
    _row_id(),
    _client(),
    Column("app", String(64), nullable=False),  # the app that was last spoken to
    Column("team_id", String(64), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("thread_ts", String(32), nullable=False),  # empty: a direct message outside a thread
    Column("agent", String(64)),  # who answers here; null until somebody did
    Column("caller", String(256), nullable=False),  # who began it
    Column("session_key", String(256), index=True),
    Column("last_at", BigInteger, nullable=False, index=True),
    Column("summarised_at", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("team_id", "channel", "thread_ts"),
)

slack_questions = Table(  # approvals asked in Slack: posted once, and changed when answered
    "slack_questions",
    metadata,
    Column("approval_id", String(32), primary_key=True),
    _client(),
    Column("app", String(64), nullable=False),  # the app that asks
    Column("team_id", String(64), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("thread_ts", String(32), nullable=False),  # empty: not in a thread
    Column("ts", String(32), nullable=False, server_default=""),  # empty: not posted yet
    Column("closed", Boolean, nullable=False, server_default=false()),  # it shows the answer
    Column("lease_until", BigInteger, nullable=False),  # some hub is at it, or it is not tried
    Index(None, "closed", "lease_until"),
)

slack_installations = Table(
    "slack_installations",
    metadata,
    _row_id(),
    _client(),
    Column("enterprise_id", String(64), nullable=False),  # empty: none
    Column("team_id", String(64), nullable=False),  # empty: the whole organisation
    Column("bot_user_id", String(64), nullable=False),
    Column("sealed", Text, nullable=False),  # the installation with its tokens, encrypted
    Column("expires_at", BigInteger),  # of the bot token; null: it does not expire
    Column("rotating_until", BigInteger, nullable=False, server_default="0"),
    Column("installed_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "enterprise_id", "team_id"),
)

slack_states = Table(  # single-use marks of installations under way
    "slack_states",
    metadata,
    Column("state", String(64), primary_key=True),
    _client(),
    Column("expires_at", BigInteger, nullable=False),
)

vapi_calls = Table(  # a call that VAPI carries, from its first event to its summary
    "vapi_calls",
    metadata,
    _row_id(),
    _client(),
    Column("call_id", String(200), nullable=False),
    Column("direction", String(16), nullable=False),  # inbound, outbound, web; empty: not said
    Column("status", String(32), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("caller", String(256)),  # caller id of the person on the line; null: not known
    Column("name", String(200)),
    Column("lines", Text, nullable=False, server_default="[]"),  # JSON: said so far, from events
    Column("tools", Text, nullable=False, server_default="{}"),  # JSON: tool call id -> result
    Column("report", Text),  # JSON: what is kept of the end-of-call report
    Column("ended_reason", String(200)),
    Column("summary", Text),
    Column("summary_state", String(16), nullable=False),  # none, waiting, working, done, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", BigInteger, nullable=False, server_default="0"),  # of a waiting summary
    Column("hub", String(32), nullable=False, server_default=""),  # which works on the summary
    Column("started_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    UniqueConstraint("client_id", "call_id"),
    Index(None, "client_id", "started_at"),
    Index(None, "summary_state"),
)

elevenlabs_links = Table(  # signed addresses that let one socket in each; gone once used
    "elevenlabs_links",
    metadata,
    Column("sha256", String(64), primary_key=True),
    _client(),
    Column("agent", String(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

elevenlabs_conversations = Table(  # what ElevenLabs tells of the conversations it held
    "elevenlabs_conversations",
    metadata,
    Column("conversation_id", String(128), primary_key=True),
    _client(),
    Column("agent_id", String(128), nullable=False),  # theirs
    Column("status", String(32), nullable=False),
    Column("caller", String(256)),
    Column("lines", Text, nullable=False, server_default="[]"),  # JSON: role, text, at_s
    Column("summary", Text),
    Column("duration_s", Integer),
    Column("audio", Text),  # file, where recording is on
    Column("error", Text),
    Column("received_at", BigInteger, nullable=False, index=True),
)
