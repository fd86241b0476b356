"""What is remembered is found again by whom it belongs to, in everyday words."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tron.clock import ManualClock
from tron.errors import Invalid
from tron.memory import search
from tron.memory.memory import Memory
from tron.storage.store import Store
from tron.storage.tables import HOUSE

ADA = "+14155551234"
BOB = "anonymous-1700000000000000001"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def memory(store: Store, clock: ManualClock) -> Memory:
    return Memory(store, clock)


async def note(memory: Memory, key: str, content: str, person: str = ADA) -> None:
    await memory.remember(HOUSE, person=person, key=key, content=content, author="tony")


@pytest.mark.parametrize(
    "question",
    [
        "what is my dog called?",
        "Dogs?",
        "Tell me the DOG's name, please",
        "do you remember who Rex is",
    ],
)
async def test_a_natural_question_finds_the_fact(memory: Memory, question: str) -> None:
    await note(memory, "dog", "The caller's dog is called Rex")
    await note(memory, "tea", "The caller drinks green tea in the morning")
    found = await memory.recall(HOUSE, person=ADA, query=question)
    assert found[0].key == "dog"
    assert 0 < found[0].similarity <= 1


async def test_word_stems_and_beginnings_match(memory: Memory) -> None:
    await note(memory, "home", "The caller lives in Berlin")
    for question in ("where do I live?", "living", "berl"):
        assert [e.key for e in await memory.recall(HOUSE, person=ADA, query=question)] == ["home"]
    assert await memory.recall(HOUSE, person=ADA, query="li") == []  # too short for a beginning


async def test_the_fact_with_more_of_the_words_comes_first(memory: Memory) -> None:
    await note(memory, "a", "The garden gate is green")
    await note(memory, "b", "The green car is parked behind the garden shed")
    await note(memory, "c", "Lunch is at noon")
    found = await memory.recall(HOUSE, person=ADA, query="Where is the green car, in the garden?")
    assert [entry.key for entry in found] == ["b", "a"]
    assert [entry.similarity for entry in found] == [1.0, 0.6667]


async def test_a_question_without_content_words_gets_the_newest(
    memory: Memory, clock: ManualClock
) -> None:
    await note(memory, "old", "Likes tea")
    clock.advance(1)
    await note(memory, "new", "Likes coffee")
    found = await memory.recall(HOUSE, person=ADA, query="what do you remember about me?", limit=1)
    assert [entry.key for entry in found] == ["new"]
    assert await memory.recall(HOUSE, person=BOB, query="what do you know about me?") == []


async def test_private_facts_stay_with_their_person(memory: Memory) -> None:
    await note(memory, "secret", "The launch code is swordfish", person=ADA)
    await note(memory, "secret", "The launch code is marlin", person=BOB)
    await note(memory, "code", "The launch code changes on Mondays", person="")
    for person, contents in (
        (ADA, {"The launch code is swordfish", "The launch code changes on Mondays"}),
        (BOB, {"The launch code is marlin", "The launch code changes on Mondays"}),
        ("anonymous-2", {"The launch code changes on Mondays"}),
        ("", {"The launch code changes on Mondays"}),
    ):
        for query in ("launch code", "what is it?"):
            found = await memory.recall(HOUSE, person=person, query=query)
            assert {entry.content for entry in found} == contents
    assert [e.content for e in await memory.about(HOUSE, BOB)] == ["The launch code is marlin"]


async def test_tenants_do_not_share(memory: Memory) -> None:
    await note(memory, "dog", "The dog is called Rex")
    assert await memory.recall("acme", person=ADA, query="dog") == []
    assert await memory.about("acme", ADA) == []
    assert not await memory.forget("acme", person=ADA, key="dog")


async def test_the_same_key_is_replaced_and_found_by_the_new_words_only(
    memory: Memory, clock: ManualClock
) -> None:
    await note(memory, "home", "Lives in Berlin")
    clock.advance(60)
    again = await memory.remember(
        HOUSE, person=ADA, key="home", content="Lives in Lisbon", author="maya", tags=["moved"]
    )
    assert again.updated_at - again.created_at == 60_000
    assert [entry.content for entry in await memory.about(HOUSE, ADA)] == ["Lives in Lisbon"]
    assert await memory.recall(HOUSE, person=ADA, query="Berlin") == []
    [found] = await memory.recall(HOUSE, person=ADA, query="Lisbon")
    assert (found.author, found.tags) == ("maya", ["moved"])


async def test_what_is_forgotten_is_gone(memory: Memory) -> None:
    await note(memory, "dog", "The dog is called Rex")
    await note(memory, "dog", "The dog of the house", person="")
    assert await memory.forget(HOUSE, person=ADA, key="dog")
    assert not await memory.forget(HOUSE, person=ADA, key="dog")
    found = await memory.recall(HOUSE, person=ADA, query="dog")
    assert [entry.content for entry in found] == ["The dog of the house"]


async def test_every_write_is_counted(memory: Memory) -> None:
    seen = [memory.changed]
    await note(memory, "dog", "Rex")
    seen.append(memory.changed)
    await memory.forget(HOUSE, person=ADA, key="dog")
    seen.append(memory.changed)
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("key", ["", "k" * 257])
async def test_an_impossible_key_is_refused(memory: Memory, key: str) -> None:
    with pytest.raises(Invalid):
        await note(memory, key, "anything")


async def test_characters_a_database_refuses_cost_nothing(memory: Memory) -> None:
    await note(memory, "odd\x00", "A fact\x00 with \ud800 odd characters 🐕")
    [entry] = await memory.about(HOUSE, ADA)
    assert (entry.key, entry.content) == ("odd", "A fact with  odd characters 🐕")
    assert await memory.forget(HOUSE, person=ADA, key="odd\x00")


SYNTAX = st.sampled_from(
    ["dog", '"', "'", "AND", "OR", "NOT", "NEAR(", "*", ":*", "&", "|", "!", "<->", "(", ")", "^",
     "-", "\\", "--", ";", "%", "_", "{a b}:", "content:", "²", "ǅ", "İ", "ß", "犬",
     "हिन्दी", "\x00"]
)  # fmt: skip


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(query=st.one_of(st.lists(SYNTAX, max_size=8).map(" ".join), st.text(max_size=60)))
async def test_no_text_can_break_the_query(memory: Memory, query: str) -> None:
    if not await memory.about(HOUSE, ADA):
        await note(memory, "dog", "The dog's name is Rex, " + 'O\'Hara "AND" 犬')
    found = await memory.recall(HOUSE, person=ADA, query=query)
    assert all(0 <= entry.similarity <= 1 for entry in found)
    if "dog" in search.words(query):
        assert [entry.key for entry in found] == ["dog"]


def test_content_words_leave_out_the_asking() -> None:
    assert search.words("Do you remember what my dog's name is?") == ["dog", "name"]
    assert search.words("?!... \"'") == []
    assert len(search.words(" ".join(f"word{n}" for n in range(100)))) == search.WORDS_LIMIT
