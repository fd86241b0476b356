"""The tape of a call: everything its machine was told and when, so that it can be told it again.

The machine does no I/O, so the same signals at the same times give the same actions; a tape is
all that a replay needs. Sound is not on it: of 20 ms of the caller it keeps whether they spoke,
of what the synthesiser made how many frames. Beside the signals stands what the machine asked for
(`Step`), so that a replay in which it asks earlier or later can move the answers with it.

A frame or tick is one byte: two bits say which, six how many ms after the entry before. Anything
else is a byte with its number, those ms, and its fields as msgpack. A tape is kept in parts, each
deflated by itself: what is lost with a hub is its last seconds.
"""

import zlib
from collections.abc import Iterable

import msgspec

from tron.calls import signals as s
from tron.calls.listening import VOICED
from tron.calls.manner import Manner
from tron.calls.signals import Action, Signal
from tron.errors import TronError
from tron.storage.text import storable

VERSION = 1
PART_MS = 10_000
PART_BYTES = 4_000
LONGEST_BYTES = 64 * 1024 * 1024
"""unpacked; no call comes near"""

_SILENT, _VOICED, _TICK, _OTHER = range(4)
_FAR = 0x3F  # this many ms or more: a number of its own follows


class Step(msgspec.Struct, frozen=True):
    """What the machine asked for, or (`start`) that it began."""

    what: str
    """`start`, `final`, `turn`, `drop`, `segment`, `hush`, `mark`, `transfer` or `end`"""
    id: int = 0


# Their places are their numbers on tapes: add at the end.
_KINDS: tuple[type[msgspec.Struct], ...] = (
    Step,
    s.PartialText,
    s.FinalText,
    s.Typed,
    s.Digit,
    s.StartTalking,
    s.StopTalking,
    s.Interrupt,
    s.AnswerText,
    s.AnswerWorking,
    s.AnswerOver,
    s.SpeechFrames,
    s.SpeechOver,
    s.Played,
    s.WakeWord,
    s.Arm,
    s.Remark,
    s.HangUpAfter,
    s.Ended,
    s.TransferAfter,
    s.NotTransferred,
    s.Announce,
)
_NUMBER = {kind: number for number, kind in enumerate(_KINDS)}


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """How the call was to be held."""

    version: int = VERSION
    heard_rate: int
    """Hz of the caller's sound"""
    manner: Manner


class Entry(msgspec.Struct, frozen=True):
    """Something on a tape, `at` ms on the call's media clock."""

    at: int
    what: Signal | Step


class Untold(TronError):
    """What is on a tape can't be told again."""

    type = "untold"


class Tape:
    """Writes one call's tape. Never fails."""

    def __init__(self, head: Head) -> None:
        packed = msgspec.json.encode(head)
        self._bytes = bytearray(_number(len(packed)) + packed)
        self._at = 0
        self._part_began = 0

    def add(self, what: Signal | Step, at: int) -> bytes | None:
        """One more entry; the part that is complete with it, or None."""
        match what:
            case s.Heard():
                self._short(_VOICED if what.speech >= VOICED else _SILENT, at)
            case s.Tick():
                self._short(_TICK, at)
            case _:
                self._other(what, at)
        long = at - self._part_began >= PART_MS or len(self._bytes) >= PART_BYTES
        return self.rest() if long else None

    def asked(self, action: Action, at: int) -> bytes | None:
        """The machine wants something whose answer comes as a signal; else nothing happens."""
        match action:
            case s.Commit():
                return self.add(Step("final"), at)
            case s.BeginTurn():
                return self.add(Step("turn", action.turn), at)
            case s.DropTurn():
                return self.add(Step("drop", action.turn), at)
            case s.Say():
                return self.add(Step("segment", action.segment), at)
            case s.Hush():
                return self.add(Step("hush"), at)
            case s.Mark():
                return self.add(Step("mark", action.mark), at)
            case s.Transfer():
                return self.add(Step("transfer"), at)
            case s.HangUp():
                return self.add(Step("end"), at)
        return None

    def rest(self) -> bytes:
        """What is not in a part yet, as one."""
        part = zlib.compress(bytes(self._bytes), 6)
        self._bytes.clear()
        self._part_began = self._at
        return part

    def _short(self, kind: int, at: int) -> None:
        passed, self._at = at - self._at, at
        if passed < _FAR:
            self._bytes.append(kind << 6 | passed)
        else:
            self._bytes.append(kind << 6 | _FAR)
            self._bytes += _number(passed)

    def _other(self, what: Signal | Step, at: int) -> None:
        if isinstance(what, s.SpeechFrames):
            fields = [what.segment, len(what.frames)]
        else:
            fields = [getattr(what, name) for name in what.__struct_fields__]
            fields = [storable(field) if isinstance(field, str) else field for field in fields]
        packed = msgspec.msgpack.encode(fields)
        self._bytes.append(_OTHER << 6 | _NUMBER[type(what)])
        self._bytes += _number(at - self._at) + _number(len(packed)) + packed
        self._at = at


def read(parts: Iterable[bytes]) -> tuple[Head, list[Entry]]:
    """A tape from its parts in order. Raises Untold."""
    reader = zlib.decompressobj
    whole = bytearray()
    try:
        for part in parts:
            whole += reader().decompress(part, LONGEST_BYTES - len(whole))
        return _read(bytes(whole))
    except (zlib.error, msgspec.MsgspecError, IndexError, TypeError, ValueError) as error:
        raise Untold(f"Its recorded input can't be read ({error}).") from None


def _read(tape: bytes) -> tuple[Head, list[Entry]]:
    size, place = _take(tape, 0)
    packed = tape[place : place + size]
    place += size
    version = msgspec.json.decode(packed)["version"]
    if version != VERSION:
        raise Untold(f"Its recorded input is of version {version}, this program reads {VERSION}.")
    head = msgspec.json.decode(packed, type=Head)
    entries: list[Entry] = []
    at = 0
    while place < len(tape):
        first = tape[place]
        kind, passed = first >> 6, first & _FAR
        place += 1
        if kind == _OTHER or passed == _FAR:
            passed, place = _take(tape, place)
        at += passed
        if kind != _OTHER:
            entries.append(Entry(at, _SHORT[kind]))
            continue
        size, place = _take(tape, place)
        entries.append(Entry(at, _other(first & _FAR, tape[place : place + size])))
        place += size
    return head, entries


_SHORT: dict[int, Signal] = {
    _SILENT: s.Heard(b"", 0.0),
    _VOICED: s.Heard(b"", 1.0),
    _TICK: s.Tick(),
}


def _other(number: int, packed: bytes) -> Signal | Step:
    fields = msgspec.msgpack.decode(packed)
    if _KINDS[number] is s.SpeechFrames:
        segment, frames = fields
        return s.SpeechFrames(segment, [b""] * frames)
    made: Signal | Step = _KINDS[number](*fields)  # type: ignore[assignment]  # they are these
    return made


def _number(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _take(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place
