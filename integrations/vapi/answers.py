"""What the hub answers when VAPI waits for it: who takes a call, what tools found, where to go.

Owns the decisions behind each reply and their time limits; `wire.py` owns the shapes. An answer
that can't be had in time becomes words for the caller, never silence: VAPI drops a call whose
`assistant-request` is not answered within 7.5 seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from integrations.vapi import wire
from integrations.vapi.client import VapiClient
from integrations.vapi.ledger import Ledger, ToolState
from integrations.vapi.transfers import Transfers
from integrations.vapi.wire import Event, Json
from tron.agents.persona import Persona
from tron.clock import DAY_MS
from tron.conversation.sessions import call_key
from tron.conversation.turns import ToolCall, TurnInput
from tron.errors import NotConfigured, TronError
from tron.given import mapping
from tron.memory.contacts import Contact
from tron.orchestrator.process import Process
from tron.storage.tables import HOUSE
from tron.tools.contract import ToolContext, ToolFailed

if TYPE_CHECKING:
    from tron.hub import Hub

log = structlog.get_logger(__name__)

LOOK_UP_S = 2.0
"""an assistant does not wait longer than this to learn who is calling"""
TOOLS_S = wire.TOOL_TIMEOUT_S - 3.0
PEER_LOOK_S = 0.25
DOCUMENTS = 5
TOKEN_MS = DAY_MS
NO_CALLS_TAG = "do-not-call"

Answer = Callable[[Event, str], Awaitable[Json]]


class Answers:
    """See the module. Each answer is given the event and the base URL the hub is reached by."""

    def __init__(self, hub: "Hub", ledger: Ledger, client: VapiClient) -> None:
        self._hub = hub
        self._ledger = ledger
        self._transfers = Transfers(hub.contacts, client, hub.settings.vapi_api_url)
        self._token: tuple[str, int] | None = None
        self.by_type: dict[str, Answer] = {
            "assistant-request": self.assistant_request,
            "tool-calls": self.tool_calls,
            "function-call": self.function_call,
            "transfer-destination-request": self.transfer,
            "handoff-destination-request": self.handoff,
            "knowledge-base-request": self.knowledge,
            "call.endpointing.request": self.endpointing,
            "campaign.predial": self.predial,
        }

    # Who it is about

    def persona(self, event: Event) -> Persona:
        """Who takes this call. Raises NotConfigured if there is nobody at all."""
        return self._hub.agents.get(event.agent) or self._hub.agents.wanted(None)

    async def open_session(self, event: Event, persona: Persona) -> None:
        """The call's conversation, in the caller's name before the model is first asked: later
        requests may bring the call id alone. Of a call that has ended meanwhile it is over."""
        if not event.call_id:
            return
        turn = TurnInput(
            caller=event.caller, channel="vapi", messages=[], agent=persona.id, spoken=True
        )
        session = await self._hub.sessions.open(turn, persona.id)
        if not session.stored:
            await self._hub.sessions.append(session, [])
        call = await self._ledger.get(event.call_id)
        if call is not None and call.ended_at is not None:  # events come in any order
            await self._hub.sessions.end(HOUSE, call_key(HOUSE, event.call_id))

    async def _contact(self, phone: str) -> Contact | None:
        try:
            async with asyncio.timeout(LOOK_UP_S):
                return await self._hub.contacts.by_phone(HOUSE, phone)
        except (TronError, TimeoutError):  # a greeting without a name is better than none
            log.warning("vapi.caller_not_looked_up")
            return None

    async def inline(
        self, persona: Persona, base_url: str, caller: str, name: str, first_message: str = ""
    ) -> Json:
        """`persona` as an assistant of VAPI's that thinks with this hub, and greets the caller
        unless it is given something else to say first."""
        if not base_url:
            raise NotConfigured("TRON_PUBLIC_URL is not set: VAPI can't reach the hub's model.")
        contact = await self._contact(caller) if caller else None
        return wire.assistant(
            persona,
            url=base_url,
            token=await self.model_token(),
            caller_name=contact.name if contact else name,
            tools=[self._transfers.offered],
            first_message=first_message,
        )

    async def model_token(self) -> str | None:
        """What VAPI shows at `/chat/completions`; None where no token is asked for.

        It may chat and no more, is good for a day, and is replaced half-way through.
        """
        security = self._hub.security
        if not security.protected:
            return None
        now = self._hub.clock.now_ms()
        if self._token is None or self._token[1] < now + TOKEN_MS // 2:
            _, token = await security.issue("VAPI custom LLM", ["chat"], now + TOKEN_MS)
            self._token = (token, now + TOKEN_MS)
        return self._token[0]

    # The answers

    async def assistant_request(self, event: Event, base_url: str) -> Json:
        persona = self.persona(event)
        caller = event.caller
        try:
            async with asyncio.timeout(2 * LOOK_UP_S):
                made = await self.inline(
                    persona, base_url, caller.id if caller.known else "", caller.name or ""
                )
        except (TronError, TimeoutError) as error:
            log.error("vapi.assistant_not_given", error=_kind(error))
            return wire.spoken_error("I am sorry, nobody can take your call just now. Goodbye.")
        try:
            async with asyncio.timeout(LOOK_UP_S):
                await self._ledger.seen(event, persona.id, status="ringing")
                await self.open_session(event, persona)
        except (TronError, TimeoutError) as error:  # the call can be taken all the same
            log.warning("vapi.call_not_kept", error=_kind(error))
        return {"assistant": made}

    async def tool_calls(self, event: Event, _: str) -> Json:
        calls = wire.tool_calls(event.body)
        try:
            states = await self._run(event, calls[: wire.MOST_CALLS])
        except TronError as error:  # VAPI reads words, not statuses
            log.warning("vapi.tools_not_run", error=error.type)
            states = [{"ok": False, "result": "It can't be done just now."}] * wire.MOST_CALLS
        results = [
            wire.tool_result(call, state["result"], ok=state["ok"])
            for call, state in zip(calls, states, strict=False)
        ]
        too_many = f"Not run: at most {wire.MOST_CALLS} calls are run at once."
        results += [wire.tool_result(c, too_many, ok=False) for c in calls[wire.MOST_CALLS :]]
        return {"results": results}

    async def function_call(self, event: Event, _: str) -> Json:
        [state] = await self._run(event, [wire.function_call(event.body)])
        return {"result": wire.single_line(state["result"])}

    async def transfer(self, event: Event, _: str) -> Json:
        wanted = wire.wanted_destination(event.body)
        try:
            return {"destination": await self._transfers.destination(wanted, event)}
        except ToolFailed:
            return wire.spoken_error("I can't put you through, but I can take a message.")

    async def handoff(self, event: Event, base_url: str) -> Json:
        wanted = self._hub.agents.get(wire.wanted_destination(event.body))
        if wanted is None:
            names = ", ".join(persona.name for persona in self._hub.agents.personas)
            return wire.spoken_error(f"There is nobody by that name. You can speak with {names}.")
        caller = event.caller.id if event.caller.known else ""
        made = await self.inline(wanted, base_url, caller, event.caller.name or "")
        return {"destination": {"type": "assistant", "assistant": made}}

    async def knowledge(self, event: Event, _: str) -> Json:
        lines = wire.messages_of(event.body)
        asked = next((line.text for line in reversed(lines) if line.role == "user"), "")
        if not asked:
            return {"documents": []}
        person = event.caller.id if event.caller.known else ""
        entries = await self._hub.knowledge.query(HOUSE, text=asked, limit=DOCUMENTS)
        facts = await self._hub.memory.recall(HOUSE, person=person, query=asked, limit=DOCUMENTS)
        documents = [
            {"content": fact.content, "similarity": round(fact.similarity, 3)} for fact in facts
        ]
        documents += [
            # How well an entry fits is not known, only their order; VAPI wants a number.
            {
                "content": f"{e.title}: {e.content}",
                "similarity": round(0.9 / place, 3),
                "uuid": e.id,
            }
            for place, e in enumerate(entries, 1)
        ]
        return {"documents": documents}

    async def endpointing(self, event: Event, _: str) -> Json:
        return {"timeoutSeconds": wire.endpointing_s(wire.messages_of(event.body))}

    async def predial(self, event: Event, _: str) -> Json:
        number = wire.text(mapping(event.body.get("contact")).get("number"), 64)
        contact = await self._hub.contacts.by_phone(HOUSE, number)
        return {"eligible": contact is None or NO_CALLS_TAG not in contact.tags}

    # Tools

    async def _run(self, event: Event, calls: list[ToolCall]) -> list[ToolState]:
        """Results in the order of `calls`, each within the time VAPI waits."""
        known = await self._ledger.get(event.call_id) if event.call_id else None
        persona = self._hub.agents.get(known.agent) if known else None
        persona = self._hub.agents.get(event.agent) or persona or self.persona(event)
        fresh: dict[int, ToolCall] = {}
        states: dict[int, ToolState] = {}
        for place, call in enumerate(calls):
            seen = None
            if event.call_id and call.id:
                seen = await self._ledger.begin_tool(event, persona.id, call.id)
            if seen is None:
                fresh[place] = call
            else:
                states[place] = seen
        if fresh:
            states |= await self._run_fresh(event, persona, fresh)
        for place, call in enumerate(calls):
            if not states[place]:
                states[place] = await self._from_peer(event.call_id or "", call.id)
        return [states[place] for place in range(len(calls))]

    async def _run_fresh(
        self, event: Event, persona: Persona, calls: dict[int, ToolCall]
    ) -> dict[int, ToolState]:
        """Run them side by side in a process of `persona`, and keep what came of it."""
        late = {"ok": False, "result": "It took too long and was stopped; it may be half done."}
        states: dict[int, ToolState] = dict.fromkeys(calls, late)

        async def work(process: Process) -> None:
            context = ToolContext(
                client_id=HOUSE,
                process=process,
                session=call_key(HOUSE, event.call_id) if event.call_id else "",
                caller=event.caller.id if event.caller.known else f"anonymous-{event.call_id}",
                caller_name=event.caller.name or "",
                tools=persona.tools,
                wire_tools=(self._transfers.tool(event),),
            )

            async def run(place: int, call: ToolCall) -> None:
                result, ok = await self._hub.toolbox.run(context, call)
                states[place] = {"ok": ok, "result": result}

            await asyncio.gather(*(run(place, call) for place, call in calls.items()))

        task = "Tools for a call (vapi)"
        process = self._hub.orchestrator.spawn(
            persona.id, work, task=task, reason="vapi", restarts=0
        )
        try:
            async with asyncio.timeout(TOOLS_S):
                await process.wait()
        except TimeoutError:
            log.warning("vapi.tools_late", tools=[call.name for call in calls.values()])
        finally:
            await self._hub.orchestrator.kill(process.id)
        kept = {call.id: states[place] for place, call in calls.items() if call.id}
        if event.call_id and kept:
            try:
                await self._ledger.finish_tools(event, persona.id, kept)
            except TronError as error:  # they ran: whoever asked is told
                log.warning("vapi.tool_results_not_kept", error=error.type)
        return states

    async def _from_peer(self, call_id: str, id: str) -> ToolState:
        """Wait for what another request, maybe at another hub, makes of the same tool call."""
        for _ in range(round(TOOLS_S / PEER_LOOK_S)):
            if state := await self._ledger.tool(call_id, id):
                return state
            await asyncio.sleep(PEER_LOOK_S)
        return {"ok": False, "result": "It was begun before and its result is not known."}


def _kind(error: Exception) -> str:
    return error.type if isinstance(error, TronError) else "timeout"
