"""When: `tomorrow at nine`, `in half an hour`, `on Friday at 14:30`, found in an utterance.

Only at its beginning or its end, and only what names one moment. Hours without am or pm are those
people mean when awake: seven to noon in the morning, one to six in the afternoon.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

_NUMBERS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
} | {"a": 1, "an": 1, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "forty-five": 45,
     "sixty": 60, "ninety": 90}  # fmt: skip
_UNITS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "day": 86_400,
          "week": 604_800}  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PARTS = {"morning": (9, 0), "noon": (12, 0), "afternoon": (15, 0), "evening": (19, 0),
          "night": (20, 0)}  # fmt: skip
USUAL = (9, 0)
"""the time of a day that was named without one"""

_NUMBER = "|".join(sorted(map(re.escape, _NUMBERS), key=len, reverse=True))
_CLOCK = (
    rf"(?:(?P<hour>[0-2]?[0-9]|{_NUMBER})(?:[:.](?P<minute>[0-5][0-9]))?"
    r"(?: ?(?P<half>a\.?m\.?|p\.?m\.?)| o'?clock| in the (?P<part>morning|afternoon|evening)"
    r"| at night)?|(?P<named>noon|midday|midnight))"
)
_DAY = (
    r"(?P<day>today|tonight|tomorrow|(?:on |next |this )?(?:" + "|".join(_DAYS) + r")|"
    r"this (?:morning|afternoon|evening))(?: (?P<daypart>morning|noon|afternoon|evening|night))?"
)
_MOMENT = (
    rf"(?:in (?:(?P<some>half an hour)|(?P<number>[0-9]{{1,4}}|{_NUMBER}) "
    r"(?P<unit>seconds?|secs?|minutes?|mins?|hours?|days?|weeks?)(?: from now)?)"
    rf"|{_DAY}(?:,? (?:at )?{_CLOCK})?"
    rf"|at {_CLOCK.replace('?P<', '?P<b')}(?:,? {_DAY.replace('?P<', '?P<b')})?)"
)
_FIRST = re.compile(rf"{_MOMENT}\b[,:]? +(?P<rest>.+)$", re.IGNORECASE | re.DOTALL)
_LAST = re.compile(rf"(?P<rest>.+?),? +{_MOMENT}[.!]?$", re.IGNORECASE | re.DOTALL)
_ALONE = re.compile(rf"{_MOMENT}[.!]?$", re.IGNORECASE)
_LONGEST = 1_000


class Moment(NamedTuple):
    """A time in an utterance."""

    at: int
    """ms since the epoch, in the future"""
    rest: str
    """the utterance without it"""


def moment(text: str, now_ms: int, zone: str) -> Moment | None:
    """The time at the beginning or the end of `text`; None if there is none still to come."""
    if len(text) > _LONGEST:
        return None
    line = " ".join(text.split())
    found = _ALONE.match(line) or _FIRST.match(line) or _LAST.match(line)
    if found is None:
        return None
    groups = found.groupdict()
    at = _when(groups, datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(zone)))
    return None if at is None else Moment(round(at.timestamp() * 1000), groups.get("rest") or "")


def has_moment(text: str) -> bool:
    """Whether a time is named at the beginning or the end of `text`."""
    line = " ".join(text[:_LONGEST].split())
    return bool(_ALONE.match(line) or _FIRST.match(line) or _LAST.match(line))


def _when(groups: dict[str, str | None], now: datetime) -> datetime | None:
    if groups["some"]:
        return now.astimezone(UTC) + timedelta(minutes=30)
    if groups["number"]:
        seconds = _count(groups["number"]) * _UNITS[(groups["unit"] or "").lower().rstrip("s")]
        return now.astimezone(UTC) + timedelta(seconds=seconds)
    day = (groups["day"] or groups["bday"] or "").lower()
    part = (groups["daypart"] or groups["bdaypart"] or "").lower()
    if day.startswith("this "):
        day, part = "today", day.removeprefix("this ")
    if day == "tonight":
        day, part = "today", part or "night"
    clock = _clock(groups, part)
    if clock is None:
        return None
    date = _date(day, now)
    at = now.replace(
        year=date.year, month=date.month, day=date.day, hour=clock[0], minute=clock[1],
        second=0, microsecond=0, fold=0,
    )  # fmt: skip
    if at <= now and not day:
        at += timedelta(days=1)
    if at <= now and day and day != "today":
        at += timedelta(days=7)
    return at if at > now else None


def _date(day: str, now: datetime) -> datetime:
    if day == "tomorrow":
        return now + timedelta(days=1)
    weekday = day.rpartition(" ")[2]
    if weekday in _DAYS:
        return now + timedelta(days=(_DAYS.index(weekday) - now.weekday()) % 7)
    return now


def _clock(groups: dict[str, str | None], part: str) -> tuple[int, int] | None:
    """(hour, minute); None for an hour that isn't one."""
    named = (groups["named"] or groups["bnamed"] or "").lower()
    if named:
        return (0, 0) if named == "midnight" else (12, 0)
    said = groups["hour"] or groups["bhour"]
    if said is None:
        return _PARTS.get(part, USUAL)
    hour, minutes = _count(said), groups["minute"] or groups["bminute"]
    half = (groups["half"] or groups["bhalf"] or "").lower()[:1]
    part = (groups["part"] or groups["bpart"] or part or "").lower()
    if hour > 23 or (half and not 1 <= hour <= 12):
        return None
    late = half == "p" or (not half and part in ("afternoon", "evening", "night"))
    early = half == "a" or (not half and part == "morning")
    if hour == 12 and early:
        hour = 0
    elif 1 <= hour < 12 and (late or (not early and not minutes and hour < 7)):
        hour += 12
    return hour, int(minutes or 0)


def _count(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word.lower()]
