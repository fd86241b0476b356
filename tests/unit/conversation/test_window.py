"""How much of a talk the model reads."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.conversation.conftest import assistant, user
from tron.brain.tokens import estimate_messages, message_tokens
from tron.conversation.turns import Message, ToolCall
from tron.conversation.window import fitting, window


def calling(*ids: str) -> Message:
    made = [ToolCall(id=id, name="look", arguments="{}") for id in ids]
    return Message(role="assistant", tool_calls=made)


def result(id: str, text: str = "seen") -> Message:
    return Message(role="tool", content=text, tool_call_id=id)


def test_the_newest_that_fit() -> None:
    talk = [user("a" * 400), assistant("b" * 400), user("c")]
    assert window(talk, budget_tokens=1_000, newest=1) == talk
    assert window(talk, budget_tokens=120, newest=1) == talk[1:]
    assert window(talk, budget_tokens=20, newest=1) == talk[2:]


def test_what_is_new_is_read_whatever_it_costs() -> None:
    talk = [user("a"), assistant("b"), user("c" * 4_000), user("d")]
    assert window(talk, budget_tokens=0, newest=2) == talk[2:]


def test_a_huge_result_keeps_its_call() -> None:
    talk = [user("look"), calling("1"), result("1", "x" * 40_000)]
    assert window(talk, budget_tokens=10, newest=1) == talk[1:]


def test_parallel_results_keep_their_call_and_what_follows() -> None:
    talk = [user("look"), calling("1", "2"), result("1"), result("2"), user("and?")]
    assert window(talk, budget_tokens=0, newest=3) == talk[1:]


def test_old_results_go_with_their_call() -> None:
    talk = [user("a"), calling("1", "2"), result("1"), result("2"), assistant("b"), user("c")]
    fits = estimate_messages(talk[2:])
    assert window(talk, budget_tokens=fits, newest=1) == talk[4:]


@st.composite
def talks(draw: st.DrawFn) -> tuple[list[Message], int]:
    """A well-formed talk, and how many of its messages are new."""
    talk: list[Message] = []
    for _ in range(draw(st.integers(0, 8))):
        talk.append(user("u" * draw(st.integers(0, 400))))
        for place in range(draw(st.integers(0, 2))):
            ids = [f"{len(talk)}-{place}-{n}" for n in range(draw(st.integers(1, 3)))]
            talk += [calling(*ids), *(result(id, "r" * draw(st.integers(0, 400))) for id in ids)]
        if not draw(st.booleans()):
            talk.append(assistant("a" * draw(st.integers(0, 400))))
    if not talk or talk[-1].role == "assistant":
        talk.append(user("new"))
    newest = 0
    while newest < len(talk) and talk[-1 - newest].role != "assistant":
        newest += 1
    return talk, newest


@given(talks(), st.integers(0, 2_000))
def test_bounded_newest_kept_and_no_result_without_its_call(
    made: tuple[list[Message], int], budget: int
) -> None:
    talk, newest = made
    seen = window(talk, budget_tokens=budget, newest=newest)
    assert seen == talk[len(talk) - len(seen) :]
    assert len(seen) >= newest
    open_calls: set[str] = set()
    for message in seen:
        open_calls |= {call.id for call in message.tool_calls or ()}
        assert message.tool_call_id is None or message.tool_call_id in open_calls
    if estimate_messages(talk) <= budget:
        assert seen == talk
    needed = talk[len(talk) - newest :]
    if needed and needed[0].role == "tool":  # its call comes along
        needed = talk[talk.index(needed[0]) - 1 :]
        while needed[0].role == "tool":
            needed = talk[len(talk) - len(needed) - 1 :]
    assert estimate_messages(seen) <= max(budget, sum(map(message_tokens, needed)))


def heard(*said: Message) -> list[Message]:
    """What the model reads of a talk that fits."""
    return fitting(list(said), budget_tokens=10_000)


def test_a_late_result_is_where_its_call_is() -> None:
    late = heard(user("look"), calling("1"), user("never mind"), assistant("fine"), result("1"))
    assert late == [
        user("look"),
        calling("1"),
        result("1"),
        user("never mind"),
        assistant("fine"),
    ]


def test_one_of_two_results_may_be_late() -> None:
    seen = heard(user("look"), calling("1", "2"), result("2"), user("and?"), result("1"))
    assert seen[2:] == [result("1"), result("2"), user("and?")]


def test_a_result_is_read_once() -> None:
    asked = [user("look"), calling("1"), result("1")]
    assert heard(*asked, result("1")) == asked
    assert heard(*asked, assistant("I see"), result("1")) == [*asked, assistant("I see")]


def test_a_result_nobody_asked_for_is_not_read() -> None:
    assert heard(result("0"), user("hi")) == [user("hi")]
    assert heard(user("hi"), assistant("hello"), result("0")) == [user("hi"), assistant("hello")]


def test_a_late_answer_to_a_function_is_found_by_its_name() -> None:
    seen = heard(user("look"), calling("1"), user("and?"), result("look", "snow"))
    assert seen == [user("look"), calling("1"), result("1", "snow"), user("and?")]


def test_the_same_id_may_be_called_again() -> None:
    talk = [user("a"), calling("1"), result("1", "old"), user("b"), calling("1")]
    assert heard(*talk, result("1", "new"))[-1] == result("1", "new")
    assert heard(*talk, user("c"), result("1", "new"))[-2:] == [result("1", "new"), user("c")]


ANY = st.lists(
    st.one_of(
        st.just(user("hm")),
        st.just(assistant("aha")),
        st.lists(st.sampled_from("123"), min_size=1, max_size=3, unique=True).map(
            lambda ids: calling(*ids)
        ),
        st.sampled_from(["1", "2", "3", "4", "look"]).map(lambda id: result(id, "r" * 300)),
    ),
    max_size=16,
)


@given(ANY, st.sampled_from([0, 60, 200, 10_000]))
def test_whatever_was_said_in_whatever_order_a_provider_takes_it(
    said: list[Message], budget: int
) -> None:
    """Every call is answered at once, each by one result, and no result is without its call."""
    unanswered: set[str] = set()
    seen = fitting(said, budget_tokens=budget)
    for message in seen:
        if message.role == "tool":
            assert message.tool_call_id in unanswered
            unanswered.discard(message.tool_call_id)
        else:
            assert not unanswered
            unanswered = {call.id for call in message.tool_calls or ()}
    assert not unanswered
    if budget == 10_000:
        kept = [message for message in said if message.role != "tool"]
        assert [message for message in seen if message.role != "tool"] == kept
