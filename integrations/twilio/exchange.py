"""What the hub knows of the carrier's calls, from the first webhook to the last.

Tickets for sockets that are about to come, what an outbound call is for, which sockets are open,
how each call ended, and what the carrier said of its state. All of it is small, bounded and may
be lost: a call that a restarted hub knows nothing of is taken up again.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from integrations.twilio.proof import Grant, Tickets
from tron.clock import Clock

TICKET_S = 60.0
ERRAND_S = 600.0
"""an outbound call rings for no longer"""
RECOVERIES = 3
"""times a call is taken up again after its socket was lost"""
KNOWN = 2_000
OVER = ("completed", "busy", "failed", "no-answer", "canceled")
STAGES = {"queued": 0, "initiated": 1, "ringing": 2, "answered": 3, "in-progress": 3}
"""how far a call is that is not over"""

V = TypeVar("V")


class Recent(Generic[V]):
    """The latest values by key, `KNOWN` of them."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        return self._values.get(key)

    def put(self, key: str, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > KNOWN:
            self._values.popitem(last=False)

    def pop(self, key: str) -> V | None:
        return self._values.pop(key, None)


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What an outbound call is for."""

    agent: str | None
    message: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a call in the carrier's words."""

    sid: str
    status: str
    sequence: int | None = None
    """counts the reports of a call; not every carrier and simulator sends it"""
    duration_s: int | None = None
    answered_by: str | None = None


class Exchange:
    """See the module."""

    def __init__(self, clock: Clock) -> None:
        self._sockets = Tickets(clock, good_s=TICKET_S)
        self._errands = Tickets(clock, good_s=ERRAND_S)
        self._open: dict[str, Callable[[str], None]] = {}
        self._endings: Recent[str] = Recent()
        self._progress: Recent[Progress] = Recent()

    def announce(self, grant: Grant) -> str:
        """A ticket for the socket that is about to come."""
        return self._sockets.mint(grant)

    def redeem(self, ticket: str) -> Grant | None:
        return self._sockets.redeem(ticket, Grant)

    def send_out(self, errand: Errand) -> str:
        return self._errands.mint(errand)

    def errand(self, ticket: str) -> Errand | None:
        return self._errands.redeem(ticket, Errand)

    # Sockets

    def opened(self, call_sid: str, end: Callable[[str], None]) -> None:
        """A call has a socket; one it had before is of no use any more."""
        if (before := self._open.get(call_sid)) is not None:
            before("replaced")
        self._endings.pop(call_sid)
        self._open[call_sid] = end

    def closed(self, call_sid: str, end: Callable[[str], None], cause: str) -> None:
        if self._open.get(call_sid) == end:
            del self._open[call_sid]
            self._endings.put(call_sid, cause)

    def goes_on(self, call_sid: str, attempt: int) -> bool:
        """Whether a call whose socket has closed is to be taken up again, the `attempt`th time."""
        cause = self._endings.get(call_sid) or ""
        # No cause: the socket never came, or the hub that had it is no more.
        broken = not cause or cause.startswith(("hub-", "carrier-"))
        return broken and attempt <= RECOVERIES

    # What the carrier says

    def progress(self, sid: str) -> Progress | None:
        return self._progress.get(sid)

    def report(self, report: Progress) -> bool:
        """Take a status callback; False for one that is older than what is known."""
        known = self._progress.get(report.sid)
        if known is not None and not _newer(report, known):
            return False
        self._progress.put(report.sid, report)
        if report.status in OVER and (end := self._open.get(report.sid)) is not None:
            end("caller-hung-up")
        return True


def _newer(report: Progress, known: Progress) -> bool:
    """Told by their numbers where both have one, else by how far the call has come. What is over
    stays over."""
    if known.status in OVER:
        return False
    ours, last = report.sequence, known.sequence
    if ours is not None and last is not None and ours != last:
        return ours > last
    if report.status in STAGES and known.status in STAGES:
        return STAGES[report.status] > STAGES[known.status]
    return report.status != known.status
