"""What a turn needs: a step for each request, each served by a tool or answered in words.

Read afresh whenever the hub comes back with tool results; the same messages give the same steps,
so results find the step they belong to.
"""

import re
from dataclasses import dataclass

from tron.brain.offline.actions import Action, action_for, follow_up, kept_answer
from tron.brain.offline.fallback import OFFER_ASK, OFFER_MESSAGE, OFFER_REMEMBER
from tron.brain.offline.intents import Intent
from tron.brain.offline.phrasing import answer, explanation, not_possible, without_tool
from tron.brain.offline.reading import Turn
from tron.brain.offline.results import RECALLED, phrase
from tron.brain.offline.schema import fitted
from tron.brain.offline.voices import lines
from tron.conversation.turns import ToolCall

Result = tuple[ToolCall, str]

_SHORT = 200
"""characters of an answer that others may stand beside on one line"""


@dataclass
class Step:
    """One request on its way to an answer."""

    intent: Intent
    action: Action | None = None
    words: str = ""
    source: "Step | None" = None
    """the step whose result this one keeps"""
    result: Result | None = None
    second: Result | None = None
    """of the follow-up"""


class Plan:
    """The steps of a turn, with the results that are there."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._steps: list[Step] = []
        intents = meant(turn)
        for intent in intents:
            self._steps.append(_step(turn, intent, self._steps, alone=len(intents) == 1))
        self._extra = [result for result in turn.results if not self._placed(result)]

    def calls(self) -> list[Action]:
        """What is to be called now; empty: all that is to be said is known."""
        if not self._turn.results:
            return [step.action for step in self._steps if step.action]
        if not self._turn.may_call:
            return []
        wanted = map(self._next, self._steps)
        return [action for action in wanted if action]

    def text(self) -> str:
        """The answers in the order of the requests."""
        turn, said = self._turn, []
        for step in self._steps:
            if step.words and not self._extra:
                said.append(step.words)
            elif step.source and not step.second:
                said.append("There is nothing in that for me to keep.")
            elif (result := step.second or step.result) is not None:
                said.append(phrase(turn, step.intent, *result))
        said += [phrase(turn, turn.intent, *result) for result in self._extra]
        openers = (*lines(turn.speaker, "done"), *RECALLED)
        return _joined([text for text in said if text], explanation(turn), openers)

    def _placed(self, result: Result) -> bool:
        """Give `result` to the first step that waits for one of its kind."""
        name = result[0].name
        for step in self._steps:
            if step.action and step.action.tool == name and step.result is None:
                step.result = result
                return True
        for step in self._steps:
            following = self._next(step)
            if following and following.tool == name:
                step.second = result
                return True
        return False

    def _next(self, step: Step) -> Action | None:
        """The call that follows from the result of `step`, or from the one it keeps."""
        if step.second is not None:
            return None
        if step.source is not None:
            found = kept_answer(self._turn, step.source.result)
        else:
            found = step.result and follow_up(self._turn, step.intent, *step.result)
        return _fit(self._turn, found) if found else None


def meant(turn: Turn) -> list[Intent]:
    """The intents; a yes takes up what was offered one turn earlier."""
    intents = list(turn.intents)
    if intents[0].name != "yes":
        return intents
    earlier, offer = turn.before
    for name, pattern in _OFFERED:
        found = pattern.search(offer[-2_000:])
        if found and earlier:
            slots = {"text": earlier}
            if who := found.groupdict().get("who"):
                slots["who"] = turn.known.names.get(who.lower(), who)
            return [Intent(name, slots), *intents[1:]]
    return intents[1:] or intents


_OFFERED = tuple(
    (name, re.compile(re.escape(offer).replace(re.escape("{name}"), r"(?P<who>[^?]{1,40})")))
    for name, offer in (
        ("message", OFFER_MESSAGE),
        ("ask", OFFER_ASK),
        ("remember", OFFER_REMEMBER),
    )
)
_ANSWERING = ("ask_persona", "query_knowledge", "web_search")


def _step(turn: Turn, intent: Intent, before: list[Step], *, alone: bool) -> Step:
    if intent.name == "keep" and turn.has("remember"):
        sources = [s for s in before if s.action and s.action.tool in _ANSWERING]
        if sources:
            return Step(intent, source=sources[-1])
    action = action_for(turn, intent)
    if action is None:
        words = not_possible(turn, intent) or answer(turn, intent, alone=alone)
        # A yes to it would take up the whole message.
        return Step(intent, words=words if alone else words.replace(OFFER_REMEMBER, "").strip())
    if not turn.has(action.tool):
        return Step(intent, words=without_tool(turn, intent, action.tool))
    return Step(intent, action=_fit(turn, action))


def _fit(turn: Turn, action: Action) -> Action | None:
    if not turn.has(action.tool):
        return None
    return Action(action.tool, fitted(action.arguments, turn.tools[action.tool], turn.said))


def _joined(said: list[str], explanation: str, openers: tuple[str, ...]) -> str:
    """Short answers follow each other, long ones stand apart.

    What is missing is explained once, and no two answers start with the same of `openers`.
    """
    text = ""
    used: set[str] = set()
    for part in said:
        if explanation and explanation in text:
            part = part.replace(explanation, "").strip()
        opener = next((words for words in openers if part.startswith(f"{words} ")), "")
        if opener in used:
            part = part.removeprefix(opener).strip()
        used.add(opener)
        if text and part:
            apart = "\n" in part or "\n" in text or len(part) > _SHORT
            text += "\n" if apart else " "
        text += part
    return text
