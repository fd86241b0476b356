"""The tools that every hub has: the one place that lists them.

`standard_tools` are for conversations and tasks, `task_tools` are what tasks are made of; most of
those work in tasks alone. Integrations add theirs when they are attached.
"""

from typing import Any

from tron.agents.registry import Registry
from tron.clock import Clock
from tron.life.journal import Journal
from tron.memory.contacts import Contacts
from tron.memory.knowledge import Knowledge
from tron.memory.memory import Memory
from tron.orchestrator.orchestrator import Orchestrator
from tron.storage.store import Store
from tron.tasks.commands import Commands
from tron.tools.contract import Tool
from tron.tools.diary import diary
from tron.tools.fetching import fetching
from tron.tools.knowing import knowing
from tron.tools.people import people
from tron.tools.remembering import remembering
from tron.tools.waits import waits
from tron.tools.watching import watching
from tron.tools.web_search import web_search
from tron.tools.workshop import workshop


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


def task_tools(
    *, store: Store, agents: Registry, clock: Clock, commands: Commands, fetch_hosts: str
) -> list[Tool[Any]]:
    """In the order of `docs/tools.md`."""
    return [
        *fetching(fetch_hosts),
        *workshop(commands),
        *waits(store, agents, clock),
    ]
