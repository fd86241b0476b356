"""Every table of the hub, one schema for SQLite and PostgreSQL.

Times are milliseconds since the epoch (UTC). Every tenant-owned table carries `client_id`; the
hub's own people live under the tenant `HOUSE`. Text is `Words`. Structured extras are JSON text
written and read by their owner. Changes here need a migration; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.types import TypeEngine

from tron.storage.text import storable

HOUSE = "house"
"""The tenant that owns everything until a client is named."""


class Words(TypeDecorator[str]):
    """Text of at most `length` characters, or of any; what a database refuses in it is left out
    wherever it is stored or compared."""

    impl: TypeEngine[str] | type[TypeEngine[str]] = Text
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__()
        self.length = length
        if length is not None:
            self.impl = String(length)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value if value is None else storable(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _client() -> Column[str]:
    return Column("client_id", Words(64), nullable=False, index=True)


def _row_id() -> Column[int]:
    # SQLite only counts up by itself in a column that is exactly INTEGER.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


sessions = Table(
    "sessions",
    metadata,
    Column("key", Words(256), primary_key=True),
    _client(),
    Column("caller", Words(256), nullable=False),  # caller id as in the API
    Column("channel", Words(32), nullable=False),
    Column("agent", Words(64), nullable=False),
    Column("process_id", Words(8), nullable=False),  # the latest process that served it
    Column("digest", Words(64)),  # of the visible turns; finds anonymous callers again
    Column("summary", Words),  # what was said before `summary_seq`
    Column("summary_seq", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("end_cause", Words(32)),
    Index(None, "client_id", "caller", "agent"),
    Index(None, "client_id", "digest"),
    Index(None, "updated_at"),
)

messages = Table(
    "messages",
    metadata,
    Column("session_key", Words(256), primary_key=True),
    Column("seq", Integer, primary_key=True),
    _client(),
    Column("role", Words(16), nullable=False),  # user, assistant, tool, system
    Column("content", Words, nullable=False),
    Column("extra", Words),  # JSON: parts, tool_calls, tool_call_id, interrupted, …
    Column("superseded", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
)

history = Table(
    "history",
    metadata,
    _row_id(),
    _client(),
    Column("type", Words(32), nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
    Column("agent", Words(64), nullable=False),
    Column("process_id", Words(8), nullable=False, index=True),
    Column("task", Words, nullable=False),
    Column("status", Words(16), nullable=False),
    Column("duration_ms", BigInteger),
    Column("metrics", Words),
    Column("error", Words),
    Column("parent_id", Words(8)),
    Column("parent_agent", Words(64)),
    Column("depth", Integer),
    Column("hub", Words(32)),  # which one runs it, at its start
)

memories = Table(
    "memories",
    metadata,
    _row_id(),
    _client(),
    Column("person", Words(256), nullable=False),  # caller id; empty: shared by everyone
    Column("key", Words(256), nullable=False),
    Column("content", Words, nullable=False),
    Column("author", Words(64), nullable=False),  # agent that wrote it, or `api`
    Column("tags", Words, nullable=False, server_default="[]"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "person", "key"),
    Index(None, "client_id", "person", "updated_at"),
)

knowledge = Table(
    "knowledge",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", Words(8), nullable=False, unique=True),
    _client(),
    Column("type", Words(32), nullable=False),
    Column("domain", Words(32), nullable=False),
    Column("author", Words(64), nullable=False),
    Column("title", Words, nullable=False),
    Column("content", Words, nullable=False),
    Column("tags", Words, nullable=False, server_default="[]"),
    Column("source", Words, nullable=False, server_default="{}"),
    Column("created_at", BigInteger, nullable=False, index=True),
)

contacts = Table(
    "contacts",
    metadata,
    _row_id(),
    _client(),
    Column("name", Words(200), nullable=False),
    Column("phone", Words(32)),  # E.164; null, never empty, when unknown
    Column("email", Words(200)),
    Column("company", Words(200)),
    Column("role", Words(200)),
    Column("notes", Words, nullable=False, server_default=""),
    Column("tags", Words, nullable=False, server_default="[]"),
    Column("found_by", Words, nullable=False),  # its words as `find` compares them
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "phone"),
)

journal = Table(
    "journal",
    metadata,
    _row_id(),
    _client(),
    Column("agent", Words(64), nullable=False),
    Column("kind", Words(32), nullable=False),  # the activity, or `note`
    Column("text", Words, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
    Index(None, "client_id", "agent", "created_at"),
)

articles = Table(
    "articles",
    metadata,
    _row_id(),
    _client(),
    Column("agent", Words(64), nullable=False),
    Column("url", Words(1024), nullable=False),
    Column("title", Words, nullable=False),
    Column("source", Words(200), nullable=False),
    Column("score", Float, nullable=False),
    Column("take", Words, nullable=False),
    Column("read_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "agent", "url"),
)

feeds = Table(  # a cache of public pages: nobody's in particular
    "feeds",
    metadata,
    Column("url", Words(1024), primary_key=True),
    Column("etag", Words(256)),
    Column("modified", Words(256)),
    Column("entries", Words, nullable=False, server_default="[]"),
    Column("fetched_at", BigInteger, nullable=False),
    Column("error", Words),
)

goals = Table(
    "goals",
    metadata,
    _row_id(),
    _client(),
    Column("agent", Words(64), nullable=False),
    Column("title", Words, nullable=False),
    Column("progress", Integer, nullable=False, server_default="0"),  # percent
    Column("status", Words(16), nullable=False, server_default="active"),
    Column("note", Words, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "client_id", "agent"),
)

posts = Table(
    "posts",
    metadata,
    _row_id(),
    _client(),
    Column("agent", Words(64), nullable=False),
    Column("text", Words, nullable=False),
    Column("article_url", Words(1024)),
    Column("delivered", Words, nullable=False, server_default="[]"),  # JSON: where else it went
    Column("created_at", BigInteger, nullable=False, index=True),
)

life_runs = Table(
    "life_runs",
    metadata,
    _row_id(),
    _client(),
    Column("agent", Words(64), nullable=False),
    Column("activity", Words(32), nullable=False),
    Column("slot", Words(64), nullable=False),  # local time it was due, or `manual-…`
    Column("hub", Words(32), nullable=False),  # who claimed it
    Column("status", Words(16), nullable=False),  # running, completed, failed, skipped
    Column("result", Words, nullable=False, server_default=""),
    Column("started_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "agent", "activity", "slot"),
)

delegations = Table(
    "delegations",
    metadata,
    Column("id", Words(16), primary_key=True),
    _client(),
    Column("session_key", Words(256), nullable=False, index=True),
    Column("process_id", Words(8), nullable=False),
    Column("from_agent", Words(64), nullable=False),
    Column("agent", Words(64), nullable=False),
    Column("task", Words, nullable=False),
    Column("status", Words(16), nullable=False, index=True),
    Column("result", Words),
    Column("reported", Boolean, nullable=False, server_default=false()),
    Column("hub", Words(32), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
)

tool_calls = Table(  # the audit: one line a call
    "tool_calls",
    metadata,
    _row_id(),
    _client(),
    Column("session_key", Words(256), nullable=False, index=True),
    Column("process_id", Words(8), nullable=False),
    Column("agent", Words(64), nullable=False),
    Column("tool", Words(64), nullable=False),
    Column("call_id", Words(64), nullable=False),
    Column("arguments_sha256", Words(64), nullable=False),
    Column("status", Words(16), nullable=False),  # ok, failed, timeout, refused
    Column("error", Words),
    Column("duration_ms", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Words(16), primary_key=True),
    _client(),
    Column("name", Words(200), nullable=False),
    Column("sha256", Words(64), nullable=False, unique=True),
    Column("scopes", Words(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

owner = Table(  # at most one row: who owns this hub
    "owner",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("password_hash", Words(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

subdomains = Table(
    "subdomains",
    metadata,
    Column("label", Words(63), primary_key=True),
    _client(),
    Column("project", Words(200), nullable=False),
    Column("port", Integer, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "project"),
)

calls = Table(
    "calls",
    metadata,
    Column("id", Words(32), primary_key=True),
    _client(),
    Column("wire", Words(32), nullable=False),
    Column("direction", Words(16), nullable=False),  # inbound, outbound
    Column("caller", Words(256), nullable=False),
    Column("called", Words(256), nullable=False, server_default=""),
    Column("external_id", Words(128), index=True),  # the carrier's own id
    Column("agent", Words(64), nullable=False),
    Column("hub", Words(32), nullable=False),  # which one carries it
    Column("session_key", Words(256), nullable=False, server_default=""),
    Column("started_at", BigInteger, nullable=False, index=True),
    Column("ended_at", BigInteger),
    Column("cause", Words(64)),
    Column("recording", Words),  # folder, where recording is on
)

call_events = Table(  # the ledger: append-only, on the call's media clock
    "call_events",
    metadata,
    Column("call_id", Words(32), primary_key=True),
    Column("seq", Integer, primary_key=True),
    _client(),
    Column("at", Integer, nullable=False),  # ms since the call began
    Column("kind", Words(32), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("text", Words, nullable=False),
    Column("value", Integer, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Words(32), primary_key=True),
    _client(),
    Column("session_key", Words(256), nullable=False, index=True),  # empty: none
    Column("owner", Words(256), nullable=False),  # who asked for it
    Column("user_id", Words(256), nullable=False),
    Column("channel", Words(32), nullable=False),
    Column("agent", Words(64), nullable=False),
    Column("intent", Words, nullable=False),
    Column("summary", Words, nullable=False),
    Column("mode", Words(16), nullable=False),
    Column("priority", Words(8), nullable=False),
    Column("status", Words(24), nullable=False),
    Column("stretch", Integer, nullable=False),  # names the work in the durable queue
    Column("fence", Words(16), nullable=False),  # of the step under way; empty: none
    Column("place", BigInteger, nullable=False),  # in the queue: created_at, shifted by priority
    Column("wake_at", BigInteger),
    Column("expires_at", BigInteger, nullable=False),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("client_key", Words(200)),
    Column("digest", Words(64), nullable=False),  # of the intent, to notice the same asked twice
    Column("last_event", Integer, nullable=False),  # its highest `task_events.seq`
    Column("result", Words),
    Column("code", Words(40)),
    Column("detail", Words),
    Column("reported", Boolean, nullable=False, server_default=false()),  # told in the session
    Column("adopted", Words(200), nullable=False, server_default=""),  # left-behind work,
    Column("adopter", Words(32), nullable=False, server_default=""),  # and who took it up
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
    Column("task_id", Words(32), primary_key=True),
    Column("seq", Integer, primary_key=True),
    _client(),
    Column("node", Words(16), nullable=False),
    Column("title", Words, nullable=False),
    Column("tool", Words(64), nullable=False),
    Column("arguments", Words, nullable=False),  # JSON
    Column("needs", Words, nullable=False),  # JSON: nodes
    Column("effect", Words(16), nullable=False),
    Column("status", Words(24), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("result", Words),
    Column("error", Words),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
)

task_events = Table(  # append-only; its ids order what happened in all tasks
    "task_events",
    metadata,
    _row_id(),
    _client(),
    Column("task_id", Words(32), nullable=False),
    Column("session_key", Words(256), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", Words(32), nullable=False),
    Column("body", Words, nullable=False),  # JSON
    UniqueConstraint("task_id", "seq"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Words(32), primary_key=True),
    _client(),
    Column("task_id", Words(32), nullable=False, index=True),
    Column("node", Words(16), nullable=False),  # of the step
    Column("attempt", Integer, nullable=False),  # it counts for this one
    Column("digest", Words(64), nullable=False),  # of exactly what would be done
    Column("tool", Words(64), nullable=False),
    Column("arguments", Words, nullable=False),  # JSON
    Column("prompt", Words, nullable=False),
    Column("risk", Words(8), nullable=False),
    Column("status", Words(16), nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("answered_at", BigInteger),
    Column("answered_by", Words(256)),
    Column("through", Words(16)),
    Column("reported", Boolean, nullable=False, server_default=false()),  # asked in the session
    Index(None, "status", "expires_at"),
)

task_policies = Table(  # what a tenant decided; for the rest `tron.tasks.policy` decides
    "task_policies",
    metadata,
    Column("client_id", Words(64), primary_key=True),
    Column("agent", Words(64), primary_key=True),  # empty: every agent
    Column("effect", Words(16), primary_key=True),
    Column("decision", Words(8), nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

call_tapes = Table(  # what each call's machine was told, in parts, for running it again
    "call_tapes",
    metadata,
    Column("call_id", Words(32), primary_key=True),
    Column("part", Integer, primary_key=True),
    _client(),
    Column("data", LargeBinary, nullable=False),
)

hubs = Table(  # heartbeats, so that a peer knows which work was left behind
    "hubs",
    metadata,
    Column("id", Words(32), primary_key=True),
    Column("seen_at", BigInteger, nullable=False),
)

slack_events = Table(  # what Slack told us: stored before it is acknowledged, handled once
    "slack_events",
    metadata,
    _row_id(),
    _client(),
    Column("app", Words(64), nullable=False),  # persona with an app of its own; empty: shared app
    Column("team_id", Words(64), nullable=False),
    Column("event_id", Words(255), nullable=False),
    Column("kind", Words(16), nullable=False),  # message, command, opened
    Column("channel", Words(64), nullable=False),
    Column("ts", Words(32)),  # of the message; null where there is none
    Column("lane", Words(200), nullable=False),  # its events are answered one after another
    Column("payload", Words, nullable=False),
    Column("status", Words(16), nullable=False),  # waiting, working, done, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("hub", Words(32), nullable=False),  # whose it is, until `lease_until`
    Column("lease_until", BigInteger, nullable=False),
    Column("session_key", Words(256)),
    Column("replies", Words, nullable=False, server_default="[]"),  # JSON: messages written so far
    Column("accepted_at", BigInteger, nullable=False),
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
    Column("app", Words(64), nullable=False),  # the app that was last spoken to
    Column("team_id", Words(64), nullable=False),
    Column("channel", Words(64), nullable=False),
    Column("thread_ts", Words(32), nullable=False),  # empty: a direct message outside a thread
    Column("agent", Words(64)),  # who answers here; null until somebody did
    Column("caller", Words(256), nullable=False),  # who began it
    Column("session_key", Words(256), index=True),
    Column("last_at", BigInteger, nullable=False, index=True),
    Column("summarised_at", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("team_id", "channel", "thread_ts"),
)

slack_questions = Table(  # approvals asked in Slack: posted once, and changed when answered
    "slack_questions",
    metadata,
    Column("approval_id", Words(32), primary_key=True),
    _client(),
    Column("app", Words(64), nullable=False),  # the app that asks
    Column("team_id", Words(64), nullable=False),
    Column("channel", Words(64), nullable=False),
    Column("thread_ts", Words(32), nullable=False),  # empty: not in a thread
    Column("ts", Words(32), nullable=False, server_default=""),  # empty: not posted yet
    Column("closed", Boolean, nullable=False, server_default=false()),  # it shows the answer
    Column("lease_until", BigInteger, nullable=False),  # some hub is at it, or it is not tried
    Index(None, "closed", "lease_until"),
)

slack_installations = Table(
    "slack_installations",
    metadata,
    _row_id(),
    _client(),
    Column("enterprise_id", Words(64), nullable=False),  # empty: none
    Column("team_id", Words(64), nullable=False),  # empty: the whole organisation
    Column("sealed", Words, nullable=False),  # the installation with its tokens, encrypted
    Column("expires_at", BigInteger),  # of the bot token; null: it does not expire
    Column("rotating_until", BigInteger, nullable=False, server_default="0"),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "enterprise_id", "team_id"),
)

slack_states = Table(  # single-use marks of installations under way
    "slack_states",
    metadata,
    Column("state", Words(64), primary_key=True),
    _client(),
    Column("expires_at", BigInteger, nullable=False),
)

vapi_calls = Table(  # a call that VAPI carries, from its first event to its summary
    "vapi_calls",
    metadata,
    _row_id(),
    _client(),
    Column("call_id", Words(200), nullable=False),
    Column("direction", Words(16), nullable=False),  # inbound, outbound, web; empty: not said
    Column("status", Words(32), nullable=False),
    Column("agent", Words(64), nullable=False),
    Column("caller", Words(256)),  # caller id of the person on the line; null: not known
    Column("name", Words(200)),
    Column("lines", Words, nullable=False, server_default="[]"),  # JSON: said so far, from events
    Column("tools", Words, nullable=False, server_default="{}"),  # JSON: tool call id -> result
    Column("report", Words),  # JSON: what is kept of the end-of-call report
    Column("ended_reason", Words(200)),
    Column("summary", Words),
    Column("summary_state", Words(16), nullable=False),  # none, waiting, working, done, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", BigInteger, nullable=False, server_default="0"),  # of a waiting summary
    Column("hub", Words(32), nullable=False, server_default=""),  # which works on the summary
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
    Column("sha256", Words(64), primary_key=True),
    _client(),
    Column("agent", Words(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

elevenlabs_conversations = Table(  # what ElevenLabs tells of the conversations it held
    "elevenlabs_conversations",
    metadata,
    Column("conversation_id", Words(128), primary_key=True),
    _client(),
    Column("agent_id", Words(128), nullable=False),  # theirs
    Column("status", Words(32), nullable=False),
    Column("caller", Words(256)),
    Column("lines", Words, nullable=False, server_default="[]"),  # JSON: role, text, at_s
    Column("summary", Words),
    Column("duration_s", Integer),
    Column("audio", Words),  # file, where recording is on
    Column("error", Words),
    Column("received_at", BigInteger, nullable=False, index=True),
)
