"""Speaking styles: `warm`, `professional`, `concise`. Any persona can take any of them.

A style is how the persona is told to speak, how long an answer may get, and how fast the voice is.
"""

import msgspec


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """One style; `pace` is a part of the voice's own."""

    id: str
    manner: str
    longest_chars: int
    pace: float

    @property
    def instructions(self) -> str:
        return (
            f"You are heard, not read. {self.manner} Keep each answer under {self.longest_chars} "
            "characters unless you are asked for more."
        )


STYLES = {
    style.id: style
    for style in (
        Style(
            id="warm",
            manner="Speak warmly and kindly, as to somebody you like.",
            longest_chars=350,
            pace=0.9,
        ),
        Style(
            id="professional",
            manner="Speak plainly and to the point, friendly but businesslike.",
            longest_chars=280,
            pace=0.92,
        ),
        Style(
            id="concise",
            manner="Say only what matters, in one or two short sentences.",
            longest_chars=180,
            pace=0.97,
        ),
    )
}


def style(id: str | None) -> Style:
    """The style called `id`; an unknown one is spoken warmly."""
    return STYLES.get(id or "", STYLES["warm"])
