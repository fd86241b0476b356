"""What tokens, speech and telephone lines cost, where it is known.

USD per million tokens (input, output) as published on the vendors' price pages in 2025. Prices
change: `TRON_PRICES` replaces or adds any. It alone says what speech engines by key and carriers
cost: `deepgram-stt` is USD per minute heard, `elevenlabs-tts` per million characters said,
`twilio-line` per minute of a call. What is not in the table has no known price, and its cost is
reported as null, never as zero.
"""

import json
from math import isfinite
from typing import Any

from tron.conversation.turns import Usage
from tron.settings import SettingsError

PUBLISHED: dict[str, tuple[float, float]] = {
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4.1": (2.00, 8.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
    "gpt-5": (1.25, 10.00),
    "gpt-5-mini": (0.25, 2.00),
    "gpt-5-nano": (0.05, 0.40),
    "claude-sonnet-4-0": (3.00, 15.00),
    "claude-3-5-haiku-latest": (0.80, 4.00),
}

OWN = {"offline", "fake"}
"""models that run inside the hub and cost nothing"""
RATES = ("-stt", "-tts", "-line")
"""endings of what has one price; everything else is a model, which has two"""


class Prices:
    """The price table."""

    def __init__(self, overrides: str = "") -> None:
        """`overrides`: JSON text, `{"model": [input, output], "deepgram-stt": each}`. Raises
        SettingsError."""
        given = json.loads(overrides) if overrides else {}
        rates = {name: price for name, price in given.items() if name.endswith(RATES)}
        models = {name: price for name, price in given.items() if name not in rates}
        try:
            given_models = {name: (_price(a), _price(b)) for name, (a, b) in models.items()}
            self._rates = {name: _price(price) for name, price in rates.items()}
        except (TypeError, ValueError, OverflowError):
            raise SettingsError(
                "TRON_PRICES: every model needs [input, output], every …-stt, …-tts and …-line "
                "one number; none is below 0"
            ) from None
        self._table = PUBLISHED | given_models

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """What `usage` of `model` costs, or None where the price is not known."""
        if model in OWN:
            return 0.0
        price = self._table.get(model)
        if price is None:
            return None
        return float(usage.input_tokens * price[0] + usage.output_tokens * price[1]) / 1_000_000

    def heard_usd(self, engine: str, seconds: float) -> float | None:
        """What recognition of so much sound costs at a provider."""
        return self._rated(f"{engine}-stt", seconds / 60)

    def said_usd(self, engine: str, characters: int) -> float | None:
        """What synthesis of so many characters costs at a provider."""
        return self._rated(f"{engine}-tts", characters / 1_000_000)

    def line_usd(self, wire: str, minutes: float) -> float | None:
        """What a call of so many minutes costs at a carrier."""
        return self._rated(f"{wire}-line", minutes)

    def _rated(self, name: str, amount: float) -> float | None:
        price = self._rates.get(name)
        return None if price is None else round(price * amount, 6)


def _price(given: Any) -> float:
    """Raises TypeError, ValueError and OverflowError."""
    price = float(given)
    if not (isfinite(price) and price >= 0):
        raise ValueError(given)
    return price
