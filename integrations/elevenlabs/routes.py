"""The routes ElevenLabs and its clients call, and those operators call about them.

Every socket is refused before it is accepted, with a real status, when it may not be opened: no
token, a signed address that was used, an agent nobody knows, no room. In local mode this machine
needs none of that, as everywhere.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint, Response, request, websocket
from quart.wrappers import Websocket

from integrations.elevenlabs.agent_socket import AgentSocket
from integrations.elevenlabs.conversations import Told
from integrations.elevenlabs.proof import WebhookSignature, check_speech_engine
from integrations.elevenlabs.speech_engine import SpeechEngineSocket
from tron.agents.persona import Persona
from tron.clock import iso
from tron.errors import Invalid, TooLarge, Unauthenticated
from tron.web import bodies
from tron.web.contract import PRINTABLE, promises
from tron.web.security import Principal, arrival, principal

if TYPE_CHECKING:
    from integrations.elevenlabs import ElevenLabs

log = structlog.get_logger(__name__)

WEBHOOK = "/elevenlabs/webhook"
WEBHOOK_BYTES = 256 * 1024 * 1024
"""a whole call's sound as base64: three hours at 128 kbit/s"""
WEBHOOK_S = 120.0
IN_MEMORY_BYTES = 1024 * 1024
THEIRS = "agent_"
"""how ids of agents kept at ElevenLabs begin; here such an id means the default agent"""
SPEECH_ENGINE_HEADER = "X-Elevenlabs-Speech-Engine-Authorization"


class SignedUrlQuery(BaseModel):
    model_config = ConfigDict(extra="ignore")

    agent_id: str = Field(max_length=128, description="an agent (`tony`, `maya`, …)")


class SignedUrl(BaseModel):
    """An address that lets one conversation in, once, within a quarter of an hour."""

    signed_url: str


class CallerIn(BaseModel):
    """What ElevenLabs knows while the telephone rings."""

    model_config = ConfigDict(extra="ignore")

    caller_id: str = Field(default="", max_length=128)
    agent_id: str = Field(default="", max_length=128)
    called_number: str = Field(default="", max_length=128)
    call_sid: str = Field(default="", max_length=128, pattern=PRINTABLE)


class AgentQuery(BaseModel):
    model_config = ConfigDict(extra="ignore")

    agent: str | None = Field(default=None, max_length=64, description="default: the default one")


class ClientData(BaseModel):
    """How the conversation begins, in ElevenLabs' own shape."""

    type: str
    dynamic_variables: dict[str, str]
    conversation_config_override: dict[str, Any]
    custom_llm_extra_body: dict[str, str]
    user_id: str | None = None


class PointRequest(BaseModel):
    agent: str | None = Field(default=None, max_length=64, description="who of the hub thinks")


class Pointed(BaseModel):
    """Their agent now thinks with the hub; `token_id` names the token it does so with."""

    agent_id: str
    agent: str
    token_id: str


class ConversationShown(BaseModel):
    """One conversation that ElevenLabs held."""

    id: str
    agent_id: str
    status: str
    caller: str | None
    transcript: list[dict[str, Any]]
    summary: str | None
    duration_s: int | None
    recording: str | None
    error: str | None
    received_at: str


class ConversationList(BaseModel):
    """The latest, newest first, and how many webhooks of each type this hub process has had."""

    conversations: list[ConversationShown]
    webhooks: dict[str, int]


class ListQuery(BaseModel):
    limit: int = Field(default=50, ge=1, le=200)


def routes(wiring: "ElevenLabs") -> Blueprint:
    """The routes of one hub's ElevenLabs wire."""
    blueprint = Blueprint("elevenlabs", __name__)
    blueprint.record_once(lambda state: bodies.allow(state.app, WEBHOOK, WEBHOOK_BYTES))
    hub = wiring.hub

    @blueprint.websocket("/v1/convai/conversation", endpoint="conversation")
    @promises("signed", fails=(401, 404))
    async def conversation() -> Response | None:
        """ElevenLabs' agents protocol, served by the hub."""
        return await _converse(wiring, maybe_original=False)

    @blueprint.websocket("/ws/elevenlabs", endpoint="original")
    @promises("signed", fails=(401, 404))
    async def original() -> Response | None:
        """The same, and the dialect of the original browser client."""
        plain = not (websocket.args.get("source") or websocket.requested_subprotocols)
        return await _converse(wiring, maybe_original=plain)

    @blueprint.get("/v1/convai/conversation/get-signed-url")
    @promises("signed", gives=SignedUrl, query=SignedUrlQuery, fails=(401, 404))
    async def signed_url(query: SignedUrlQuery) -> dict[str, str]:
        """An address for a client that must not have the token (`xi-api-key`) itself."""
        who = await _admit(wiring, request.scope, request.headers.get("xi-api-key"))
        persona = _persona(wiring, query.agent_id)
        signature = await wiring.links.mint(who.client_id, persona.id)
        base = urlsplit(hub.settings.public_url or request.host_url)
        scheme = {"https": "wss", "http": "ws"}.get(base.scheme, "wss")
        path = f"{base.path.rstrip('/')}/v1/convai/conversation"
        asked = f"agent_id={quote(query.agent_id)}&conversation_signature={signature}"
        return {"signed_url": f"{scheme}://{base.netloc}{path}?{asked}"}

    @blueprint.websocket("/elevenlabs/speech-engine")
    @promises("signed", fails=(401, 404))
    async def speech_engine() -> Response | None:
        """ElevenLabs hears and speaks; the hub thinks."""
        token = websocket.headers.get(SPEECH_ENGINE_HEADER)
        check_speech_engine(token, hub.settings.elevenlabs_api_key, hub.clock.now_ms())
        persona = _persona(wiring, websocket.args.get("agent"))
        socket = SpeechEngineSocket(hub, _socket(), agent=persona.id)
        with wiring.place_for(socket):
            await websocket.accept()
            await socket.run()
        return None

    @blueprint.post(WEBHOOK)
    @promises("signed", fails=(400, 401, 413))
    async def webhook() -> Response:
        """What ElevenLabs tells after a conversation: transcript, sound, or why there was none."""
        event = await _event(wiring)
        try:
            wiring.heard(await wiring.conversations.tell(event))
        except Invalid as error:  # trying again would change nothing, and ten in a row disable us
            log.warning("elevenlabs.webhook_unread", param=error.param)
        return Response(b"{}", content_type="application/json")

    @blueprint.post("/elevenlabs/conversation-init")
    @promises("chat", gives=ClientData, body=CallerIn, query=AgentQuery, fails=(404,))
    async def conversation_init(data: CallerIn, query: AgentQuery) -> dict[str, Any]:
        """Who is calling, and how to greet them, while the telephone rings."""
        persona = _persona(wiring, query.agent)
        return await wiring.personal(
            persona, principal().client_id, caller=data.caller_id, call_sid=data.call_sid
        )

    @blueprint.post("/api/elevenlabs/agents/<agent_id>/brain")
    @promises("admin", gives=Pointed, body=PointRequest, fails=(404, 422, 502))
    async def point(agent_id: str, data: PointRequest) -> dict[str, str]:
        """Let an agent kept at ElevenLabs think with this hub."""
        persona = _persona(wiring, data.agent)
        token_id = await wiring.point(agent_id, persona.id)
        return {"agent_id": agent_id, "agent": persona.id, "token_id": token_id}

    @blueprint.get("/api/elevenlabs/conversations")
    @promises("read", gives=ConversationList, query=ListQuery)
    async def conversations(query: ListQuery) -> dict[str, Any]:
        """The conversations ElevenLabs held, newest first."""
        told = await wiring.conversations.latest(principal().client_id, query.limit)
        return {
            "conversations": [_shown(conversation) for conversation in told],
            "webhooks": dict(wiring.counts),
        }

    return blueprint


