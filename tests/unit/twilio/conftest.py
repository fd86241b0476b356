"""A hub of real parts with Twilio attached, without a server; its engines say fixed things."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from quart import Quart
from quart.testing.connections import WebsocketDisconnectError
from werkzeug.datastructures import Headers

from integrations.twilio.integration import Twilio
from tests.harness.waiting import eventually
from tron.app import create_app, open_hub
from tron.calls.ledger import Line, Record
from tron.environment import load_settings
from tron.hub import Hub
from tron.storage.tables import HOUSE

PERSONA = """---
name: {name}
title: Chief
focus: [work]
tone: dry
---
You are {name}.
"""
FIXTURES = Path(__file__).parents[3] / "integrations" / "twilio" / "fixtures"


def fixture(name: str) -> Any:
    return msgspec.json.decode((FIXTURES / name).read_bytes())


class Office:
    """The app, and what a carrier does with it."""

    def __init__(self, hub: Hub, app: Quart, twilio: Twilio) -> None:
        self.hub = hub
        self.app = app
        self.twilio = twilio

    async def request(
        self,
        method: str,
        path: str,
        form: dict[str, str] | None = None,
        *,
        remote: str = "127.0.0.1",
        json: Any = None,
        **headers: str,
    ) -> tuple[int, str]:
        sent = {"Host": "127.0.0.1:3000"} | {k.replace("_", "-"): v for k, v in headers.items()}
        answer = await self.app.test_client().open(
            path,
            method=method,
            headers=Headers(sent),
            **({"json": json} if json is not None else {"form": form}),
            scope_base={"client": (remote, 50000)},
        )
        return answer.status_code, await answer.get_data(as_text=True)

    async def voice(
        self, path: str = "/twilio/voice", **fields: str
    ) -> tuple[ElementTree.Element, str]:
        """(the TwiML, the ticket in it)"""
        form = {"CallSid": "CA1", "From": "+14155550100", "To": "+15005550006"} | fields
        status, body = await self.request("POST", path, form)
        assert status == 200, body
        document = ElementTree.fromstring(body)
        ticket = document.find(".//Parameter[@name='token']")
        return document, "" if ticket is None else ticket.get("value", "")

    @asynccontextmanager
    async def socket(
        self, path: str = "/twilio/media", *, remote: str = "127.0.0.1", **headers: str
    ) -> AsyncIterator[Any]:
        sent = {"Host": "127.0.0.1:3000"} | {k.replace("_", "-"): v for k, v in headers.items()}
        client = self.app.test_client()
        async with client.websocket(
            path, headers=Headers(sent), scope_base={"client": (remote, 50000)}
        ) as socket:
            yield socket

    @asynccontextmanager
    async def call(self, ticket: str | None = None, **changes: Any) -> AsyncIterator[Any]:
        """A socket whose stream has started, with a fresh ticket unless one is given."""
        if ticket is None:
            _, ticket = await self.voice()
        async with self.socket() as socket:
            await socket.send_json(fixture("connected.json"))
            start = fixture("start.json")
            start["start"]["customParameters"] = {"token": ticket}
            start["start"]["callSid"] = "CA1"
            start["start"] |= changes
            await socket.send_json(start)
            yield socket

    async def closed(self, socket: Any) -> int:
        """Wait for the hub to close it; the code."""
        while True:
            try:
                await socket.receive()
            except WebsocketDisconnectError as closed:
                return int(closed.args[0])

    async def records(self) -> list[Record]:
        return await self.hub.switchboard.ledger.listing(HOUSE)

    async def ended(self, count: int = 1) -> list[Record]:
        """The calls, once `count` of them have ended."""

        async def all_over() -> bool:
            found = await self.records()
            return len(found) >= count and all(r.cause is not None for r in found)

        await eventually(all_over, what="calls that have ended")
        return await self.records()

    async def lines(self, record: Record) -> list[Line]:
        return (await self.hub.switchboard.ledger.read(HOUSE, record.id))[1]


Offices = Callable[..., AbstractAsyncContextManager[Office]]


@pytest.fixture
def offices(tmp_path: Path) -> Offices:
    """`async with offices(twilio_auth_token="…") as office:`"""
    personas = tmp_path / "personas"
    personas.mkdir()
    for name in ("Tony", "Maya"):
        (personas / f"{name.lower()}.md").write_text(PERSONA.format(name=name))

    @contextlib.asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[Office]:
        given = {"brain": "offline", "stt": "fake", "tts": "fake", "life": False} | settings
        chosen = load_settings({}, home=tmp_path / "home", personas=personas, **given)
        async with open_hub(chosen) as hub:
            twilio = Twilio(hub)
            app = create_app(hub, [twilio])
            hub.switchboard.start()
            yield Office(hub, app, twilio)
            await twilio.close()

    return make


@pytest.fixture
async def office(offices: Offices) -> AsyncIterator[Office]:
    async with offices() as made:
        yield made
