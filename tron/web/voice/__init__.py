"""The hub's voice for browsers: sessions, their socket and tasks, voices, latency and what is set
up."""

from typing import TYPE_CHECKING

from quart import Blueprint

from tron.web import policies, tasks
from tron.web.voice import rest, socket
from tron.web.voice.latency import Latency
from tron.web.voice.sessions import VoiceSessions

if TYPE_CHECKING:
    from tron.hub import Hub


def routes(hub: "Hub") -> Blueprint:
    """All of it."""
    sessions = VoiceSessions(hub.clock, hub.settings.voice_session_ttl_s)
    latency = Latency()
    hub.switchboard.ledger.watch(latency.note)
    voice = Blueprint("voice", __name__)
    voice.register_blueprint(rest.routes(hub, sessions, latency))
    voice.register_blueprint(socket.routes(hub, sessions, latency))
    voice.register_blueprint(tasks.routes(hub, sessions))
    voice.register_blueprint(policies.routes(hub))
    return voice
