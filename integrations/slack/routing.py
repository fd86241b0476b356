"""Which persona answers, decided once a thread and changed when somebody asks for it.

In this order: a persona's own app; `maya: …` or `Maya, …` at the beginning (which also switches
the thread); whoever answered in this thread before; a channel named `#tron-maya`; the words of
the message, against what each persona is about; in `#tron` the language model, asked for one
word; otherwise the default persona. Nothing here fails: in doubt it is the default persona.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import aclosing

import msgspec
import structlog

from integrations.slack.wire import Said
from integrations.slack.workspaces import Workspaces
from tron.agents.persona import Persona
from tron.agents.registry import Registry
from tron.brain.brain import Brain
from tron.brain.contract import Ask, Text
from tron.conversation.turns import Message
from tron.errors import TronError

log = structlog.get_logger(__name__)

MODEL_S = 4.0
ROOM = "tron"
_PREFIX = re.compile(r"\s*@?([^\W\d_][\w '.-]{0,39}?)\s*[:,]\s*(.*)", re.DOTALL)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers, and what they are told."""

    persona: Persona
    text: str
    settle: bool
    """it is to be remembered for the thread"""


class Router:
    """See the module."""

    def __init__(
        self, *, agents: Registry, brain: Brain, workspaces: Workspaces, default: str
    ) -> None:
        self._agents = agents
        self._brain = brain
        self._workspaces = workspaces
        self._default = default

    async def route(self, app: str, event: Said, remembered: str | None) -> Route | None:
        """None if there is no persona at all."""
        own = self._agents.get(app) if app else None
        if own is not None:
            return Route(persona=own, text=event.text, settle=remembered != own.id)
        if (named := self._by_prefix(event.text)) is not None:
            persona, text = named
            return Route(persona=persona, text=text, settle=remembered != persona.id)
        known = self._agents.get(remembered) if remembered else None
        if known is not None:
            return Route(persona=known, text=event.text, settle=False)
        chosen = await self._choose(app, event)
        return None if chosen is None else Route(persona=chosen, text=event.text, settle=True)

    def default(self) -> Persona | None:
        """Who answers where nothing else decides."""
        everyone = self._agents.personas
        return self._agents.get(self._default) or (everyone[0] if everyone else None)

    def _by_prefix(self, text: str) -> tuple[Persona, str] | None:
        found = _PREFIX.fullmatch(text)
        persona = self._agents.get(found[1]) if found else None
        return (persona, found[2].strip()) if found and persona else None

    async def _choose(self, app: str, event: Said) -> Persona | None:
        room = (
            ""
            if event.direct
            else await self._workspaces.channel_name(app, event.team, event.channel)
        )
        if room.startswith(f"{ROOM}-"):
            persona = self._agents.get(room.removeprefix(f"{ROOM}-"))
            if persona is not None:
                return persona
        if (persona := by_words(self._agents.personas, event.text)) is not None:
            return persona
        if room == ROOM and event.text:
            return await self._by_model(event.text)
        return self.default()

    async def _by_model(self, text: str) -> Persona | None:
        everyone = self._agents.personas
        default = self.default()
        if default is None:
            return None
        people = "\n".join(f"{p.id}: {p.title}; {', '.join(p.focus)}" for p in everyone)
        ask = Ask(
            messages=[
                Message(
                    role="system",
                    content="Who of these should answer the message? Reply with one id and "
                    f"nothing else.\n{people}",
                ),
                Message(role="user", content=text[:1_000]),
            ],
            params={"max_tokens": 8, "temperature": 0},
            offline=default.id,
        )
        said = ""
        try:
            async with asyncio.timeout(MODEL_S), aclosing(self._brain.stream(ask)) as parts:
                async for batch in parts:
                    said += "".join(part.text for part in batch if isinstance(part, Text))
        except (TronError, TimeoutError) as error:
            log.info("slack.router_failed", error=type(error).__name__)
        return self._agents.get(said.strip(" .\n`'\"")) or default


def by_words(personas: Sequence[Persona], text: str) -> Persona | None:
    """Whose name, title or subjects the text has most of; None if nobody is clearly ahead."""
    scores = sorted(((_score(persona, text), persona) for persona in personas), key=lambda s: -s[0])
    if not scores or scores[0][0] == 0:
        return None
    if len(scores) > 1 and scores[1][0] == scores[0][0]:
        return None
    return scores[0][1]


def _score(persona: Persona, text: str) -> int:
    """A name counts most: whoever is called is meant."""
    return (
        5 * _has(text, persona.name)
        + 2 * _has(text, persona.title)
        + sum(_has(text, subject) for subject in persona.focus)
    )


def _has(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None
