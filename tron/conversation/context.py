"""The context of a turn: all that the model reads, within its budget.

The system prompt with what the persona knows of the caller, then as much of the talk as fits. Owns
how these are put together and what is too long to be let in; what was said is decided before
(`reconcile.py`), and nothing is stored here. The door calls it for each turn.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from tron.agents.persona import Persona
from tron.agents.registry import Registry
from tron.brain.tokens import CHARACTERS_PER_TOKEN, estimate, estimate_messages
from tron.clock import Clock
from tron.conversation.prompt import roster, system_prompt
from tron.conversation.session import Session
from tron.conversation.transcript import Entry
from tron.conversation.turns import Message, ToolCall, TurnInput
from tron.conversation.window import cut, fitting, must_be_read
from tron.errors import Invalid
from tron.memory.briefing import Briefing

INSTRUCTIONS = 0.75
"""the most of the budget that the instructions of a caller's client may take"""


class Context:
    """Puts together what the model reads."""

    def __init__(self, *, tokens: int, agents: Registry, briefing: Briefing, clock: Clock) -> None:
        self._tokens = tokens
        self._agents = agents
        self._briefing = briefing
        self._clock = clock

    def check(self, turn: TurnInput, persona: Persona, new: list[Message]) -> None:
        """Raises Invalid if what is new can't be read whole: nothing of it is stored then."""
        if not new:
            return
        room = self._tokens - estimate(persona.prompt) - estimate(self._instructions(turn))
        needed = estimate_messages(new[-must_be_read(new) :])
        if needed > room:
            raise Invalid(
                f"This message has about {needed} tokens, and at most {max(room, 0)} can be read "
                "(TRON_CONTEXT_TOKENS). Please shorten it.",
                param="messages",
                code="context_length_exceeded",
            )

    def _instructions(self, turn: TurnInput) -> str:
        return cut(turn.instructions, int(self._tokens * INSTRUCTIONS) * CHARACTERS_PER_TOKEN)

    async def of(
        self,
        turn: TurnInput,
        session: Session,
        persona: Persona,
        talk: list[Message],
        newest: int,
        news: str,
    ) -> list[Message]:
        """The messages for the model: `talk`, of which the `newest` ones were said just now, behind
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
            instructions=self._instructions(turn),
        )
        budget = max(self._tokens - estimate(system), 0)
        seen = fitting(with_results(talk, session.entries), budget_tokens=budget)
        return [Message(role="system", content=system), *seen]


def with_results(talk: list[Message], entries: Sequence[Entry]) -> list[Message]:
    """`talk` with what the hub's own tools answered before the caller's were asked for.

    The transcript keeps those beside the message; the model, which has not answered yet, would
    call them again.
    """
    used = {
        entry.message.tool_calls[0].id: entry.tools
        for entry in entries
        if entry.tools and entry.message.tool_calls
    }
    if not used:
        return talk
    out: list[Message] = []
    for message in talk:
        calls = message.tool_calls or []
        theirs = {call.id for call in calls}
        records = used.get(calls[0].id, []) if calls else []
        ours = {record.id: record for record in records if record.id not in theirs}
        made = [ToolCall(id=r.id, name=r.name, arguments=r.arguments) for r in ours.values()]
        out.append(replace(message, tool_calls=[*made, *calls]) if made else message)
        out += [Message(role="tool", content=r.result, tool_call_id=r.id) for r in ours.values()]
    return out
