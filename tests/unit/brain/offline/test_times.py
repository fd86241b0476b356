"""When somebody means, said in words."""

from datetime import UTC, datetime

import pytest

from tron.brain.offline.times import moment

NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)  # a Friday, 15:00 in Berlin


def when(text: str, zone: str = "Europe/Berlin") -> str | None:
    found = moment(text, round(NOW.timestamp() * 1000), zone)
    return found and f"{datetime.fromtimestamp(found.at / 1000, UTC):%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("said", "utc"),
    [
        ("tomorrow at nine", "11-21 08:00"),
        ("tomorrow", "11-21 08:00"),
        ("tomorrow evening", "11-21 18:00"),
        ("at 14:30 tomorrow text Bob", "11-21 13:30"),
        ("in ten minutes", "11-20 14:10"),
        ("in half an hour run it", "11-20 14:30"),
        ("call Bob in 2 hours", "11-20 16:00"),
        ("at five", "11-20 16:00"),
        ("at 5pm", "11-20 16:00"),
        ("at 5 am", "11-21 04:00"),
        ("at nine", "11-21 08:00"),
        ("at nine in the evening", "11-20 20:00"),
        ("on Monday at 9:30", "11-23 08:30"),
        ("next friday at two", "11-27 13:00"),
        ("tonight", "11-20 19:00"),
        ("at noon", "11-21 11:00"),
        ("at midnight", "11-20 23:00"),
    ],
)
def test_a_time(said: str, utc: str) -> None:
    assert when(said) == utc


@pytest.mark.parametrize(
    "said", ["", "the meeting is at home", "at 25", "at 13 pm", "today at 9", "tomorrowland", "x"]
)
def test_no_time_to_come(said: str) -> None:
    assert when(said) is None


def test_hours_are_of_the_place() -> None:
    assert when("at six in the evening", "America/Los_Angeles") == "11-21 02:00"


def test_a_span_is_a_span_when_clocks_change() -> None:
    before = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # an hour later Berlin turns back
    found = moment("in two hours", round(before.timestamp() * 1000), "Europe/Berlin")
    assert found is not None
    assert found.at == round(before.timestamp() * 1000) + 7_200_000


def test_what_is_left_is_the_rest() -> None:
    found = moment("Tomorrow at nine, text Bob", round(NOW.timestamp() * 1000), "UTC")
    assert found is not None
    assert found.rest == "text Bob"
