"""Routes of the OpenAI-compatible surface: chat completions, models, and ElevenLabs' custom LLM.

They all hand the turn to the door. Until the first words are known nothing is sent, so a failure
before them has its real status; after them, or once the door has let the turn in and said that it
takes its time, it is an error frame (see `completions.py`).
"""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import Gauge
from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint, Response, request
from quart_schema import document_request

from tron.conversation.caller import identify
from tron.conversation.turns import Batches, Opened, TurnEvent, TurnInput
from tron.errors import NotFound
from tron.web import bodies
from tron.web.completions import Answer, messages_of, params_of, parse
from tron.web.contract import promises
from tron.web.security import principal

if TYPE_CHECKING:
    from tron.agents.persona import Persona
    from tron.hub import Hub


FAILURES = (400, 404, 409, 413, 422, 429, 502, 504)
EVENTS = (
    "With `stream`: server-sent events, each a `chat.completion.chunk` in JSON, the last `[DONE]`; "
    "a failure in the middle is an event with `error`."
)


class GivenMessage(BaseModel):
    """One message of a request."""

    model_config = ConfigDict(extra="allow")

    role: str = Field(description="system, developer, user, assistant or tool")
    content: str | list[dict[str, Any]] | None = Field(
        default=None, description="text, or OpenAI content parts"
    )


class ChatCompletionRequest(BaseModel):
    """As OpenAI's; unknown fields are ignored."""

    model_config = ConfigDict(extra="allow")

    messages: list[GivenMessage]
    model: str | None = Field(
        default=None, description="an agent (`tony`, `maya`, …); anything else: the default one"
    )
    stream: bool | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=0)
    tools: list[dict[str, Any]] | None = None
    user: str | None = Field(default=None, description="names the caller; keeps one conversation")


class ChatCompletion(BaseModel):
    """As OpenAI's, with `tron` beside it: session, cost, tools used."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, int]
    tron: dict[str, Any]


class Model(BaseModel):
    """An agent, as a model."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "tron"


class Models(BaseModel):
    object: str = "list"
    data: list[Model]


def routes(hub: "Hub") -> Blueprint:
    """The surface of one hub."""
    blueprint = Blueprint("openai", __name__)

    @blueprint.post("/chat/completions", endpoint="chat")
    @blueprint.post("/v1/chat/completions", endpoint="v1_chat")
    # VAPI adds its path to a model's address, whether that has it already or not.
    @blueprint.post("/v1/chat/completions/chat/completions", endpoint="v1_chat_twice")
    @promises("chat", gives=ChatCompletion, fails=FAILURES, streams=EVENTS)
    @document_request(ChatCompletionRequest)
    async def chat_completions() -> Response:
        """Talk with an agent, streaming or not."""
        return await _complete(hub, channel="openai", spoken=False)

    @blueprint.post("/v1/elevenlabs-llm", endpoint="elevenlabs")
    @blueprint.post("/v1/elevenlabs-llm/chat/completions", endpoint="elevenlabs_chat")
    @promises("chat", gives=ChatCompletion, fails=FAILURES, streams=EVENTS)
    @document_request(ChatCompletionRequest)
    async def elevenlabs_llm() -> Response:
        """The same for an ElevenLabs agent: the answer is made to be spoken."""
        return await _complete(hub, channel="elevenlabs", spoken=True)

    @blueprint.get("/v1/models", endpoint="models")
    @promises("chat", gives=Models)
    async def models() -> dict[str, Any]:
        """The agents, as OpenAI lists models."""
        return {"object": "list", "data": [_model(hub, p) for p in hub.agents.personas]}

    @blueprint.get("/v1/models/<model_id>", endpoint="model")
    @promises("chat", gives=Model, fails=(404,))
    async def model(model_id: str) -> dict[str, Any]:
        """One agent."""
        persona = hub.agents.get(model_id)
        if persona is None:
            raise NotFound(
                f"The model {model_id!r} does not exist.", param="model", code="model_not_found"
            )
        return _model(hub, persona)

    return blueprint


def _model(hub: "Hub", persona: "Persona") -> dict[str, Any]:
    return {
        "id": persona.id,
        "object": "model",
        "created": hub.started_at // 1000,
        "owned_by": "tron",
    }


async def _complete(hub: "Hub", *, channel: str, spoken: bool) -> Response:
    asked, body = parse(await bodies.whole())
    now_ns = hub.clock.now_ns()
    persona = hub.agents.get(asked.model) if asked.model else None
    instructions, messages = messages_of(asked)
    caller = identify(request.headers, body, now_ns=now_ns)
    turn = TurnInput(
        caller=caller,
        channel=channel,
        agent=persona.id if persona else None,
        messages=messages,
        instructions=instructions,
        spoken=spoken or caller.call_id is not None,  # a carrier reads the answer to somebody
        params=params_of(body),
        tools=asked.tools or [],
        client_id=principal().client_id,
    )
    if not asked.stream:
        reply = await hub.door.ask(turn)
        functions = bool(asked.functions)
        answer = Answer(now_ns=now_ns, model=reply.done.agent, functions=functions)
        whole = answer.whole(reply)
        response = Response(whole, content_type="application/json")
        response.headers["x-tron-session"] = reply.done.session
        return response
    batches = hub.door.converse(turn)
    opened = cast(Opened, (await anext(batches))[0])
    # Raises what went wrong before the first words; if these are long in coming it is a KeepAlive.
    first = await anext(batches)
    answer = Answer(now_ns=now_ns, model=opened.agent, functions=bool(asked.functions))
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    response = Response(
        answer.frames(_with_first(first, batches, hub.metrics.streams_open), include_usage=usage),
        content_type="text/event-stream; charset=utf-8",
        headers={
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
            "x-tron-session": opened.session,
        },
    )
    response.timeout = None  # Quart would cut the body after 60 s
    return response


async def _with_first(
    first: list[TurnEvent], rest: Batches, open_streams: Gauge
) -> AsyncGenerator[list[TurnEvent], None]:
    with open_streams.track_inprogress():
        try:
            yield first
            async for batch in rest:
                yield batch
        finally:
            await rest.aclose()
