"""The tools that every hub has: the one place that lists them."""

from typing import Any

from tron.agents.registry import Registry
from tron.clock import Clock
from tron.life.journal import Journal
from tron.memory.contacts import Contacts
from tron.memory.knowledge import Knowledge
from tron.memory.memory import Memory
from tron.orchestrator.orchestrator import Orchestrator
from tron.tools.contract import Tool
from tron.tools.diary import diary
from tron.tools.knowing import knowing
from tron.tools.people import people
from tron.tools.remembering import remembering
from tron.tools.watching import watching
from tron.tools.web_search import web_search


def standard_tools(
    *,
    memory: Memory,
    knowledge: Knowledge,
    contacts: Contacts,
    journal: Journal,
    agents: Registry,
    orchestrator: Orchestrator,
    clock: Clock,
    web_search_url: str,
    web_search_key: str,
) -> list[Tool[Any]]:
    """Every built-in tool, in the order of `docs/tools.md`."""
    return [
        *remembering(memory),
        *knowing(knowledge),
        *people(contacts, journal, agents),
        *diary(journal, agents, clock),
        *watching(orchestrator),
        *web_search(web_search_url, web_search_key),
    ]
