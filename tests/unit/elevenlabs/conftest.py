"""A hub with the ElevenLabs wire attached and no server, and sockets to it as clients open them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from quart import Quart
from quart.testing.connections import WebsocketDisconnectError, WebsocketResponseError
from werkzeug.datastructures import Headers

from integrations.elevenlabs import ElevenLabs, attach
from tests.harness.waiting import PATIENCE_S
from tron.app import create_app, open_hub
from tron.hub import Hub
from tron.settings import Settings

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "integrations" / "elevenlabs" / "fixtures"


def fixture(name: str) -> bytes:
    """A webhook of ElevenLabs, as its bytes."""
    return (FIXTURES / f"{name}.json").read_bytes()


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    raw: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.raw)


class Client:
    """One end of an accepted socket."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.frames: list[dict[str, Any]] = []

    async def send(self, frame: dict[str, Any] | str | bytes) -> None:
        raw = frame if isinstance(frame, str | bytes) else msgspec.json.encode(frame).decode()
        await self._connection.send(raw)

    async def start(self, **fields: Any) -> None:
        """The first frame of the SDKs."""
        await self.send({"type": "conversation_initiation_client_data", **fields})

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            frame: dict[str, Any] = msgspec.json.decode(await self._connection.receive())
        self.frames.append(frame)
        return frame

    async def until(self, type: str) -> dict[str, Any]:
        """The next frame of this type."""
        while True:
            frame = await self.receive()
            if frame["type"] == type:
                return frame

    async def answer(self) -> str:
        """The next whole answer in writing."""
        text: str = (await self.until("agent_response"))["agent_response_event"]["agent_response"]
        return text

    async def closed(self) -> int:
        """The code it is closed with; what came before is in `frames`."""
        try:
            while True:
                await self.receive()
        except WebsocketDisconnectError as end:
            return int(end.args[0])


class Wired:
    """A hub, its ElevenLabs wire, and requests as they would arrive."""

    def __init__(self, hub: Hub, eleven: ElevenLabs, app: Quart) -> None:
        self.hub = hub
        self.eleven = eleven
        self.app = app

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        remote: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        """`headers` by name with underscores."""
        raw = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        sent = {"Host": "127.0.0.1:3000"} | {k.replace("_", "-"): v for k, v in headers.items()}
        answer = await self.app.test_client().open(  # type: ignore[call-arg]  # its Protocol asks for too much
            path,
            method=method,
            headers=Headers(sent),
            data=raw,
            scope_base={"client": (remote, 50000)},
        )
        return Answer(answer.status_code, await answer.get_data(as_text=False))

    @asynccontextmanager
    async def socket(
        self,
        path: str = "/v1/convai/conversation?agent_id=maya",
        *,
        remote: str = "127.0.0.1",
        subprotocols: list[str] | None = None,
        **headers: str,
    ) -> AsyncIterator[Client]:
        sent = {"Host": "127.0.0.1:3000"} | {k.replace("_", "-"): v for k, v in headers.items()}
        connection: Any = self.app.test_client().websocket(
            path,
            headers=Headers(sent),
            # Quart's test client drops those it is handed as such.
            scope_base={"client": (remote, 50000), "subprotocols": subprotocols or []},
        )
        async with connection:
            yield Client(connection)
            await connection.disconnect()

    async def refused(self, path: str, **kwargs: Any) -> int:
        """The status a socket is refused with before it is accepted."""
        with pytest.raises(WebsocketResponseError) as refusal:
            async with self.socket(path, **kwargs) as client:
                await client.receive()
        return int(refusal.value.response.status_code)


Wire = Callable[..., AbstractAsyncContextManager[Wired]]


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    """`async with wire(elevenlabs_webhook_secret="…") as wired:`; everything offline."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[Wired]:
        given: dict[str, Any] = {
            "home": tmp_path,
            "personas": ROOT / "personas",
            "brain": "offline",
            "stt": "fake",
            "tts": "fake",
        }
        async with open_hub(Settings(**(given | settings))) as hub:
            hub.switchboard.start()
            eleven = attach(hub)
            try:
                yield Wired(hub, eleven, create_app(hub, [eleven]))
            finally:
                await eleven.close()

    return make
