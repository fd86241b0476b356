"""What the caller sent against what the hub remembers.

Some clients send only their last message and rely on the hub's memory; others send their whole
conversation each time, or its last part, or a version with an answer cut where the listener
interrupted. Both memories are honoured and nothing is said twice: this module decides, without
I/O, what the model reads and what is stored.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tron.conversation.turns import Message
from tron.storage.text import storable


@dataclass(frozen=True)
class Reconciled:
    """The outcome for one turn."""

    context: list[Message]
    """what the model reads: the conversation so far and the new messages"""
    keep: int
    """how many of the stored messages still hold; later ones are superseded"""
    add: list[Message]
    """what is to be stored behind them"""
    follows: int | None = None
    """the place in `add` of the message before which the caller sent the whole talk"""


def split(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """A request's messages as (history, new): new is all that follows the last assistant turn.

    Tool results belong to what is new.
    """
    last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
    return messages[: last + 1], messages[last + 1 :]


def reconcile(
    stored: list[Message],
    history: list[Message],
    new: list[Message],
    *,
    followed: Collection[int] = (),
) -> Reconciled:
    """Merge the hub's transcript with the history a request brought along.

    `followed`: the places of stored messages that were a `follows` when they came. If their caller
    sends the talk before one of them with something else behind it, they have edited it; anything
    else that is stored there came by another way, and the caller has not heard of it.
    """
    if not history:  # a client without memory of its own; stored turns stand
        fresh = _unsaid(stored, new)
        return Reconciled(context=[*stored, *fresh], keep=len(stored), add=fresh)
    at, skipped, matched = _align(stored, history)
    # A greeting alone begins every talk, so it tells nothing.
    whole = at == 0 and any(message.role == "user" for message in history)
    if matched == 0:
        add = [*history, *new]
        follows = len(history) if whole and not stored else None
        return Reconciled([*stored, *add], keep=len(stored), add=add, follows=follows)
    before = stored[:at]
    rest = stored[at + matched :]
    if skipped + matched < len(history):  # the caller's version differs from here on: it holds
        cut = history[skipped + matched :]
        return Reconciled(
            context=[*before, *history, *new],
            keep=at + matched,
            add=[*cut, *new],
            follows=len(cut) if whole else None,
        )
    if again := _common(rest, new):  # asked again: what came of it then is replaced
        kept = at + matched + again
        return Reconciled(context=[*before, *history, *new], keep=kept, add=new[again:])
    if whole and (not rest or matched in followed):  # it goes on from here, or was edited here
        return Reconciled([*history, *new], keep=matched, add=new, follows=0)
    fresh = _unsaid(rest, new)
    return Reconciled(context=[*before, *history, *rest, *fresh], keep=len(stored), add=fresh)


def _unsaid(stored: list[Message], new: list[Message]) -> list[Message]:
    """`new` without what `stored` ends with: that was never answered and is only sent again."""
    for length in range(min(len(stored), len(new)), 0, -1):
        if _common(stored[-length:], new) == length:
            return new[length:]
    return list(new)


def _align(stored: list[Message], history: list[Message]) -> tuple[int, int, int]:
    """Where `history` lies on `stored`: (place in stored, messages skipped in history, matched).

    Either the history starts somewhere inside what is stored, or it reaches further back than
    what is held and the stored part starts somewhere inside it.
    """
    best, score = (0, 0, 0), (False, 0)  # a fit to the end of the history, then the longer one
    for at in range(len(stored)):
        matched = _common(stored[at:], history)
        if matched and (fit := (matched == len(history), matched)) >= score:
            best, score = (at, 0, matched), fit
    for skipped in range(1, len(history)):
        matched = _common(stored, history[skipped:])
        # A greeting repeats in every conversation: only a full fit is evidence, or one that
        # differs in its last message, an answer that was cut.
        full = min(len(stored), len(history) - skipped)
        fit = (skipped + matched == len(history), matched)
        if fit > score and (matched == full or 1 < matched == full - 1):
            best, score = (0, skipped, matched), fit
    return best


def _common(a: list[Message], b: list[Message]) -> int:
    count = 0
    for one, other in zip(a, b, strict=False):
        if fingerprint(one) != fingerprint(other):
            break
        count += 1
    return count


def fingerprint(message: Message) -> tuple[Any, ...]:
    """What makes two messages the same to a reader; white space around them does not."""
    content = storable(message.content).strip()  # as it will be read back
    calls = tuple(call.id for call in message.tool_calls or ())
    return message.role, content, message.parts, calls, message.tool_call_id or ""


EMPTY_DIGEST = ""


def digest(before: str, messages: list[Message]) -> str:
    """Continue the digest of a conversation by `messages`; equal talks have equal digests."""
    for message in messages:
        state = hashlib.sha256(before.encode())
        for part in fingerprint(message):
            state.update(repr(part).encode())
        before = state.hexdigest()
    return before
