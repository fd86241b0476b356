"""The context of a turn: all that the model reads, within its budget.

The system prompt with what the persona knows of the caller, then as much of the talk as fits. Owns
how these are put together; what was said is decided before (`reconcile.py`), and nothing is
stored here. The door calls it once for each turn.
"""

from tron.agents.persona import Persona
from tron.agents.registry import Registry
from tron.brain.tokens import estimate
from tron.clock import Clock
from tron.conversation.prompt import roster, system_prompt
from tron.conversation.session import Session
from tron.conversation.turns import Message, TurnInput
from tron.conversation.window import settled, window
from tron.memory.briefing import Briefing


class Context:
    """Puts together what the model reads."""

    def __init__(self, *, tokens: int, agents: Registry, briefing: Briefing, clock: Clock) -> None:
        self._tokens = tokens
        self._agents = agents
        self._briefing = briefing
        self._clock = clock

    async def of(
        self,
        turn: TurnInput,
        session: Session,
        persona: Persona,
        talk: list[Message],
        newest: int,
        news: str,
    ) -> list[Message]:
        """The messages for the model: `talk`, of which the `newest` ones are always read, behind
        a system prompt that tells the `news` as well."""
        # Nothing can be remembered of somebody whose name was made up a moment ago.
        stranger = not turn.caller.known and len(talk) == newest
        briefing = await self._briefing.brief(
            turn.client_id, agent=persona.id, person="" if stranger else session.caller
        )
        system = system_prompt(
            persona,
            colleagues=roster(self._agents.personas, persona),
            now_ms=self._clock.now_ms(),
            spoken=turn.spoken,
            briefing=f"{briefing}\n\n{news}".strip(),
            summary=session.summary,
            instructions=turn.instructions,
        )
        budget = max(self._tokens - estimate(system), 0)
        fitting = window(talk, budget_tokens=budget, newest=newest)
        return [Message(role="system", content=system), *settled(fitting)]
