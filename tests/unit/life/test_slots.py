"""Slots are named by local time and exist once, on the odd days of the year too."""

import pytest

from tests.unit.life.conftest import at
from tron.life.slots import latest, local, midnight_ms, slot

BERLIN = "Europe/Berlin"
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-11-20T05:59", "2026-11-19T18:00"),
        ("2026-11-20T06:00", "2026-11-20T06:00"),
        ("2026-11-20T11:59", "2026-11-20T06:00"),
        ("2026-11-20T23:59", "2026-11-20T18:00"),
    ],
)
def test_the_latest_slot_is_the_last_one_due(now: str, due: str) -> None:
    found = latest(("06:00", "12:00", "18:00"), BERLIN, at(now, BERLIN))
    assert found is not None
    assert found.name == due
    assert found.due_ms == at(due, BERLIN)


def test_no_times_no_slot() -> None:
    assert latest((), BERLIN, at("2026-11-20T06:00")) is None


def test_the_zone_of_the_persona_counts_and_not_the_date_in_utc() -> None:
    found = latest(("08:00",), "Pacific/Auckland", at("2026-11-20T08:30", "Pacific/Auckland"))
    assert found is not None
    assert found.name == "2026-11-20T08:00"
    assert found.due_ms == at("2026-11-19T19:00")


def test_a_time_that_the_clock_shows_twice_is_due_the_first_time_only() -> None:
    # 25 October 2026: 03:00 CEST becomes 02:00 CET, so 02:30 happens at 00:30 and 01:30 UTC.
    first, second = at("2026-10-25T00:30"), at("2026-10-25T01:30")
    before = latest(("02:30",), BERLIN, first - 1)
    assert before is not None
    assert before.name == "2026-10-24T02:30"
    for now in (first, first + 1, second, second + HOUR_MS):
        due = latest(("02:30",), BERLIN, now)
        assert due is not None
        assert (due.name, due.due_ms) == ("2026-10-25T02:30", first)


def test_a_time_that_the_clock_skips_is_due_all_the_same() -> None:
    # 29 March 2026: 02:00 CET becomes 03:00 CEST at 01:00 UTC; there is no 02:30.
    due = slot(local(at("2026-03-29T12:00"), BERLIN).date(), "02:30", BERLIN)
    assert due == ("2026-03-29T02:30", at("2026-03-29T01:30"))
    before, after = (latest(("02:30",), BERLIN, due.due_ms + late) for late in (-1, 0))
    assert before is not None
    assert after is not None
    assert (before.name, after.name) == ("2026-03-28T02:30", "2026-03-29T02:30")


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-11-20"])
def test_every_slot_of_a_day_becomes_the_latest_exactly_once(day: str) -> None:
    times = ("00:30", "02:15", "02:45", "03:30", "12:00", "23:45")
    begin = at(f"{day}T00:00", BERLIN)
    seen: list[str] = []
    for minute in range(25 * 60):
        due = latest(times, BERLIN, begin + minute * 60_000)
        assert due is not None
        if due.name.startswith(day) and (not seen or seen[-1] != due.name):
            seen.append(due.name)
    assert sorted(seen) == [f"{day}T{time}" for time in times]


def test_midnight_is_the_local_one() -> None:
    now = at("2026-11-20T00:30", "America/New_York")
    assert midnight_ms("America/New_York", now) == at("2026-11-20T05:00")
