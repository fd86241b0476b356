"""A conversation in a few lines, without a model."""

from hypothesis import given
from hypothesis import strategies as st

from tron.brain.offline import summarise
from tron.conversation.turns import Message

TALK = [
    Message(role="system", content="You are Tony."),
    Message(role="user", content="Hi there! My name is Ana and I live in Lisbon."),
    Message(role="assistant", content="Nice to meet you. I'll remember that."),
    Message(role="user", content="It rained a lot over the weekend. Could you check the runway?"),
    Message(role="tool", content="secret tool output"),
    Message(role="assistant", content="I will ask Jordan about the runway tomorrow."),
    Message(role="user", content="Clouds everywhere, honestly."),
]


def test_it_keeps_facts_wishes_and_promises_in_order() -> None:
    lines = summarise(TALK, 1_000).splitlines()
    told = next(i for i, line in enumerate(lines) if line.startswith("Told: My name is Ana"))
    asked = lines.index("Wanted: Could you check the runway?")
    promised = lines.index("Promised: I will ask Jordan about the runway tomorrow.")
    assert told < asked < promised
    assert "tool output" not in "\n".join(lines)
    assert "You are Tony" not in "\n".join(lines)


def test_what_matters_survives_when_room_is_short() -> None:
    short = summarise(TALK, 120)
    assert len(short) <= 120
    assert "Ana" in short
    assert "Clouds" not in short


def test_a_summary_can_be_folded_into_the_next() -> None:
    first = summarise(TALK, 1_000)
    later = [Message(role="system", content=f"Earlier:\n{first}")]
    later += [Message(role="user", content="I work at Acme.")]
    second = summarise(later, 1_000)
    assert "Told: My name is Ana" in second
    assert second.endswith("Told: I work at Acme.")


def test_nothing_to_say() -> None:
    assert summarise([], 100) == ""
    assert summarise(TALK, 0) == ""


@given(
    st.lists(
        st.builds(
            Message, role=st.sampled_from(["user", "assistant", "system"]), content=st.text()
        ),
        max_size=8,
    ),
    st.integers(0, 300),
)
def test_it_never_exceeds_its_limit(talk: list[Message], limit: int) -> None:
    assert len(summarise(talk, limit)) <= limit


def test_long_conversations_take_no_long_time() -> None:
    talk = [Message(role="user", content="my " * 3_000 + "is")] * 300
    assert len(summarise(talk, 500)) <= 500
