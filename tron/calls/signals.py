"""The call machine's vocabulary: what it is told, and what it wants done.

Signals go in with a time (ms on the call's own media clock, 0 at its start), actions come out.
Both are frozen; neither knows of sockets, engines or clocks. Audio is opaque bytes: PCM16 frames
on the way in, frames in the wire's own encoding on the way out, 20 ms each.
"""

import msgspec

FRAME_MS = 20

# Signals


class Heard(msgspec.Struct, frozen=True):
    """20 ms of the caller; `speech` is how likely somebody speaks in it, 0 to 1."""

    pcm: bytes
    speech: float


class PartialText(msgspec.Struct, frozen=True):
    """What the recogniser makes of the utterance so far."""

    text: str
    confidence: float | None = None
    """0 to 1; None where the engine does not say"""


class FinalText(msgspec.Struct, frozen=True):
    """The recogniser's answer to `Commit`; empty if nothing was understood."""

    text: str


class Typed(msgspec.Struct, frozen=True):
    """The caller wrote instead of speaking."""

    text: str


class Digit(msgspec.Struct, frozen=True):
    """A key of the telephone was pressed."""

    key: str


class StartTalking(msgspec.Struct, frozen=True):
    """Push-to-talk is pressed: no silence ends the utterance until `StopTalking`."""


class StopTalking(msgspec.Struct, frozen=True):
    """The client says that the utterance is over (push-to-talk released, `stop`)."""


class Interrupt(msgspec.Struct, frozen=True):
    """The client wants the persona to stop talking."""


class AnswerText(msgspec.Struct, frozen=True):
    """More of the persona's answer to turn `turn`."""

    turn: int
    text: str


class AnswerWorking(msgspec.Struct, frozen=True):
    """The persona is using a tool."""

    turn: int


class AnswerOver(msgspec.Struct, frozen=True):
    """The answer is complete, or failed (`error` is what may be said of it)."""

    turn: int
    error: str | None = None


class SpeechFrames(msgspec.Struct, frozen=True):
    """The synthesiser made more of segment `segment`."""

    segment: int
    frames: list[bytes]


class SpeechOver(msgspec.Struct, frozen=True):
    """Segment `segment` is complete; `failed`: it could not be spoken."""

    segment: int
    failed: bool = False


class Played(msgspec.Struct, frozen=True):
    """The wire says that everything up to mark `mark` has been played (or was cleared)."""

    mark: int


class Tick(msgspec.Struct, frozen=True):
    """Time passes without anything else happening."""


class WakeWord(msgspec.Struct, frozen=True):
    """From now on only what begins with the wake word is meant (`on`), or everything is."""

    on: bool


class Arm(msgspec.Struct, frozen=True):
    """The next utterance is meant although it has no wake word."""


class Remark(msgspec.Struct, frozen=True):
    """The wire has a line of its own for the ledger."""

    kind: str
    turn: int = 0
    text: str = ""


class Announce(msgspec.Struct, frozen=True):
    """There is something to say that nobody asked for, when neither side is talking."""

    text: str


class HangUpAfter(msgspec.Struct, frozen=True):
    """The persona wants to end the call once it has finished speaking."""

    cause: str


class TransferAfter(msgspec.Struct, frozen=True):
    """The persona wants to put the caller through once it has finished speaking."""

    number: str


class NotTransferred(msgspec.Struct, frozen=True):
    """The carrier could not put the caller through; the call goes on."""


class Ended(msgspec.Struct, frozen=True):
    """The call is over: the wire closed, or somebody stopped it."""

    cause: str


Signal = (
    Heard
    | PartialText
    | FinalText
    | Typed
    | Digit
    | StartTalking
    | StopTalking
    | Interrupt
    | AnswerText
    | AnswerWorking
    | AnswerOver
    | SpeechFrames
    | SpeechOver
    | Played
    | Tick
    | WakeWord
    | Arm
    | Remark
    | Announce
    | HangUpAfter
    | TransferAfter
    | NotTransferred
    | Ended
)

# Actions


class Feed(msgspec.Struct, frozen=True):
    """Give this audio to the recogniser."""

    pcm: bytes


class Commit(msgspec.Struct, frozen=True):
    """The utterance is over: ask the recogniser for its final text."""


class BeginTurn(msgspec.Struct, frozen=True):
    """Hand what was said to the persona."""

    turn: int
    text: str
    news: bool = False
    """nothing was said: the turn tells `text`, which was announced"""


class DropTurn(msgspec.Struct, frozen=True):
    """Stop turn `turn`: its model, its tools. `heard` is what the caller heard of the answer; the
    transcript keeps no more than that."""

    turn: int
    heard: str


class Unasked(msgspec.Struct, frozen=True):
    """The caller heard `text`, for which nobody had asked; the persona is to know of it."""

    text: str


class Say(msgspec.Struct, frozen=True):
    """Synthesise `text` as segment `segment`, after those already asked for."""

    segment: int
    text: str


class Hush(msgspec.Struct, frozen=True):
    """Stop the synthesiser and forget what it was asked to say."""


class Send(msgspec.Struct, frozen=True):
    """Play these frames to the caller."""

    frames: list[bytes]


class Mark(msgspec.Struct, frozen=True):
    """Ask the wire to say when what was sent so far has been played."""

    mark: int


class Clear(msgspec.Struct, frozen=True):
    """Throw away what was sent and has not been played."""


class Tell(msgspec.Struct, frozen=True):
    """Something a client may show: see the names in `machine.py`."""

    what: str
    turn: int = 0
    text: str = ""
    confidence: float | None = None
    """of a partial, where the engine says"""


class Note(msgspec.Struct, frozen=True):
    """A line of the call's ledger; `value` is a time in ms where the kind has one."""

    kind: str
    turn: int = 0
    text: str = ""
    value: int = 0


class HangUp(msgspec.Struct, frozen=True):
    """End the call."""

    cause: str


class Transfer(msgspec.Struct, frozen=True):
    """Put the caller through to this number."""

    number: str


Action = (
    Feed
    | Commit
    | BeginTurn
    | DropTurn
    | Unasked
    | Say
    | Hush
    | Send
    | Mark
    | Clear
    | Tell
    | Note
    | HangUp
    | Transfer
)
