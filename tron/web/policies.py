"""`/v1/tasks/policies`: what personas may do without asking, may do if a person says yes, or may
not do; by the effect of the tool. A change counts for whatever is not begun yet."""

from typing import TYPE_CHECKING, Any

from quart import Blueprint

from tron.errors import NotFound
from tron.tasks.policy import DEFAULTS, Rule
from tron.web.contract import Ok, VoiceErrorAnswer, promises
from tron.web.security import principal
from tron.web.task_answers import PolicyList, PolicyQuery, PolicyRequest, PolicyRule
from tron.web.voice.messages import moment

if TYPE_CHECKING:
    from tron.hub import Hub


def routes(hub: "Hub") -> Blueprint:
    blueprint = Blueprint("policies", __name__)
    policies = hub.policies

    def known(agent: str) -> str:
        """Its id; empty for every agent. Raises NotFound."""
        return hub.agents.named(agent, code="agent_not_found").id if agent else ""

    @blueprint.get("/v1/tasks/policies", endpoint="list")
    @promises("read", gives=PolicyList, error=VoiceErrorAnswer)
    async def list_policies() -> dict[str, Any]:
        """What personas may do without asking: what was decided here, and what holds else."""
        rules = await policies.listing(principal().client_id)
        return {"rules": [_shown(rule) for rule in rules], "defaults": dict(DEFAULTS)}

    @blueprint.put("/v1/tasks/policies", endpoint="put")
    @promises("admin", gives=PolicyRule, body=PolicyRequest, fails=(404,), error=VoiceErrorAnswer)
    async def put(data: PolicyRequest) -> dict[str, Any]:
        """Decide what an agent, or every agent, may do with tools of an effect."""
        agent = known(data.agent)
        return _shown(await policies.put(principal().client_id, agent, data.effect, data.decision))

    @blueprint.delete("/v1/tasks/policies", endpoint="clear")
    @promises("admin", gives=Ok, query=PolicyQuery, fails=(404,), error=VoiceErrorAnswer)
    async def clear(query: PolicyQuery) -> Ok:
        """Take a decision back."""
        found = hub.agents.get(query.agent)  # one about an agent that has gone counts as well
        agent = query.agent if found is None else found.id
        if not await policies.clear(principal().client_id, agent, query.effect):
            raise NotFound("There is no such rule.", code="rule_not_found")
        return Ok()

    return blueprint


def _shown(rule: Rule) -> dict[str, Any]:
    return {
        "agent": rule.agent,
        "effect": rule.effect,
        "decision": rule.decision,
        "updated_at": moment(rule.updated_at),
    }
