"""Saying something in a call that nobody asked for: never over anybody, never lost, never twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.calls.simulator import Phone, heard_of
from tron.calls import signals as s
from tron.calls.listening import Waits
from tron.calls.machine import NEWS_AFTER_MS
from tron.calls.manner import Manner
from tron.calls.signals import FRAME_MS

MANNER = Manner(waits=Waits(start_ms=60, stop_ms=300, wait_ms=0), fillers=())
NEWS = "Your task is done, and it went well. There is nothing left to do."


def news_turns(phone: Phone) -> list[s.BeginTurn]:
    return [a for _, a in phone.log if isinstance(a, s.BeginTurn) and a.news]


def spoken(phone: Phone) -> str:
    played = dict.fromkeys(segment for segment, _ in phone.heard)
    return " ".join(phone.texts[segment] for segment in played)


def test_news_is_said_once_in_a_moment_of_quiet() -> None:
    phone = Phone(MANNER)
    phone.quiet(1_000)
    phone.tell(s.Announce(NEWS))
    phone.quiet(12_000)
    assert [turn.text for turn in news_turns(phone)] == [NEWS]
    assert spoken(phone) == NEWS
    assert phone.over == [(1, "completed")]


def test_news_waits_for_a_greeting_to_end() -> None:
    phone = Phone(Manner(greeting="Hello, this is Tony speaking.", fillers=()))
    phone.tell(s.Announce(NEWS))
    phone.quiet(14_000)
    assert spoken(phone) == f"Hello, this is Tony speaking. {NEWS}"


def test_news_waits_while_the_caller_speaks_and_until_they_are_answered() -> None:
    phone = Phone(MANNER, answer="Good question.")
    phone.quiet(1_000)
    phone.speak(200)
    phone.tell(s.Announce(NEWS))
    phone.speak(1_000)
    assert news_turns(phone) == []
    phone.quiet(14_000)
    assert spoken(phone) == f"Good question. {NEWS}"


def test_news_waits_a_breath_after_the_last_word() -> None:
    phone = Phone(MANNER, answer="Yes.")
    phone.speak(400)
    phone.tell(s.Announce(NEWS))
    phone.quiet(8_000)
    (over, _) = phone.notes("turn_over")[0]
    (began, _) = phone.notes("news_began")[0]
    assert began - over >= NEWS_AFTER_MS - FRAME_MS


def test_speaking_into_news_keeps_what_was_heard_of_it() -> None:
    phone = Phone(MANNER)
    phone.quiet(1_000)
    phone.tell(s.Announce(NEWS))
    phone.quiet(3_000)
    phone.speak(1_200)
    phone.quiet(10_000)
    heard = heard_of(phone, 1)
    assert heard
    assert NEWS.startswith(heard)
    assert len(heard) < len(NEWS)
    assert phone.over == [(1, "dropped"), (2, "completed")]


def test_two_pieces_of_news_are_two_turns() -> None:
    phone = Phone(MANNER)
    phone.tell(s.Announce("One is done."))
    phone.tell(s.Announce("Two is done."))
    phone.quiet(8_000)
    assert [turn.text for turn in news_turns(phone)] == ["One is done.", "Two is done."]
    assert [how for _, how in phone.over] == ["completed", "completed"]


def test_nobody_is_told_news_while_pressing_keys_or_being_hung_up_on() -> None:
    phone = Phone(MANNER)
    phone.quiet(2_000)
    phone.tell(s.Digit("1"))
    phone.tell(s.Announce(NEWS))
    phone.quiet(100)
    assert news_turns(phone) == []
    phone = Phone(MANNER, answer=None)
    phone.tell(s.Typed("goodbye"))
    phone.tell(s.HangUpAfter("bye"))
    phone.tell(s.Announce(NEWS))
    phone.tell(s.AnswerText(1, "Goodbye."))
    phone.tell(s.AnswerOver(1))
    phone.quiet(5_000)
    assert phone.machine.ended == "bye"
    assert news_turns(phone) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["speak", "quiet", "news", "nothing"]),
            st.integers(1, 60).map(lambda n: n * 20),
        ),
        max_size=14,
    )
)
def test_at_any_moment_news_is_said_when_nobody_talks(what: list[tuple[str, int]]) -> None:
    phone = Phone(MANNER)
    said = 0
    for kind, ms in what:
        if kind == "news":
            said += 1
            phone.tell(s.Announce(f"Number {said} is done and over."))
        else:
            getattr(phone, kind)(ms)
    phone.quiet(40_000 + 6_000 * said)
    assert len(news_turns(phone)) == said
    phone.hang_up()
    phone.check_over()
