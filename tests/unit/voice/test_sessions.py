"""How long a voice session lives."""

import pytest

from tron.clock import ManualClock
from tron.errors import NotFound, Overloaded
from tron.web.voice import sessions as module
from tron.web.voice.sessions import VoiceSession, VoiceSessions
from tron.web.voice.styles import STYLES, style


class Socket:
    def __init__(self) -> None:
        self.closed: tuple[int, str] | None = None

    def leave(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


def made(clock: ManualClock) -> VoiceSession:
    return VoiceSession(
        now=clock.now_ms(),
        user_id="anonymous",
        owner="local",
        client_id="house",
        agent="tony",
        style=style("warm"),
        voice_id="",
        voice="",
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sessions(clock: ManualClock) -> VoiceSessions:
    return VoiceSessions(clock, 120)


def test_it_ends_when_nobody_was_there_for_its_time(
    sessions: VoiceSessions, clock: ManualClock
) -> None:
    session = made(clock)
    sessions.add(session)
    clock.advance(119)
    assert sessions.find(session.id).ended_at is None
    clock.advance(1)
    assert sessions.find(session.id).ended_at is not None


def test_a_silent_but_connected_one_lives(sessions: VoiceSessions, clock: ManualClock) -> None:
    session = made(clock)
    session.connection = Socket()
    sessions.add(session)
    clock.advance(3600)
    assert sessions.find(session.id).ended_at is None


def test_ending_closes_its_socket_and_happens_once(
    sessions: VoiceSessions, clock: ManualClock
) -> None:
    session, socket = made(clock), Socket()
    session.connection = socket
    sessions.add(session)
    session.end(clock.now_ms())
    assert socket.closed == (1000, "session ended")
    ended_at = session.ended_at
    clock.advance(10)
    session.end(clock.now_ms())
    assert session.ended_at == ended_at


def test_an_ended_one_is_known_for_a_day(sessions: VoiceSessions, clock: ManualClock) -> None:
    session = made(clock)
    sessions.add(session)
    session.end(clock.now_ms())
    clock.advance(23 * 3600)
    assert sessions.find(session.id) is session
    clock.advance(3600)
    with pytest.raises(NotFound):
        sessions.find(session.id)


def test_there_is_an_end_to_how_many(
    sessions: VoiceSessions, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ACTIVE", 3)
    for _ in range(3):
        sessions.add(made(clock))
    with pytest.raises(Overloaded):
        sessions.add(made(clock))
    clock.advance(121)
    sessions.add(made(clock))


def test_ids_are_secret_and_the_conversation_is_not_named_after_them(clock: ManualClock) -> None:
    one, two = made(clock), made(clock)
    assert one.id != two.id
    assert len(one.id) >= 32
    assert one.id not in one.call_id
    assert one.call_id != two.call_id


def test_every_style_says_how_long_an_answer_may_be() -> None:
    assert {id: s.longest_chars for id, s in STYLES.items()} == {
        "warm": 350,
        "professional": 280,
        "concise": 180,
    }
    for each in STYLES.values():
        assert str(each.longest_chars) in each.instructions
    assert style("unheard-of") is style(None) is STYLES["warm"]
