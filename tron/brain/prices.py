"""What tokens cost, where it is known.

USD per million tokens (input, output) as published on the vendors' price pages in 2025. Prices
change: `TRON_PRICES` replaces or adds any. A model that is not in the table has no known price,
and its cost is reported as null, never as zero.
"""

import json

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


class Prices:
    """The price table."""

    def __init__(self, overrides: str = "") -> None:
        """`overrides`: JSON text, `{"model": [input, output]}`. Raises SettingsError."""
        given = json.loads(overrides) if overrides else {}
        try:
            prices = {model: (float(a), float(b)) for model, (a, b) in given.items()}
        except (TypeError, ValueError):
            raise SettingsError("TRON_PRICES: every model needs [input, output]") from None
        self._table = PUBLISHED | prices

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """What `usage` of `model` costs, or None where the price is not known."""
        if model in OWN:
            return 0.0
        price = self._table.get(model)
        if price is None:
            return None
        return float(usage.input_tokens * price[0] + usage.output_tokens * price[1]) / 1_000_000
