"""Where everything is wired: the parts of a hub, its web application, and the server.

`open_hub` makes the parts (the command line uses it without a server), `create_app` puts routes
in front of them, `serve` runs both until the process is told to stop and then drains: no new
turns, running answers finish within `TRON_DRAIN_S`.
"""

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from quart import Quart

import tron
from tron.agents.registry import Registry
from tron.brain.brain import Brain, providers_of
from tron.brain.offline import OfflineBrain
from tron.calls.switchboard import Switchboard
from tron.clock import DAY_MS, SystemClock
from tron.conversation.delegation import Delegations
from tron.conversation.door import Door
from tron.conversation.reply import Reply
from tron.conversation.sessions import Sessions
from tron.conversation.summary import Summaries
from tron.conversation.thinking import Thinking
from tron.conversation.turns import TurnInput
from tron.events import Bus
from tron.heartbeat import Heartbeat
from tron.hub import Hub
from tron.integrations import Integration, attach_all
from tron.life.journal import Journal
from tron.life.life import Life
from tron.memory.briefing import Briefing
from tron.memory.contacts import Contacts
from tron.memory.knowledge import Knowledge
from tron.memory.memory import Memory
from tron.metrics import Metrics
from tron.orchestrator.history import History
from tron.orchestrator.orchestrator import Orchestrator
from tron.settings import Settings, SettingsError
from tron.speech.engines import Speech
from tron.storage.store import Store
from tron.subdomains import Subdomains
from tron.supervise import Tasks
from tron.tasks.assembly import task_parts
from tron.tasks.contract import NewTask
from tron.tasks.desk import Created
from tron.tasks.gate import Gate
from tron.tasks.policy import Policies
from tron.tasks.reporting import Reporting
from tron.tools.standard import standard_tools
from tron.tools.toolbox import Toolbox
from tron.web import (
    audio,
    auth,
    calls,
    channels,
    errors,
    frames,
    internal,
    life,
    openai,
    page,
    security,
    sessions,
    status,
    voice,
)
from tron.web import subdomains as subdomain_proxy
from tron.web.contract import describe
from tron.web.security import Security, check_bind

log = structlog.get_logger(__name__)

SWEEP_S = 30.0
FORGET_EVERY_S = 3600.0
GARBAGE_EVERY = 10_000
"""objects made and not freed between two looks for garbage among them"""