async def _converse(wiring: "ElevenLabs", *, maybe_original: bool) -> Response | None:
    """Let one agent socket in and serve it. Raises what refuses it."""
    offered = websocket.requested_subprotocols
    signature = websocket.args.get("conversation_signature")
    asked: str | None = websocket.args.get("agent_id")
    if signature is not None:
        granted = await wiring.links.redeem(signature)
        if granted is None:
            raise Unauthenticated("This address was used, or is too old.", code="wrong_signature")
        client_id, asked = granted
    else:
        # A browser can't set headers, but it can offer a subprotocol.
        bearer = next((p[7:] for p in offered if p.startswith("bearer.")), None)
        token = websocket.headers.get("xi-api-key") or bearer
        client_id = (await _admit(wiring, websocket.scope, token)).client_id
    persona = _persona(wiring, asked)
    socket = AgentSocket(
        wiring.hub,
        wiring.endings,
        _socket(),
        persona=persona,
        client_id=client_id,
        maybe_original=maybe_original,
    )
    with wiring.place_for(socket):
        await websocket.accept(subprotocol="convai" if "convai" in offered else None)
        await socket.run()
    return None


def _socket() -> Websocket:
    socket: Websocket = websocket._get_current_object()  # type: ignore[attr-defined]
    return socket


async def _admit(wiring: "ElevenLabs", scope: Any, token: str | None) -> Principal:
    """In whose name; a hub token may come as their own clients send a key. Raises."""
    came = arrival(scope)
    if token:
        came = msgspec.structs.replace(came, token=token)
    return await wiring.hub.security.admit(came, "chat")


def _persona(wiring: "ElevenLabs", asked: str | None) -> Persona:
    """Who is asked for. Raises NotFound for somebody who does not exist."""
    if asked and asked.startswith(THEIRS):
        asked = None
    return wiring.hub.agents.wanted(asked, param="agent_id")


async def _event(wiring: "ElevenLabs") -> dict[str, Any]:
    """The event of a webhook, once all of its body is proven. Raises TronError.

    The body goes to a file as it comes in: it may be a whole call's sound, and until its last byte
    anybody could have sent it.
    """
    hub = wiring.hub
    header = request.headers.get("ElevenLabs-Signature")
    signature = WebhookSignature(header, hub.settings.elevenlabs_webhook_secret, hub.clock.now_ms())
    size = 0
    with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
        async with AsyncExitStack() as place:
            try:
                async with asyncio.timeout(WEBHOOK_S):
                    async for data in request.body:
                        if size <= IN_MEMORY_BYTES < size + len(data):
                            await place.enter_async_context(wiring.large_webhooks)
                        size += len(data)
                        if size > WEBHOOK_BYTES:
                            raise TooLarge("The webhook's body is too large.")
                        signature.feed(data)
                        file.write(data)
            except TimeoutError:
                raise Invalid("The body did not come in time.") from None
            signature.check()
            file.seek(0)
            return await asyncio.to_thread(_decoded, file)


def _decoded(file: Any) -> dict[str, Any]:
    try:
        event: dict[str, Any] = msgspec.json.decode(file.read(), type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise Invalid("The body is not a JSON object.", code="invalid_json") from None
    return event


def _shown(told: Told) -> dict[str, Any]:
    return {
        "id": told.conversation_id,
        "agent_id": told.agent_id,
        "status": told.status,
        "caller": told.caller,
        "transcript": [msgspec.to_builtins(line) for line in told.lines],
        "summary": told.summary,
        "duration_s": told.duration_s,
        "recording": told.audio,
        "error": told.error,
        "received_at": iso(told.received_at),
    }
