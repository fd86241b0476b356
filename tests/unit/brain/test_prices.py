"""A cost is told where it is known, and nowhere else."""

import pytest

from tron.brain.prices import Prices
from tron.brain.tokens import PER_MESSAGE, estimate, estimate_messages
from tron.conversation.turns import Message, ToolCall, Usage
from tron.settings import SettingsError

MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


def test_published_own_and_unknown_prices() -> None:
    prices = Prices()
    assert prices.cost_usd("gpt-4.1-mini", MILLION) == 2.0
    assert prices.cost_usd("gpt-4.1-mini", Usage(input_tokens=5_000, output_tokens=0)) == 0.002
    assert prices.cost_usd("offline", MILLION) == 0.0
    assert prices.cost_usd("llama3.2", MILLION) is None


def test_given_prices_win() -> None:
    prices = Prices('{"llama3.2": [1, 2.5], "gpt-4o": [0, 0]}')
    assert prices.cost_usd("llama3.2", MILLION) == 3.5
    assert prices.cost_usd("gpt-4o", MILLION) == 0.0
    assert prices.cost_usd("gpt-4.1-mini", MILLION) == 2.0


def test_speech_and_lines_have_the_price_that_is_set_or_none() -> None:
    prices = Prices('{"deepgram-stt": 0.6, "elevenlabs-tts": 50, "twilio-line": 0.01, "m": [1, 2]}')
    assert prices.heard_usd("deepgram", 90) == pytest.approx(0.9)
    assert prices.said_usd("elevenlabs", 2_000) == pytest.approx(0.1)
    assert prices.line_usd("twilio", 2.5) == pytest.approx(0.025)
    assert prices.heard_usd("openai", 90) is None
    assert Prices().line_usd("twilio", 1) is None


@pytest.mark.parametrize(
    "given",
    [
        '{"m": 3}',
        '{"x-stt": [1, 2]}',
        '{"x-line": null}',
        '{"m": [1]}',
        '{"m": ["a", "b"]}',
        '{"m": null}',
        '{"m": [NaN, 1]}',
        '{"m": [1, Infinity]}',
        '{"m": [1, 1e999]}',
        '{"m": [-1, 1]}',
        '{"x-stt": NaN}',
        '{"x-tts": "nan"}',
        '{"x-line": -0.01}',
        f'{{"x-line": 1{"0" * 400}}}',
    ],
)
def test_prices_that_make_no_sense_are_refused(given: str) -> None:
    with pytest.raises(SettingsError, match="TRON_PRICES"):
        Prices(given)


def test_estimates_grow_with_what_is_said() -> None:
    assert [estimate(""), estimate("a"), estimate("abcde")] == [0, 1, 2]
    call = ToolCall(id="c", name="time", arguments='{"zone": 1}')
    messages = [
        Message(role="user", content="12345678"),
        Message(role="assistant", tool_calls=[call]),
    ]
    assert estimate_messages(messages) == PER_MESSAGE + 2 + PER_MESSAGE + 4
