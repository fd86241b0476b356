"""What a call cost, from the lines of its ledger."""

import msgspec

from tron.brain.prices import Prices
from tron.calls import cost
from tron.calls.ledger import Line, Record
from tron.calls.signals import Remark
from tron.cli.call import costs
from tron.conversation.turns import Done, Usage

CALL = Record(
    id="c1",
    client_id="house",
    wire="twilio",
    direction="inbound",
    caller="x",
    called="",
    external_id=None,
    agent="tony",
    session_key="",
    started_at=0,
    ended_at=61_000,
    cause="caller-hung-up",
)
PRICES = Prices('{"m": [1, 10], "deepgram-stt": 0.6, "elevenlabs-tts": 50, "twilio-line": 0.01}')


def done(model: str, usd: float | None, *, estimated: bool = False) -> Done:
    return Done(
        finish_reason="stop",
        usage=Usage(input_tokens=1_000, output_tokens=100, estimated=estimated),
        cost_usd=usd,
        session="s",
        process_id="p",
        agent="tony",
        model=model,
        provider="x",
    )


def ledger(*remarks: Remark) -> list[Line]:
    return [
        Line(seq=seq, at=seq, kind=r.kind, turn=r.turn, text=r.text, value=0)
        for seq, r in enumerate(remarks)
    ]


def test_every_part_is_counted_and_priced() -> None:
    lines = ledger(
        Remark("turn_began", 1),
        cost.recognised("deepgram", 32_000 * 60, 16_000),
        cost.used(1, done("m", 0.002)),
        cost.synthesised("elevenlabs", "x" * 1_000),
        cost.synthesised("elevenlabs", "x" * 1_000),
        Remark("turn_began", 2),
        cost.recognised("deepgram", 32_000 * 30, 16_000),
        cost.used(2, done("m", None)),  # nobody knew the price then; now it is set
    )
    found = cost.cost(CALL, lines, PRICES, now=0)
    assert found.model_dump() == {
        "usd": 0.002 + 0.002 + 0.9 + 0.1 + 0.02,
        "estimated": False,
        "unmetered_turns": 0,
        "model": [
            {
                "model": "m",
                "turns": 2,
                "input_tokens": 2_000,
                "output_tokens": 200,
                "estimated": False,
                "usd": 0.004,
            }
        ],
        "recognition": [{"engine": "deepgram", "seconds": 90.0, "usd": 0.9}],
        "synthesis": [{"engine": "elevenlabs", "characters": 2_000, "usd": 0.1}],
        "line": {"wire": "twilio", "minutes": 2, "usd": 0.02},
    }
    shown = costs(found.model_dump())
    assert shown[0] == "cost: 1.0240 USD"
    assert "  deepgram: 90.0 s heard, 0.9000 USD" in shown


def test_what_has_no_price_costs_null_and_so_does_the_whole() -> None:
    lines = ledger(
        Remark("turn_began", 1),
        cost.used(1, done("unheard-of", None, estimated=True)),
        cost.recognised("deepgram", 32_000, 16_000),
    )
    found = cost.cost(CALL, lines, Prices(), now=0)
    assert (found.usd, found.model[0].usd, found.recognition[0].usd) == (None, None, None)
    assert found.line.usd is None
    assert found.estimated
    assert costs(found.model_dump())[0] == "cost: price unknown (estimated)"


def test_what_runs_in_the_hub_is_free_and_a_browser_has_no_carrier() -> None:
    call = msgspec.structs.replace(CALL, wire="samantha", ended_at=None)
    lines = ledger(
        Remark("turn_began", 1),
        cost.used(1, done("offline", 0.0)),
        cost.recognised("moonshine", 32_000, 16_000),
        cost.synthesised("espeak", "Hello."),
    )
    found = cost.cost(call, lines, Prices(), now=30_000)
    assert (found.usd, found.estimated, found.line.minutes) == (0.0, False, 1)


def test_turns_that_were_cut_off_are_told() -> None:
    lines = ledger(Remark("turn_began", 1), Remark("turn_began", 2), cost.used(2, done("m", 0.002)))
    found = cost.cost(CALL, lines, PRICES, now=0)
    assert (found.unmetered_turns, found.estimated) == (1, True)
