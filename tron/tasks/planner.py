"""From a wish to steps: the persona plans, and where it can't, rules do.

The persona's model is asked for a plan in a given form and is told once what is wrong with it;
what then still doesn't check, and a model that can't be reached, leave the plan to the rules
(`wishes.py`). Nothing is done here: a plan is only steps with declared effects, which the policy
judges one by one. What can't be done is refused with the reason. Callers: the desk for a new
task, the runner when a step has failed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog

from tron.agents.persona import Persona
from tron.agents.registry import Registry
from tron.brain.offline.intents import Known
from tron.clock import Clock, iso
from tron.conversation.thinking import Thinking
from tron.errors import Invalid, ProviderRefused, TronError
from tron.memory.contacts import Contacts, e164
from tron.orchestrator.orchestrator import Orchestrator
from tron.orchestrator.process import Process
from tron.tasks.contract import Effect, PlannedStep, Step, Task
from tron.tasks.plan import checked, fill, references
from tron.tasks.wishes import PlanRefused, Situation, named, steps_for
from tron.tasks.wording import FORM, another_plan, first_plan, mended_plan
from tron.tools.contract import Tool, ToolRefused
from tron.tools.toolbox import Toolbox

log = structlog.get_logger(__name__)

THINKING_S = 45.0
"""for a plan with its repair"""
PLAN_TOKENS = 3_000
NOT_IN_PLANS = frozenset(
    ("start_task", "list_tasks", "task_status", "pause_task", "resume_task", "cancel_task")
)
"""tasks do not hand in tasks"""

Steps = tuple[PlannedStep, ...]
Tools = dict[str, Tool[Any]]


class _Line(msgspec.Struct):
    """A step as a model writes it."""

    node: str
    tool: str
    title: str = ""
    arguments: str | dict[str, Any] = {}
    needs: list[str] = []


class _Answer(msgspec.Struct):
    refusal: str | None = None
    steps: list[_Line] = []


class _Unfit(Exception):
    """A plan that can't be used; the text is for the model that made it."""


class Planner:
    """See the module."""

    def __init__(
        self,
        *,
        agents: Registry,
        orchestrator: Orchestrator,
        thinking: Thinking,
        toolbox: Toolbox,
        contacts: Contacts,
        clock: Clock,
        model_configured: bool,
    ) -> None:
        """`model_configured`: a language model is set up, whether or not it answers just now."""
        self._agents = agents
        self._orchestrator = orchestrator
        self._thinking = thinking
        self._toolbox = toolbox
        self._contacts = contacts
        self._clock = clock
        self._model_configured = model_configured

    async def plan(self, task: Task) -> Steps:
        """The steps of a new task. Raises PlanRefused, or Invalid for a plan that can't be."""
        persona = self._agents.get(task.agent)
        if persona is None:
            raise PlanRefused(f"There is no persona {task.agent!r} to do this.")
        tools = self._tools(persona)
        if self._model_configured:
            now = iso(self._clock.now_ms())
            prompt = first_plan(task, tools.values(), now, persona.timezone)
            steps = await self._thought(persona, task, prompt, tools)
            if steps is not None:
                return steps
        return await self._by_rules(task, persona, tools)

    async def revise(self, task: Task, failed: Step) -> Steps | None:
        """New steps in the place of `failed` and those not begun; None: give up."""
        persona = self._agents.get(task.agent)
        if persona is None or not self._model_configured:
            return None  # rules would only say the same again
        tools, now = self._tools(persona), iso(self._clock.now_ms())
        numbers = [int(step.node[1:]) for step in task.steps if step.node[1:].isdigit()]
        first = max(numbers, default=0) + 1
        prompt = another_plan(task, failed, tools.values(), now, persona.timezone, first)
        try:
            return await self._thought(persona, task, prompt, tools)
        except PlanRefused:
            return None

    def _tools(self, persona: Persona) -> Tools:
        """What a plan of `persona` may use."""
        offered = self._toolbox.definitions(persona.tools, in_task=True)
        names = [entry["function"]["name"] for entry in offered]
        found = [self._toolbox.find(name) for name in names if name not in NOT_IN_PLANS]
        return {tool.name: tool for tool in found if tool is not None}

    # With a model

    async def _thought(
        self, persona: Persona, task: Task, prompt: str, tools: Tools
    ) -> Steps | None:
        """A plan of the persona's own, made in a process with its budget. None: it made none."""

        async def work(process: Process) -> Steps | PlanRefused | None:
            try:
                async with asyncio.timeout(THINKING_S):
                    return await self._ask(process, persona, task.steps, prompt, tools)
            except PlanRefused as refused:
                return refused
            except TimeoutError:
                log.warning("task.plan_slow", task_id=task.id, seconds=THINKING_S)
            except TronError as error:
                log.warning("task.plan_unmade", task_id=task.id, error=error.type)
            return None

        result = await self._in_process(persona, task, work)
        if isinstance(result, PlanRefused):
            raise result
        return result

    async def _in_process(
        self,
        persona: Persona,
        task: Task,
        work: Callable[[Process], Awaitable[Steps | PlanRefused | None]],
    ) -> Steps | PlanRefused | None:
        try:
            process = self._orchestrator.spawn(
                persona.id,
                work,
                task="Plan a task",
                reason="task",
                client_id=task.client_id,
                restarts=0,
            )
        except TronError as error:
            log.warning("task.plan_unmade", task_id=task.id, error=error.type)
            return None
        try:
            await process.wait()
        finally:
            if process.live:
                await self._orchestrator.kill(process.id)
        result: Steps | PlanRefused | None = process.result
        return result

    async def _ask(
        self,
        process: Process,
        persona: Persona,
        before: list[Step],
        prompt: str,
        tools: Tools,
    ) -> Steps | None:
        """A plan that checks, mended once if need be; None: no model, or none that fits."""
        form: dict[str, Any] | None = FORM
        asked = prompt
        for _ in range(2):
            try:
                text = await self._thinking.think(
                    process, persona, asked, offline="", max_tokens=PLAN_TOKENS, form=form
                )
            except ProviderRefused:
                if form is None:
                    raise
                form = None  # not every server knows forms; the prompt describes it as well
                continue
            if not text:
                return None
            try:
                return _read(text, tools, before)
            except _Unfit as fault:
                log.info("task.plan_unfit", process_id=process.id)
                asked = mended_plan(prompt, text, str(fault))
        return None

    # Without one

    async def _by_rules(self, task: Task, persona: Persona, tools: Tools) -> Steps:
        known = self._known(persona)
        numbers = {}
        for who in named(task.intent, known):
            if number := await self._number(task.client_id, who):
                numbers[who.lower()] = number
        slack = task.owner.split(":") if task.owner.startswith("slack:") else []
        situation = Situation(
            agent=persona.id,
            tools=frozenset(tools),
            now_ms=self._clock.now_ms(),
            zone=persona.timezone,
            known=known,
            speaker=persona,
            my_number=e164(task.user_id) or e164(task.owner) or "",
            my_slack=slack[2] if len(slack) == 3 else "",
            numbers=numbers,
            model=self._model_configured,
        )
        steps = checked(steps_for(task.intent, situation), _effects(tools))
        for step in steps:  # what is not set up is said now, and not when its turn comes
            known_later = dict.fromkeys(references(step.arguments), "…")
            try:
                _fit(tools[step.tool], fill(step.arguments, known_later))
            except ToolRefused as refused:
                raise PlanRefused(f"{step.title}: {refused}") from None
        return steps

    def _known(self, persona: Persona) -> Known:
        names: dict[str, str] = {}
        for other in self._agents.personas:
            for spoken in (other.id, other.name, other.name.split(" ")[0]):
                names.setdefault(spoken.lower(), other.id)
        return Known(names=names, me=frozenset(n for n, id in names.items() if id == persona.id))

    async def _number(self, client_id: str, who: str) -> str:
        """The phone number of the one contact of that name; "" if there is none, or several."""
        wanted = set(who.lower().split())
        found = [
            contact
            for contact in await self._contacts.find(client_id, who)
            if contact.phone and wanted <= set(contact.name.lower().split())
        ]
        return (found[0].phone or "") if len(found) == 1 else ""


