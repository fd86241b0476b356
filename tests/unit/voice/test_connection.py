"""How a connection ends when its call does, and when its client does not read."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tron.app import open_hub
from tron.clock import ManualClock
from tron.environment import load_settings
from tron.web.voice.latency import Latency
from tron.web.voice.sessions import VoiceSession
from tron.web.voice.socket import Connection
from tron.web.voice.styles import style


def session() -> VoiceSession:
    return VoiceSession(
        now=0,
        user_id="u",
        owner="local",
        client_id="house",
        agent="tony",
        style=style("warm"),
        voice_id="",
        voice="",
    )


def connection(of: VoiceSession) -> Connection:
    hub = cast(Any, SimpleNamespace(clock=ManualClock(), desk=None))
    made = Connection(hub, of, Latency(), cast(Any, None))
    of.connection = made
    return made


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        ("hub-recogniser-failed", 1011),
        ("hub-stopping", 1012),
        ("persona-ended-call", 1000),
        ("operator", 1000),
    ],
)
async def test_the_end_of_the_call_closes_the_socket(cause: str, code: int) -> None:
    talk = session()
    made = connection(talk)
    made._call_over(cause)
    assert made._left.result()[0] == code
    assert (talk.ended_at is not None) == (cause == "persona-ended-call")


async def test_a_client_is_told_when_nobody_can_hear_it() -> None:
    talk, sent = session(), list[str]()
    connection(talk)._call_over("hub-recogniser-failed")
    talk.outbox.attach(None)
    talk.outbox.finish()

    async def send(text: str) -> None:
        sent.append(text)

    await talk.outbox.run(send)
    assert "local_stt_failed" in sent[0]


async def test_the_first_reason_to_close_stands() -> None:
    made = connection(session())
    made.leave(4001, "another connection took over")
    made.leave(1000, "session ended")
    assert made._left.result() == (4001, "another connection took over")


async def test_a_client_that_goes_while_the_hub_closes_is_let_go_of(tmp_path: Path) -> None:
    class Socket:
        async def accept(self) -> None:
            raise asyncio.CancelledError

    settings = load_settings(
        {},
        home=tmp_path,
        personas=Path(__file__).parents[3] / "personas",
        brain="offline",
        stt="fake",
        tts="fake",
    )
    async with open_hub(settings) as hub:
        made = Connection(hub, session(), Latency(), cast(Any, Socket()))
        call = await made._begin()
        await hub.background.close()
        await hub.switchboard.close()
        with pytest.raises(asyncio.CancelledError):
            await made._serve(call, None)
        assert call.cause == "hub-stopping"
