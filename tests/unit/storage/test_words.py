"""A character that a database refuses costs no one what stands around it, wherever it is."""

import re

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Row, delete, insert, select, update

from tron.clock import ManualClock
from tron.conversation import transcript
from tron.conversation.thinking import ToolRecord
from tron.conversation.transcript import Entry
from tron.conversation.turns import Message, ToolCall
from tron.memory.memory import Memory
from tron.storage.rows import insert_into
from tron.storage.store import Store
from tron.storage.tables import HOUSE, Words, delegations, feeds, metadata, sessions
from tron.storage.text import storable

ODD = "a\0b\ud83dc 🐕"
KEPT = "abc 🐕"

SESSION = {
    "client_id": HOUSE,
    "caller": "ann",
    "channel": "api",
    "agent": "tony",
    "process_id": "p",
    "created_at": 1,
    "updated_at": 1,
}


@given(st.text(st.characters() | st.sampled_from("\0\ud800\udfff🐕a")))
def test_all_but_what_is_refused_is_kept(text: str) -> None:
    assert storable(text) == re.sub("[\0\ud800-\udfff]", "", text)


def test_every_text_of_every_table_is_cleaned() -> None:
    for table in metadata.sorted_tables:
        for column in table.c:
            assert column.type.python_type is not str or isinstance(column.type, Words), column


async def test_in_work_given_to_a_colleague(store: Store) -> None:
    row = {
        "id": "d",
        "client_id": HOUSE,
        "session_key": "s",
        "process_id": "p",
        "from_agent": "tony",
        "agent": "maya",
        "task": ODD,
        "status": "running",
        "hub": "h",
        "started_at": 1,
    }
    await store.write(lambda c: c.execute(insert(delegations), row))
    done = update(delegations).where(delegations.c.id == "d\0").values(result=ODD)
    await store.write(lambda c: c.execute(done))
    async with store.read() as connection:
        found = (await connection.execute(select(delegations))).one()
    assert (found.task, found.result) == (KEPT, KEPT)


async def test_in_a_conversation(store: Store) -> None:
    """Its words lose the character; what lies there as JSON has NUL in another form, and keeps
    it."""
    calls = [ToolCall(id="1", name="write", arguments='{"path":"C:\\\\u0000 a\0b"}')]
    said = Message(role="assistant", content=ODD, tool_calls=calls, parts=[{"text": "\0"}])
    used = ToolRecord(id="1", name="write", arguments="", result="a\0b", ok=True)
    entry = Entry(seq=1, message=said, created_at=1, tools=[used])
    row = {"key": "s\0", "digest": "d", **SESSION}
    await store.write(lambda c: transcript.create(c, row, []))
    now = row | {"updated_at": 2}
    await store.write(lambda c: transcript.append(c, now, [entry], session="open"))
    await store.write(lambda c: transcript.change(c, HOUSE, "s", {"summary": ODD}))
    async with store.read() as connection:
        session = await transcript.find(connection, HOUSE, sessions.c.key == "\0s")
        [kept] = await transcript.load(connection, HOUSE, "s")
    assert isinstance(session, Row)
    assert (session.key, session.summary, session.updated_at) == ("s", KEPT, 2)
    assert kept.message.content == KEPT
    assert (kept.message.tool_calls, kept.message.parts) == (calls, said.parts)
    assert kept.tools == [used]


async def test_in_what_is_remembered(store: Store) -> None:
    memory = Memory(store, ManualClock())
    for content in ("first", ODD):  # the second in the place of the first
        await memory.remember(
            HOUSE, person="ann\0", key="k\0", content=content, author="tony", tags=[ODD]
        )
    [entry] = await memory.about(HOUSE, "\0ann")
    assert (entry.person, entry.key, entry.content, entry.tags) == ("ann", "k", KEPT, [KEPT])
    assert await memory.forget(HOUSE, person="ann", key="\0k")


async def test_in_what_is_looked_for(store: Store) -> None:
    urls = feeds.c.url
    new = insert_into(feeds, on_sqlite=store.sqlite)
    upsert = new.values(url="u\0/1", fetched_at=1).on_conflict_do_update(
        index_elements=["url"], set_={"error": ODD}
    )
    for _ in range(2):
        await store.write(lambda c: c.execute(upsert))
    async with store.read() as connection:
        for where in (
            urls == "u/\0001",
            urls.in_(["\ud83du/1", "x"]),
            urls.startswith("\0u/", autoescape=True),
            urls > "t\0",
            (urls + "\0") == "u/1",
        ):
            found = (await connection.execute(select(feeds).where(where))).all()
            assert [(row.url, row.error) for row in found] == [("u/1", KEPT)]
    gone = delete(feeds).where(urls == "\0u/1")
    assert await store.write(lambda c: c.execute(gone).rowcount) == 1