def _effects(tools: Tools) -> Callable[[str], Effect | None]:
    return lambda name: tools[name].effect if name in tools else None


def _read(text: str, tools: Tools, before: Sequence[Step]) -> Steps:
    """The plan in a model's answer, behind the steps `before`. Raises _Unfit, PlanRefused."""
    begin, end = text.find("{"), text.rfind("}")
    try:
        answer = msgspec.json.decode(text[begin : end + 1] if begin >= 0 else "", type=_Answer)
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise _Unfit(f"It is not JSON of the form asked for: {error}") from None
    if not answer.steps:
        reason = " ".join((answer.refusal or "").split())
        if reason:
            raise PlanRefused(reason[:500])
        raise _Unfit("It has no steps and no refusal.")
    steps = [_step(line) for line in answer.steps]
    taken = {step.node for step in before}
    if clash := next((step.node for step in steps if step.node in taken), None):
        raise _Unfit(f"There is a step {clash} already.")
    done = [step.node for step in before if step.status == "completed"]
    try:
        plan = checked(steps, _effects(tools), done=done)
    except Invalid as error:
        raise _Unfit(error.message) from None
    for step in plan:
        _check_fit(step, tools[step.tool])
    return plan


def _step(line: _Line) -> PlannedStep:
    arguments: Any = line.arguments
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments or "{}")
        except (msgspec.MsgspecError, UnicodeEncodeError):
            raise _Unfit(f"The arguments of {line.node} are no JSON.") from None
    if not isinstance(arguments, dict):
        raise _Unfit(f"The arguments of {line.node} are no JSON object.")
    return PlannedStep(
        node=line.node,
        title=line.title,
        tool=line.tool,
        arguments=arguments,
        needs=tuple(line.needs),
    )


def _check_fit(step: PlannedStep, tool: Tool[Any]) -> None:
    """Raises _Unfit for arguments that the tool would refuse, as far as they are known now."""
    if references(step.arguments):
        return
    try:
        _fit(tool, step.arguments)
    except ToolRefused as refused:
        raise _Unfit(f"{step.node}: {refused}") from None


def _fit(tool: Tool[Any], arguments: dict[str, Any]) -> None:
    """Raises ToolRefused."""
    tool.checked(msgspec.json.encode(arguments).decode())
