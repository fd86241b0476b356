"""The caller's memory against the hub's: nothing twice, nothing lost, the caller's order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.conversation.conftest import assistant, user
from tron.conversation.reconcile import EMPTY_DIGEST, digest, reconcile, split
from tron.conversation.turns import Message, ToolCall

CALL = ToolCall(id="c1", name="weather", arguments="{}")
CALLING = Message(role="assistant", tool_calls=[CALL])
RESULT = Message(role="tool", content="snow", tool_call_id="c1")


def talk(text: str) -> list[Message]:
    """`u1 a1 u2`: u is the user, a the assistant."""
    return [(user if word[0] == "u" else assistant)(word) for word in text.split()]


def shown(messages: list[Message]) -> str:
    return " ".join(message.content for message in messages)


CASES = {
    # name: (stored, sent, what the model reads, how many stored hold, what is added)
    "first message": ("", "u1", "u1", 0, "u1"),
    "only the last message": ("u1 a1", "u2", "u1 a1 u2", 2, "u2"),
    "the whole history": ("u1 a1", "u1 a1 u2", "u1 a1 u2", 2, "u2"),
    "the last part of it": ("u1 a1 u2 a2", "u2 a2 u3", "u1 a1 u2 a2 u3", 4, "u3"),
    "more than is held": ("u3 a3", "u1 a1 u2 a2 u3 a3 u4", "u1 a1 u2 a2 u3 a3 u4", 2, "u4"),
    "a history nobody knew": ("", "u1 a1 u2", "u1 a1 u2", 0, "u1 a1 u2"),
    "another history": ("u1 a1", "u8 a8 u9", "u1 a1 u8 a8 u9", 2, "u8 a8 u9"),
    "a cut answer": ("u1 a1 u2 answer", "u1 a1 u2 ans u3", "u1 a1 u2 ans u3", 3, "ans u3"),
    "a cut first answer": ("u1 answer", "u1 ans u2", "u1 ans u2", 1, "ans u2"),
    "asked again with history": ("u1 a1 u2 a2", "u1 a1 u2", "u1 a1 u2", 3, ""),
    "retry of what was never answered": ("u1", "u1", "u1", 1, ""),
    "such a retry with history": ("u1 a1 u2", "u1 a1 u2", "u1 a1 u2", 3, ""),
    "such a retry without history": ("u1 a1 u2", "u2", "u1 a1 u2", 3, ""),
    "said again after an answer": ("u1 a1", "u1", "u1 a1 u1", 2, "u1"),
    "more after an unanswered message": ("u1", "u1 u2", "u1 u2", 1, "u2"),
    "the same with history": ("u1 a1 u2", "u1 a1 u2 u3", "u1 a1 u2 u3", 3, "u3"),
    "the same without history": ("u1 a1 u2", "u2 u3", "u1 a1 u2 u3", 3, "u3"),
    "something else after an unanswered message": ("u1 a1 u2", "u1 a1 u3", "u1 a1 u2 u3", 3, "u3"),
    "a cut answer after a summary": (
        "u3 a3 u4 answer",
        "u1 a1 u2 a2 u3 a3 u4 ans u5",
        "u1 a1 u2 a2 u3 a3 u4 ans u5",
        3,
        "ans u5",
    ),
    "a retry after a summary": (
        "u2 a2 u3",
        "u1 a1 u2 a2 u3",
        "u1 a1 u2 a2 u3",
        3,
        "",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_cases(case: tuple[str, str, str, int, str]) -> None:
    stored, sent, read, keep, added = case
    outcome = reconcile(talk(stored), *split(talk(sent)))
    assert shown(outcome.context) == read
    assert (outcome.keep, shown(outcome.add)) == (keep, added)


EDITS = {
    # name: (stored, sent, places of what followed its whole talk, what the model reads, kept)
    "an edited message": ("u1 a1 u2 a2", "u1 a1 u9", {2}, "u1 a1 u9", 2),
    "edited further back": ("u1 a1 u2 a2 u3 a3", "u1 a1 u9", {2, 4}, "u1 a1 u9", 2),
    "edited before it was answered": ("u1 a1 u2", "u1 a1 u9", {2}, "u1 a1 u9", 2),
    "edited after a summary": ("u2 a2 u3 a3", "u1 a1 u2 a2 u9", {2}, "u1 a1 u2 a2 u9", 2),
    "said by a client without history": ("u1 a1 u2 a2", "u1 a1 u9", {}, "u1 a1 u2 a2 u9", 4),
    "the persona's own remark": ("u1 a1 a2", "u1 a1 u9", {}, "u1 a1 a2 u9", 3),
    "a client that sends the end": ("u0 a0 u1 a1 u2 a2", "u1 a1 u9", {4}, None, 6),
    "a greeting begins every talk": ("a0 u1 a1 u2 a2", "a0 u9", {1, 3}, "a0 u1 a1 u2 a2 u9", 5),
    "asked again": ("u1 a1 u2 a2", "u1 a1 u2", {2}, "u1 a1 u2", 3),
}


@pytest.mark.parametrize("case", EDITS.values(), ids=list(EDITS))
def test_what_was_said_otherwise_is_replaced_and_nothing_else(
    case: tuple[str, str, set[int], str | None, int],
) -> None:
    stored, sent, followed, read, keep = case
    outcome = reconcile(talk(stored), *split(talk(sent)), followed=followed)
    assert shown(outcome.context) == (read or f"{stored} {sent.split()[-1]}")
    assert outcome.keep == keep


@pytest.mark.parametrize(
    ("stored", "sent", "follows"),
    [
        ("", "u1", None),
        ("u1 a1", "u2", None),
        ("u1 a1", "u1 a1 u2", 0),
        ("", "u1 a1 u2", 2),
        ("u1 answer", "u1 ans u2", 1),
        ("u1 a1 u2 a2", "u2 a2 u3", None),
        ("u1 a1 u2 a2", "u1 a1 u3", None),
        ("a0", "a0 u1", None),
    ],
)
def test_what_follows_its_whole_talk_is_known(stored: str, sent: str, follows: int | None) -> None:
    assert reconcile(talk(stored), *split(talk(sent))).follows == follows


def test_tool_results_are_new_and_a_retry_of_them_is_not() -> None:
    stored = [user("u1"), CALLING]
    outcome = reconcile(stored, *split([user("u1"), CALLING, RESULT]))
    assert outcome.context == [user("u1"), CALLING, RESULT]
    assert outcome.add == [RESULT]
    assert reconcile([*stored, RESULT], *split([user("u1"), CALLING, RESULT])).add == []
    assert reconcile([*stored, RESULT], *split([RESULT])).context == [user("u1"), CALLING, RESULT]


def test_white_space_around_an_answer_makes_no_difference() -> None:
    outcome = reconcile(talk("u1 a1"), [user("u1"), assistant(" a1\n")], [user("u2")])
    assert outcome.add == [user("u2")]


def test_another_picture_is_another_question() -> None:
    def look(url: str) -> Message:
        part = {"type": "image_url", "image_url": {"url": url}}
        return Message(role="user", content="What is this?", parts=[part])

    outcome = reconcile([look("a.png")], [], [look("b.png")])
    assert outcome.context[-1] == look("b.png")
    assert outcome.add == [look("b.png")]
    assert reconcile([look("a.png")], [], [look("a.png")]).add == []


def test_what_the_database_drops_makes_no_difference() -> None:
    sent = [user("a\0b"), assistant("yes"), user("more")]
    assert reconcile(talk("ab yes"), *split(sent)).add != []  # "ab" is spoken by the assistant
    assert reconcile([user("ab"), assistant("yes")], *split(sent)).add == [user("more")]


WORDS = st.text("ab", min_size=1, max_size=1)  # so few that everything repeats


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=12))
def test_whole_history_and_last_message_end_the_same(turns: list[tuple[str, str]]) -> None:
    whole: list[Message] = []
    last: list[Message] = []
    client: list[Message] = []
    for asked, answered in turns:
        client.append(user(asked))
        one = reconcile(whole, *split(client))
        other = reconcile(last, *split([user(asked)]))
        assert one.context == other.context == client
        whole = [*whole[: one.keep], *one.add, assistant(answered)]
        last = [*last[: other.keep], *other.add, assistant(answered)]
        client.append(assistant(answered))
    assert whole == last == client


@given(
    st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=10),
    st.integers(0, 9),
    st.integers(1, 20),
)
def test_a_client_that_sends_the_end_of_its_history_loses_nothing(
    turns: list[tuple[str, str]], forgotten: int, sent: int
) -> None:
    """Whatever part the hub has summarised away and whatever part the client has dropped."""
    said = [m for number, (a, b) in enumerate(turns) for m in (user(f"{number}{a}"), assistant(b))]
    stored = said[2 * min(forgotten, len(turns) - 1) :]
    request = [*said[-sent:], user("new")]
    outcome = reconcile(stored, *split(request))
    assert outcome.keep == len(stored)
    assert outcome.add == [user("new")]
    longest = max(len(stored), min(sent, len(said)))
    assert outcome.context == [*said[-longest:], user("new")]


@given(
    st.lists(st.sampled_from("u1 u2 a1 a2".split()), max_size=8),
    st.lists(st.sampled_from("u1 u2 a1 a2".split()), max_size=8),
)
def test_a_request_is_always_read_whole_in_its_own_order(held: list[str], sent: list[str]) -> None:
    request = [*talk(" ".join(sent)), user("now")]
    outcome = reconcile(talk(" ".join(held)), *split(request))
    left = iter(message.content for message in outcome.context)
    assert all(message.content in left for message in request), "a subsequence, in order"
    assert outcome.context[-1] == user("now")
    assert 0 <= outcome.keep <= len(held)


@given(
    st.lists(st.sampled_from("u1 u2 a1 a2".split()), max_size=8),
    st.lists(st.sampled_from("u1 u2 a1 a2".split()), max_size=8),
)
def test_sending_a_request_again_adds_nothing(held: list[str], sent: list[str]) -> None:
    """The hub died before it answered; the client tries again."""
    request = [*talk(" ".join(sent)), user("now")]
    first = reconcile(talk(" ".join(held)), *split(request))
    stored = [*talk(" ".join(held))[: first.keep], *first.add]
    again = reconcile(stored, *split(request))
    assert [*stored[: again.keep], *again.add] == stored


@given(st.lists(st.sampled_from("u1 u2 a1 a2".split()), max_size=9), st.integers(0, 9))
def test_a_digest_goes_on_where_it_was_left(said: list[str], cut: int) -> None:
    messages = talk(" ".join(said))
    half = digest(EMPTY_DIGEST, messages[:cut])
    assert digest(half, messages[cut:]) == digest(EMPTY_DIGEST, messages)
    if messages:
        assert digest(EMPTY_DIGEST, messages) != digest(EMPTY_DIGEST, messages[:-1])
        assert digest(EMPTY_DIGEST, messages) != EMPTY_DIGEST
