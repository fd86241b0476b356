"""Who decides what needs asking, and that whatever is not understood is denied."""

import pytest
from sqlalchemy import insert

from tron.clock import ManualClock
from tron.errors import Invalid
from tron.storage.store import Store
from tron.storage.tables import HOUSE, task_policies
from tron.tasks.policy import DEFAULTS, EVERYBODY, Policies


@pytest.fixture
def policies(store: Store) -> Policies:
    return Policies(store, ManualClock())


async def decided(policies: Policies, effect: str, agent: str = "tony", by: str = HOUSE) -> str:
    return await policies.decide(by, agent, effect)


async def test_without_rules_what_reaches_out_costs_or_runs_is_asked(policies: Policies) -> None:
    found = {effect: await decided(policies, effect) for effect in DEFAULTS}
    assert found == {
        "read": "allow",
        "write": "allow",
        "send": "ask",
        "spend": "ask",
        "execute": "ask",
    }


async def test_a_rule_for_one_persona_wins_over_that_for_all(policies: Policies) -> None:
    await policies.put(HOUSE, EVERYBODY, "send", "allow")
    await policies.put(HOUSE, "maya", "send", "ask")
    await policies.put(HOUSE, "alex", "send", "deny")
    found = [await decided(policies, "send", agent) for agent in ("tony", "maya", "alex")]
    assert found == ["allow", "ask", "deny"]
    assert await decided(policies, "send", by="another") == "ask"
    assert await decided(policies, "spend") == "ask"


async def test_what_is_denied_to_all_is_denied_to_each(policies: Policies) -> None:
    await policies.put(HOUSE, "maya", "execute", "allow")
    assert await decided(policies, "execute", "maya") == "allow"
    await policies.put(HOUSE, EVERYBODY, "execute", "deny")
    assert await decided(policies, "execute", "maya") == "deny"
    assert await policies.clear(HOUSE, EVERYBODY, "execute")
    assert not await policies.clear(HOUSE, EVERYBODY, "execute")
    assert await decided(policies, "execute", "maya") == "allow"


@pytest.mark.parametrize("effect", ["", "Send", "reads", "everything", "read "])
async def test_an_effect_nobody_knows_is_denied(policies: Policies, effect: str) -> None:
    assert await decided(policies, effect) == "deny"


@pytest.mark.parametrize("text", ["", "Allow", "yes", "allowed", "allow "])
@pytest.mark.parametrize("agent", [EVERYBODY, "tony"])
async def test_a_rule_that_can_not_be_read_denies(
    store: Store, policies: Policies, agent: str, text: str
) -> None:
    row = {"client_id": HOUSE, "agent": agent, "effect": "read", "decision": text, "updated_at": 0}
    await store.write(lambda c: c.execute(insert(task_policies), row))
    assert await decided(policies, "read") == "deny"


async def test_rules_are_listed_and_replaced(policies: Policies) -> None:
    await policies.put(HOUSE, "maya", "spend", "deny")
    await policies.put(HOUSE, EVERYBODY, "send", "deny")
    await policies.put(HOUSE, EVERYBODY, "send", "allow")
    await policies.put("another", EVERYBODY, "read", "deny")
    rules = await policies.listing(HOUSE)
    assert [(r.agent, r.effect, r.decision) for r in rules] == [
        (EVERYBODY, "send", "allow"),
        ("maya", "spend", "deny"),
    ]


@pytest.mark.parametrize(
    ("agent", "effect", "decision"),
    [("", "sends", "allow"), ("", "send", "maybe"), ("x" * 65, "send", "ask")],
)
async def test_what_is_no_rule_is_refused(
    policies: Policies, agent: str, effect: str, decision: str
) -> None:
    with pytest.raises(Invalid):
        await policies.put(HOUSE, agent, effect, decision)
    assert await policies.listing(HOUSE) == []
