"""The hub: every part, made once and handed to whoever needs it.

`app.py` builds one and serves it; the command line builds one without a server. Parts get what
they need through their constructors and never look anything up here; routes are given the hub.
"""

from dataclasses import dataclass

from tron.agents.registry import Registry
from tron.brain.brain import Brain
from tron.calls.switchboard import Switchboard
from tron.clock import Clock
from tron.conversation.delegation import Delegations
from tron.conversation.door import Door
from tron.conversation.sessions import Sessions
from tron.conversation.thinking import Thinking
from tron.events import Bus
from tron.heartbeat import Heartbeat
from tron.life.journal import Journal
from tron.life.life import Life
from tron.memory.contacts import Contacts
from tron.memory.knowledge import Knowledge
from tron.memory.memory import Memory
from tron.metrics import Metrics
from tron.orchestrator.history import History
from tron.orchestrator.orchestrator import Orchestrator
from tron.settings import Settings
from tron.speech.engines import Speech
from tron.storage.store import Store
from tron.subdomains import Subdomains
from tron.supervise import Tasks
from tron.tasks.desk import Desk
from tron.tasks.policy import Policies
from tron.tasks.reporting import Reporting
from tron.tasks.work import Work
from tron.tools.toolbox import Toolbox
from tron.web.security import Security


@dataclass(frozen=True, kw_only=True)
class Hub:
    """The parts of one hub."""

    id: str
    """of this process; the `hubs` table says whether it is alive"""
    settings: Settings
    clock: Clock
    bus: Bus
    background: Tasks
    heartbeat: Heartbeat
    store: Store
    security: Security
    agents: Registry
    orchestrator: Orchestrator
    history: History
    metrics: Metrics
    brain: Brain
    memory: Memory
    contacts: Contacts
    knowledge: Knowledge
    journal: Journal
    toolbox: Toolbox
    thinking: Thinking
    sessions: Sessions
    delegations: Delegations
    door: Door
    life: Life
    speech: Speech
    switchboard: Switchboard
    desk: Desk
    policies: Policies
    reporting: Reporting
    task_work: Work
    subdomains: Subdomains
    started_at: int
