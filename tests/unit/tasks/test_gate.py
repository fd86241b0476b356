"""What a persona may do in a conversation: at once, after a person's yes, or not at all."""

from typing import Any

import msgspec
import pytest

from tests.unit.tasks.house import House
from tron.conversation.turns import ToolCall
from tron.errors import StorageUnavailable
from tron.orchestrator.process import Process
from tron.storage.tables import HOUSE
from tron.tasks.gate import Gate
from tron.tasks.policy import Policies
from tron.tools.contract import Tool, ToolContext
from tron.tools.toolbox import Outcome


class Letter(msgspec.Struct):
    to: str
    text: str = "hello"


class Talk:
    """A conversation with a persona of the house."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.policies = Policies(house.store, house.clock)
        self.gate = Gate(self.policies, house.desk)
        self.sent: list[Letter] = []
        self.toolbox = house.toolbox
        self.toolbox._gate = self.gate
        self.caller = "+14155550100"
        self.toolbox.add([self.tool("post_letter")])

    def tool(self, name: str, effect: Any = "send") -> Tool[Letter]:
        async def run(_: ToolContext, args: Letter) -> str:
            self.sent.append(args)
            return "Sent."

        def why_not(args: Letter) -> str | None:
            return "Nobody lives there." if args.to == "nowhere" else None

        return Tool(name, "Posts it.", Letter, run, effect=effect, why_not=why_not)

    async def call(self, name: str, _wire: Tool[Any] | None = None, **arguments: Any) -> Outcome:
        async def idle(process: Process) -> None:
            await process.receive(3600)

        process = self.house.orchestrator.spawn("tony", idle)
        context = ToolContext(
            client_id=HOUSE,
            process=process,
            session="s1",
            caller=self.caller,
            wire_tools=(_wire,) if _wire else (),
        )
        given = msgspec.json.encode(arguments).decode()
        return await self.toolbox.perform(context, ToolCall(id="c1", name=name, arguments=given))

    async def tasks(self) -> list[Any]:
        return await self.house.desk.listing(HOUSE)


@pytest.fixture
def talk(house: House) -> Talk:
    return Talk(house)


async def test_what_is_allowed_runs_at_once(talk: Talk) -> None:
    await talk.policies.put(HOUSE, "", "send", "allow")
    assert await talk.call("post_letter", to="ann") == Outcome("Sent.", "ok")
    assert [letter.to for letter in talk.sent] == ["ann"]
    assert await talk.tasks() == []


async def test_what_needs_a_yes_waits_for_it_and_is_then_done_as_asked(talk: Talk) -> None:
    outcome = await talk.call("post_letter", to="ann", text="See you at 8")
    assert outcome.status == "asked"
    assert talk.sent == []
    (task,) = await talk.tasks()
    assert task.status == "awaiting_approval"
    assert (task.session, task.agent, task.owner) == ("s1", "tony", "+14155550100")
    assert task.id in outcome.text
    assert "See you at 8" in outcome.text
    assert "not done yet" in outcome.text
    await talk.house.yes(task)
    await talk.house.settle()
    assert talk.sent == [Letter(to="ann", text="See you at 8")]
    assert (await talk.house.see(task)).status == "completed"


async def test_what_nobody_asked_for_belongs_to_nobody(talk: Talk) -> None:
    talk.caller = ""
    await talk.call("post_letter", to="ann")
    (task,) = await talk.tasks()
    assert (task.agent, task.owner, task.user_id) == ("tony", "", "")
    assert await talk.house.desk.listing(HOUSE, owner="tony") == []


async def test_after_a_no_nothing_happens(talk: Talk) -> None:
    await talk.call("post_letter", to="ann")
    (task,) = await talk.tasks()
    await talk.house.answer(task, False)
    await talk.house.settle()
    assert talk.sent == []


async def test_the_same_asked_twice_is_one_task_and_another_is_another(talk: Talk) -> None:
    first = await talk.call("post_letter", to="ann", text="x" * 5_000)
    again = await talk.call("post_letter", to="ann", text="x" * 5_000)
    other = await talk.call("post_letter", to="ann", text="x" * 4_999 + "y")
    assert [o.status for o in (first, again, other)] == ["asked"] * 3
    assert len(await talk.tasks()) == 2
    assert "already" in again.text


async def test_what_is_denied_is_refused_and_not_asked(talk: Talk) -> None:
    await talk.policies.put(HOUSE, "tony", "send", "deny")
    outcome = await talk.call("post_letter", to="ann")
    assert outcome.status == "refused"
    assert "not allowed" in outcome.text
    assert "reach somebody" in outcome.text
    assert (talk.sent, await talk.tasks()) == ([], [])


@pytest.mark.parametrize("arguments", [{}, {"to": 5}, {"to": "nowhere"}])
async def test_nobody_is_asked_about_what_can_not_be_done(
    talk: Talk, arguments: dict[str, Any]
) -> None:
    outcome = await talk.call("post_letter", **arguments)
    assert outcome.status == "refused"
    assert await talk.tasks() == []


async def test_a_reading_tool_that_is_denied_does_not_run(talk: Talk) -> None:
    talk.toolbox.add([talk.tool("peek", effect="read")])
    assert (await talk.call("peek", to="ann")).status == "ok"
    await talk.policies.put(HOUSE, "", "read", "ask")
    assert (await talk.call("peek", to="bob")).status == "asked"
    await talk.policies.put(HOUSE, "", "read", "deny")
    assert (await talk.call("peek", to="eve")).status == "refused"
    assert [letter.to for letter in talk.sent] == ["ann"]


async def test_the_callers_own_line_is_not_asked_about_but_denied_is_denied(talk: Talk) -> None:
    wire = talk.tool("hang_up")
    assert (await talk.call("hang_up", wire, to="line")).status == "ok"
    await talk.policies.put(HOUSE, "", "send", "deny")
    assert (await talk.call("hang_up", wire, to="line")).status == "refused"
    assert len(talk.sent) == 1


async def test_while_the_policy_can_not_be_read_only_what_was_known_goes_on(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.toolbox.add([talk.tool("peek", effect="read")])
    assert (await talk.call("peek", to="ann")).status == "ok"

    async def away(*_: Any) -> Any:
        raise StorageUnavailable("The database is away.")

    monkeypatch.setattr(talk.policies, "decide", away)
    assert (await talk.call("peek", to="bob")).status == "ok"
    outcome = await talk.call("post_letter", to="ann")
    assert outcome == Outcome("The database is away.", "failed")
    assert [letter.to for letter in talk.sent] == ["ann", "bob"]
