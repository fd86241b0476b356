"""What needs asking: the policy over the effects of tools.

Every tool declares what it does to the world; here stands what a tenant makes of that. Its rule
for one persona wins over its rule for all of them, and that over the defaults, but what it denies
to all is denied to each. What can't be read as a rule denies: nothing happens because of a typing
error in a table. Callers: the runner before each step, the gate before a tool in a conversation,
and the routes that show and change the rules.
"""

from typing import get_args

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, or_, select, update

from tron.clock import Clock
from tron.errors import Invalid
from tron.storage.rows import insert_new
from tron.storage.store import Store
from tron.storage.tables import task_policies as table
from tron.tasks.contract import EFFECTS, Decision, Effect

EVERYBODY = ""
"""in the place of a persona's id: the rule holds for all of the tenant's personas"""

DEFAULTS: dict[Effect, Decision] = {
    "read": "allow",
    "write": "allow",
    "send": "ask",
    "spend": "ask",
    "execute": "ask",
}
DOES: dict[Effect, str] = {  # told where it is refused
    "read": "look things up",
    "write": "change what the hub keeps",
    "send": "reach somebody outside",
    "spend": "cost money",
    "execute": "run a program",
}
DECISIONS: tuple[Decision, ...] = get_args(Decision)
AGENT_CHARS = 64


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant decided."""

    agent: str
    """persona id; empty: all of them"""
    effect: str
    decision: str
    updated_at: int
    """ms since the epoch"""


def decide(connection: Connection, client_id: str, agent: str, effect: str) -> Decision:
    """Whether `agent` may do what has `effect`, has to ask first, or may not."""
    if effect not in EFFECTS:
        return "deny"
    whose = {"client": client_id, "agent": agent, "effect": effect}
    rows = connection.execute(_RULES, whose)
    rules = {row.agent: _decision(row.decision) for row in rows}
    of_all = rules.get(EVERYBODY)
    if of_all == "deny":
        return "deny"
    return rules.get(agent) or of_all or DEFAULTS[effect]


_RULES = select(table.c.agent, table.c.decision).where(
    table.c.client_id == bindparam("client"),
    or_(table.c.agent == bindparam("agent"), table.c.agent == EVERYBODY),
    table.c.effect == bindparam("effect"),
)


def _decision(text: str) -> Decision:
    return next((known for known in DECISIONS if known == text), "deny")


class Policies:
    """The rules of a tenant, shown and changed."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def decide(self, client_id: str, agent: str, effect: str) -> Decision:
        """As above, on a connection of its own. Raises StorageUnavailable."""
        async with self._store.read() as connection:
            return await connection.run_sync(lambda c: decide(c, client_id, agent, effect))

    async def listing(self, client_id: str) -> list[Rule]:
        """What the tenant decided, those for all personas first; for the rest `DEFAULTS` stand."""
        columns = [table.c[name] for name in Rule.__struct_fields__]
        async with self._store.read() as connection:
            rows = await connection.execute(
                select(*columns)
                .where(table.c.client_id == client_id)
                .order_by(table.c.agent, table.c.effect)
            )
            return [Rule(**row) for row in rows.mappings()]

    async def put(self, client_id: str, agent: str, effect: str, decision: str) -> Rule:
        """Decide. Whether there is such a persona is the caller's to know. Raises Invalid."""
        if effect not in EFFECTS:
            raise Invalid(f"effect: one of {', '.join(EFFECTS)}.", param="effect")
        if decision not in DECISIONS:
            raise Invalid(f"decision: one of {', '.join(DECISIONS)}.", param="decision")
        if len(agent) > AGENT_CHARS:
            raise Invalid("agent: that is no persona's id.", param="agent")
        rule = Rule(agent=agent, effect=effect, decision=decision, updated_at=self._clock.now_ms())

        def unit(connection: Connection) -> None:
            values = {"decision": decision, "updated_at": rule.updated_at}
            if not insert_new(
                connection, table, client_id=client_id, agent=agent, effect=effect, **values
            ):
                connection.execute(
                    update(table).where(*_at(client_id, agent, effect)).values(values)
                )

        await self._store.write(unit)
        return rule

    async def clear(self, client_id: str, agent: str, effect: str) -> bool:
        """Take a rule back; False if there was none."""
        gone = delete(table).where(*_at(client_id, agent, effect))
        return bool(await self._store.write(lambda c: c.execute(gone).rowcount))


def _at(client_id: str, agent: str, effect: str) -> tuple[ColumnElement[bool], ...]:
    return (
        table.c.client_id == client_id,
        table.c.agent == agent,
        table.c.effect == effect,
    )
