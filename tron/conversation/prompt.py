"""What a persona is told before a conversation: its own prompt, the moment, what it should know.

The order is stable first, changing last, so that providers can reuse their prompt caches.
Whatever people wrote (memories, notes, the caller's client) is marked as such.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tron.agents.persona import Persona

SPOKEN = (
    "Your answer is spoken aloud on a voice call. Use short plain sentences, no lists, no "
    "markdown, no emoji, no web addresses; write numbers and abbreviations as they are said."
)


def system_prompt(
    persona: Persona,
    *,
    colleagues: str,
    now_ms: int,
    spoken: bool,
    briefing: str,
    summary: str | None,
    instructions: str,
) -> str:
    """The system message of one turn."""
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(persona.timezone))
    parts = [persona.prompt, colleagues]
    if spoken:
        parts.append(SPOKEN)
    if instructions:
        parts.append(f"The caller's client asks you to follow these instructions:\n{instructions}")
    if briefing:
        parts.append(briefing)
    if summary:
        parts.append(f"Earlier in this conversation (a summary):\n{summary}")
    # Only to the hour: a prompt that changes every minute is never found in a cache.
    parts.append(f"It is {local:%A, %-d %B %Y, about %-I %p} ({persona.timezone}).")
    return "\n\n".join(parts)


def roster(personas: list[Persona], me: Persona) -> str:
    """The colleagues of `me`, for its prompt."""
    lines = [
        f"- {other.name}, {other.title}: {', '.join(other.focus)}"
        for other in personas
        if other.id != me.id
    ]
    return "Your colleagues in the hub:\n" + "\n".join(lines) if lines else ""