@asynccontextmanager
async def open_hub(settings: Settings) -> AsyncIterator[Hub]:
    """The parts of a hub, ready but with no schedule or server running; closed at the end.

    Raises SettingsError or StorageUnavailable.
    """
    clock, bus, hub_id = SystemClock(), Bus(), secrets.token_hex(8)
    agents = Registry(settings.persona_folder, clock, default=settings.default_agent)
    agents.refresh()
    offline = OfflineBrain(
        agents.get,
        lambda: [persona.id for persona in agents.personas],
        model_configured=settings.has_model,
    )
    brain = Brain(providers_of(settings, offline), settings=settings, clock=clock, bus=bus)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(brain.close)
        store = await Store.open(settings.storage_url)
        closing.push_async_callback(store.close)
        guard = Security(settings, store, clock)
        await guard.load()
        metrics = Metrics(bus)
        heartbeat = Heartbeat(store, clock, hub_id)
        closing.push_async_callback(heartbeat.close)
        history = History(store, clock, bus, keep_days=settings.history_days, hub_id=hub_id)
        closing.push_async_callback(history.close)
        history.start()
        orchestrator = Orchestrator(settings, clock, bus)
        memory, contacts = Memory(store, clock), Contacts(store, clock)
        knowledge, journal = Knowledge(store, clock), Journal(store, clock)

        async def ask(turn: TurnInput) -> Reply:  # the door is made further down
            return await door.ask(turn)

        class Later:  # so is the desk
            async def create(self, new: NewTask) -> Created:
                return await tasks.desk.create(new)

        policies = Policies(store, clock)
        delegations = Delegations(store=store, clock=clock, agents=agents, hub_id=hub_id, ask=ask)
        toolbox = Toolbox(
            store,
            clock,
            [
                *standard_tools(
                    memory=memory,
                    knowledge=knowledge,
                    contacts=contacts,
                    journal=journal,
                    agents=agents,
                    orchestrator=orchestrator,
                    clock=clock,
                    web_search_url=settings.web_search_url,
                    web_search_key=settings.web_search_api_key,
                ),
                *delegations.tools(),
            ],
            Gate(policies, Later()),
        )
        closing.push_async_callback(toolbox.close)
        thinking = Thinking(
            brain=brain,
            toolbox=toolbox,
            clock=clock,
            metrics=metrics,
            tool_rounds=settings.tool_rounds,
        )
        closing.push_async_callback(thinking.close)
        tasks = task_parts(
            settings=settings,
            store=store,
            clock=clock,
            agents=agents,
            orchestrator=orchestrator,
            toolbox=toolbox,
            thinking=thinking,
            contacts=contacts,
            hub_id=hub_id,
        )
        conversations = Sessions(
            store=store, clock=clock, bus=bus, expire_s=settings.session_expire_s
        )
        closing.push_async_callback(conversations.close)
        closing.push_async_callback(orchestrator.close)
        briefing = Briefing(memory, contacts, knowledge, journal, clock)
        closing.push_async_callback(briefing.close)
        door = Door(
            settings=settings,
            clock=clock,
            bus=bus,
            agents=agents,
            orchestrator=orchestrator,
            sessions=conversations,
            thinking=thinking,
            briefing=briefing,
            summaries=Summaries(
                context_tokens=settings.context_tokens,
                agents=agents,
                orchestrator=orchestrator,
                sessions=conversations,
                thinking=thinking,
            ),
            delegations=delegations,
            aside=tasks.talk,
        )
        closing.push_async_callback(door.close)
        closing.push_async_callback(delegations.close)
        living = Life(
            settings,
            clock,
            bus,
            store,
            agents,
            orchestrator,
            thinking,
            journal,
            knowledge,
            hub_id,
        )
        closing.push_async_callback(living.close)
        speech = Speech(settings, clock=clock, bus=bus)
        closing.push_async_callback(speech.close)
        switchboard = Switchboard(
            settings=settings,
            clock=clock,
            store=store,
            agents=agents,
            door=door,
            speech=speech,
            contacts=contacts,
            hub_id=hub_id,
        )
        closing.push_async_callback(switchboard.close)
        reporting = Reporting(
            desk=tasks.desk, told=tasks.told, talk=tasks.talk, switchboard=switchboard
        )
        closing.push_async_callback(tasks.close)
        closing.push_async_callback(reporting.close)
        background = Tasks("hub")
        closing.push_async_callback(background.close)
        yield Hub(
            id=hub_id,
            settings=settings,
            clock=clock,
            bus=bus,
            background=background,
            heartbeat=heartbeat,
            store=store,
            security=guard,
            agents=agents,
            orchestrator=orchestrator,
            history=history,
            metrics=metrics,
            brain=brain,
            memory=memory,
            contacts=contacts,
            knowledge=knowledge,
            journal=journal,
            toolbox=toolbox,
            thinking=thinking,
            sessions=conversations,
            delegations=delegations,
            door=door,
            life=living,
            speech=speech,
            switchboard=switchboard,
            desk=tasks.desk,
            policies=policies,
            reporting=reporting,
            task_work=tasks.work,
            subdomains=Subdomains(settings, store, clock),
            started_at=clock.now_ms(),
        )


