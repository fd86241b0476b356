"""What a call cost: a view of its ledger.

Four parts: the model's tokens, the seconds each engine heard, the characters each engine said, and
the minutes on the carrier's line. The call writes a ledger line for each of the first three as it
happens (`used`, `recognised`, `synthesised`). What has no known price costs null, and so does the
whole; what runs inside the hub costs nothing.
"""

import math
from collections.abc import Iterable
from typing import Any

import msgspec
from pydantic import BaseModel, Field

from tron.brain.prices import Prices
from tron.calls.ledger import Line, Record
from tron.calls.signals import Remark
from tron.conversation.turns import Done, Usage
from tron.speech.engines import RECOGNISERS, SYNTHESISERS

OWN_WIRES = ("samantha",)
"""those no carrier is paid for"""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """`used`: the model's part in one turn."""

    model: str
    input_tokens: int
    output_tokens: int
    estimated: bool
    """the hub counted the tokens, the provider did not say"""
    usd: float | None


class Recognised(msgspec.Struct, frozen=True, kw_only=True):
    """`recognised`: one utterance, or as much of it as came before the call ended."""

    engine: str
    ms: int


class Synthesised(msgspec.Struct, frozen=True, kw_only=True):
    """`synthesised`: one segment of speech; noted with its first sound, for which providers charge
    whether it is heard to its end or not."""

    engine: str
    characters: int


def used(turn: int, done: Done) -> Remark:
    """A turn is over."""
    took = Used(
        model=done.model,
        input_tokens=done.usage.input_tokens,
        output_tokens=done.usage.output_tokens,
        estimated=done.usage.estimated,
        usd=done.cost_usd,
    )
    return Remark("used", turn, _written(took))


def recognised(engine: str, pcm_bytes: int, rate: int) -> Remark:
    """An utterance was heard, in so much sound."""
    return Remark("recognised", 0, _written(Recognised(engine=engine, ms=pcm_bytes * 500 // rate)))


def synthesised(engine: str, text: str) -> Remark:
    """The first sound of `text` is there."""
    return Remark("synthesised", 0, _written(Synthesised(engine=engine, characters=len(text))))


def _written(took: Used | Recognised | Synthesised) -> str:
    return msgspec.json.encode(took).decode()


# The view, as the API shows it


class ModelCost(BaseModel):
    """What one language model did."""

    model: str
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = Field(
        default=False, description="the hub counted tokens, the provider did not say"
    )
    usd: float | None = 0.0


class HeardCost(BaseModel):
    """What one engine heard."""

    engine: str
    seconds: float = 0.0
    usd: float | None = 0.0


class SaidCost(BaseModel):
    """What one engine said."""

    engine: str
    characters: int = 0
    usd: float | None = 0.0


class LineCost(BaseModel):
    """What the wire took."""

    wire: str
    minutes: int = Field(description="begun ones, as carriers charge them")
    usd: float | None


class CallCost(BaseModel):
    """What the call cost; null where a price is not known (`TRON_PRICES`)."""

    usd: float | None = Field(description="all of it; null if a part is")
    estimated: bool = Field(description="tokens were counted by the hub, or turns are missing")
    unmetered_turns: int = Field(description="cut off or failed: nobody told what they took")
    model: list[ModelCost]
    recognition: list[HeardCost]
    synthesis: list[SaidCost]
    line: LineCost


def cost(record: Record, lines: Iterable[Line], prices: Prices, now: int) -> CallCost:
    """What a call has cost so far; `now` in ms since the epoch."""
    models: dict[str, ModelCost] = {}
    heard: dict[str, HeardCost] = {}
    said: dict[str, SaidCost] = {}
    turns: set[int] = set()
    metered: set[int] = set()
    for line in lines:
        match line.kind:
            case "turn_began":
                turns.add(line.turn)
            case "used":
                metered.add(line.turn)
                _add_used(models, _read(line, Used), prices)
            case "recognised":
                utterance = _read(line, Recognised)
                ear = heard.setdefault(utterance.engine, HeardCost(engine=utterance.engine))
                ear.seconds = round(ear.seconds + utterance.ms / 1000, 3)
            case "synthesised":
                segment = _read(line, Synthesised)
                mouth = said.setdefault(segment.engine, SaidCost(engine=segment.engine))
                mouth.characters += segment.characters
    for ear in heard.values():
        if ear.engine in RECOGNISERS:
            ear.usd = prices.heard_usd(ear.engine, ear.seconds)
    for mouth in said.values():
        if mouth.engine in SYNTHESISERS:
            mouth.usd = prices.said_usd(mouth.engine, mouth.characters)
    carried = _line_cost(record, prices, now)
    parts: list[ModelCost | HeardCost | SaidCost | LineCost] = [carried]
    parts += [*models.values(), *heard.values(), *said.values()]
    known = [part.usd for part in parts if part.usd is not None]
    unmetered = len(turns - metered)
    return CallCost(
        usd=round(sum(known), 6) if len(known) == len(parts) else None,
        estimated=unmetered > 0 or any(model.estimated for model in models.values()),
        unmetered_turns=unmetered,
        model=list(models.values()),
        recognition=list(heard.values()),
        synthesis=list(said.values()),
        line=carried,
    )


def _add_used(models: dict[str, ModelCost], turn: Used, prices: Prices) -> None:
    found = models.setdefault(turn.model, ModelCost(model=turn.model))
    found.turns += 1
    found.input_tokens += turn.input_tokens
    found.output_tokens += turn.output_tokens
    found.estimated = found.estimated or turn.estimated
    usd = turn.usd
    if usd is None:  # nobody knew then
        usage = Usage(input_tokens=turn.input_tokens, output_tokens=turn.output_tokens)
        usd = prices.cost_usd(turn.model, usage)
    found.usd = None if usd is None or found.usd is None else round(found.usd + usd, 6)


def _line_cost(record: Record, prices: Prices, now: int) -> LineCost:
    ended = record.ended_at if record.ended_at is not None else now
    minutes = math.ceil(max(0, ended - record.started_at) / 60_000)
    usd = 0.0 if record.wire in OWN_WIRES else prices.line_usd(record.wire, minutes)
    return LineCost(wire=record.wire, minutes=minutes, usd=usd)


def _read(line: Line, kind: type[Any]) -> Any:
    return msgspec.json.decode(line.text, type=kind)
