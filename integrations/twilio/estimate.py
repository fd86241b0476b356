"""How much of what was sent has been spoken, estimated from its length, for nobody reports it.

Times are ms on the call's own clock. Who speaks into an answer makes the carrier say how much was
heard; this is for everything else: how long silence lasts, when a goodbye is over, and what was
heard by somebody who hangs up in the middle of an answer.
"""

from tron.calls.sentences import Piece
from tron.calls.writing import usual_ms, whole_words


class Spoken:
    """What is being said, and by when."""

    def __init__(self) -> None:
        self.by = 0
        """when all that was sent will have been spoken"""
        self.sent_at = 0
        """when the last of it was sent"""
        self._pieces: list[tuple[int, Piece]] = []
        """of what is being said now, with when each begins"""

    def begin(self) -> None:
        """Something else is said from now on, after what was sent before."""
        self._pieces.clear()

    def stop(self) -> None:
        """Nothing more is said of what was sent."""
        self.by = 0
        self._pieces.clear()

    def add(self, piece: Piece, now: int) -> None:
        begins = max(self.by, now)
        self._pieces.append((begins, piece))
        if piece.spoken:
            self.sent_at = now
            self.by = begins + usual_ms(piece.spoken)

    def heard(self, now: int) -> str:
        """What has been said so far, as it was written, in whole words."""
        heard = ""
        for begins, piece in self._pieces:
            if now < begins:
                break
            takes = usual_ms(piece.spoken)
            if now < begins + takes:
                reached = len(piece.text) * (now - begins) // takes
                return heard + piece.text[: whole_words(piece.text, reached)]
            heard += piece.text
        return heard