def create_app(hub: Hub, integrations: Sequence[Integration] = ()) -> Quart:
    """The web application of a hub."""
    app = Quart("tron", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = hub.settings.max_body_bytes
    describe(app)
    errors.install(app)
    security.guard(app, hub.security)
    for group in (openai, audio, sessions, status, calls, voice, life, internal, auth, page):
        app.register_blueprint(group.routes(hub))
    app.register_blueprint(channels.routes(hub, integrations))
    for integration in integrations:
        app.register_blueprint(integration.blueprint())
    return app


async def serve(settings: Settings) -> None:
    """Run a hub until SIGTERM or SIGINT. Raises SettingsError, StorageUnavailable."""
    async with open_hub(settings) as hub:
        check_bind(settings, hub.security.has_owner)
        with _listen(settings) as listener:  # before anything runs by itself
            integrations = attach_all(hub)
            app = create_app(hub, integrations)
            proxy = subdomain_proxy.install(app, hub.subdomains)
            await _start(hub)
            for integration in integrations:
                await integration.start()
            _collect_only_what_comes()
            log.info(
                "hub.started",
                url=f"http://{settings.host}:{listener.getsockname()[1]}",
                version=tron.__version__,
                brain=[guarded.provider.name for guarded in hub.brain.providers],
                personas=[persona.name for persona in hub.agents.personas],
            )
            frames.install()
            try:
                await hypercorn_serve(
                    app, _server(settings, listener), shutdown_trigger=_told_to_stop(hub, listener)
                )
            finally:
                for integration in integrations:
                    await integration.close()
                if proxy is not None:
                    await proxy.close()
    log.info("hub.stopped")


def _listen(settings: Settings) -> socket.socket:
    """The listening socket. Raises SettingsError if the address can't be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise SettingsError(
            f"TRON_PORT={settings.port}: can't listen on {settings.host} ({error.strerror})"
        ) from error


def _told_to_stop(hub: Hub, listener: socket.socket) -> Callable[[], Awaitable[None]]:
    """Waits for SIGTERM or SIGINT, then lets no new turn in, and soon nobody who connects."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def until_told() -> None:
        await stop.wait()
        log.info("hub.draining", seconds=hub.settings.drain_s)
        hub.door.shut()
        hub.switchboard.shut(hub.settings.drain_s)
        # Hypercorn closes its copy. While this one is open, who connects would wait for nobody.
        listener.close()
        hub.task_work.shut()

    return until_told


async def _start(hub: Hub) -> None:
    """Everything that runs by itself while the hub serves."""
    await hub.heartbeat.start()
    await hub.delegations.start()
    hub.background.start(hub.agents.watch(), "personas")
    for name, tidy in _tidying(hub).items():
        hub.background.repeat(tidy, name, every_s=SWEEP_S)
    keep_ms = hub.settings.history_days * DAY_MS
    for name, prune in _forgetting(hub).items():
        hub.background.repeat(partial(prune, keep_ms), name, every_s=FORGET_EVERY_S)
    hub.speech.start()
    hub.switchboard.start()
    await hub.life.start()
    hub.task_work.start(hub.desk.plan)
    hub.reporting.start()


def _collect_only_what_comes() -> None:
    """Leave what was made so far out of the search for garbage: it stays as long as the hub.

    Searched again and again, it costs a seventh of the CPU under load, in pauses of 0.2 s.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_EVERY, 10, 10)
    gc.enable()


def _tidying(hub: Hub) -> dict[str, Callable[[], Awaitable[object]]]:
    """What ends what is over: sessions nobody came back to, work left behind by dead hubs."""
    return {
        "expiring sessions": hub.sessions.expire,
        "adopting delegations": hub.delegations.adopt,
        "adopting calls": hub.switchboard.ledger.adopt,
        "adopting processes": hub.history.adopt,
        "sweeping subdomains": hub.subdomains.sweep,
    }


def _forgetting(hub: Hub) -> dict[str, Callable[[int], Awaitable[object]]]:
    """What is kept for TRON_HISTORY_DAYS and not looked after by a part's own rounds."""
    return {
        "forgetting calls": hub.switchboard.ledger.prune,
        "forgetting delegations": hub.delegations.prune,
        "forgetting tool calls": hub.toolbox.prune,
    }


def _server(settings: Settings, listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]  # Hypercorn closes what it is given
    config.graceful_timeout = settings.drain_s
    config.keep_alive_timeout = 75
    config.websocket_ping_interval = 5  # also how long a closed socket may hold up a drain
    # More than the smallest frames that one read can bring. When a socket's view has ended and this
    # is full, Hypercorn waits for ever for room in it, and the connection is never let go.
    config.max_app_queue_size = 20_000
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")
    config.accesslog = None
    return config
