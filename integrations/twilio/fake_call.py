"""One simulated phone call: follows TwiML, plays what it is sent, says what it is told.

Sound goes both ways in frames of 20 ms. What arrives is buffered and played in order, at the pace
of a telephone; a mark comes back when all before it has played; `clear` empties the buffer and
returns its marks at once. Both sides are recorded as the caller heard and spoke them. The line may
be bad: late, lossy, repeating itself, or dead.
"""

import asyncio
import base64
import contextlib
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import aiohttp
import msgspec

from tron.calls.audio import mulaw_decode, mulaw_encode, stereo, wav
from tron.calls.signals import FRAME_MS

if TYPE_CHECKING:
    from integrations.twilio.fake import FakeTwilio

RATE = 8_000
FRAME = RATE * FRAME_MS // 1000
SILENCE = b"\xff" * FRAME
MOST_VERBS = 20
PATIENCE_S = 60.0  # with whatever is sure to come


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """How good the line is."""

    jitter_ms: int = 0
    """frames are held back for up to this long, then come in a burst"""
    loss: float = 0.0
    """share of frames that never arrive"""
    duplicates: float = 0.0
    """share of frames that arrive twice"""
    dies_after_s: float | None = None
    """the first socket of the call breaks off then, without a word"""
    reads: bool = True
    """False: nothing is read from the socket, as a carrier that is stuck does"""
    seed: int = 1


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, `at_ms` after the call was answered."""

    at_ms: float
    kind: str
    """`media`, `mark`, `clear`, `played`, `text`, `connected`, `closed`, …"""
    detail: str = ""


class FakeCall:
    """See the module."""

    def __init__(self, twilio: "FakeTwilio", *, sid: str, fields: dict[str, str]) -> None:
        self.sid = sid
        self.status = "queued"
        self.events: list[Event] = []
        self.refusal: int | None = None
        """HTTP status of a socket that was not accepted"""
        self.failure = ""
        """the webhook that could not be followed, and why"""
        self.words: list[str] = []
        """by ConversationRelay: the answers' texts"""
        self.dialled: list[str] = []
        """numbers the caller was put through to, reached or not"""
        self._redirected: ElementTree.Element | None = None
        self._twilio = twilio
        self._fields = fields
        self._line = Line()
        self._random = random.Random()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._to_say: deque[bytes] = deque()
        self._buffer: deque[bytes | str] = deque()
        """frames to be played, and names of marks between them"""
        self._partial = b""
        self._said, self._heard = bytearray(), bytearray()
        self._began = asyncio.get_running_loop().time()
        self._sockets = 0
        self._stopped = False
        self._changed = asyncio.Event()
        self._sequence = 0
        self._chunk = 0
        self.parameters: dict[str, str] = {}
        self.stream_sid = ""

    # What a person does

    async def speak(self, pcm: bytes) -> None:
        """Say PCM16 at 8 kHz; returns when the last of it has been said."""
        sound = mulaw_encode(pcm)
        for at in range(0, len(sound), FRAME):
            self._to_say.append(sound[at : at + FRAME].ljust(FRAME, b"\xff"))
        await self.until(
            lambda: not self._to_say or self._stopped, within_s=len(pcm) / RATE + PATIENCE_S
        )

    async def press(self, keys: str) -> None:
        for key in keys:
            await self._send(
                "dtmf", {"dtmf": {"track": "inbound_track", "digit": key}}, {"digit": key}
            )

    async def prompt(self, text: str, lang: str = "en-US") -> None:
        """By ConversationRelay: what Twilio understood."""
        await self._send("prompt", {}, {"voicePrompt": text, "lang": lang, "last": True})

    async def interrupt(self, heard: str) -> None:
        """By ConversationRelay: the caller spoke into the answer."""
        await self._send(
            "interrupt",
            {},
            {"utteranceUntilInterrupt": heard, "durationUntilInterruptMs": "700"},
        )

    async def hang_up(self) -> None:
        """Put the receiver down."""
        if self._stopped:
            return
        self._stopped, self.status = True, "completed"
        if self._socket is not None and not self._socket.closed:
            with contextlib.suppress(ConnectionError):
                if not self.words and self.stream_sid:
                    await self._send("stop", {"stop": {"callSid": self.sid}}, {})
            await self._socket.close()
        self._tell("hung_up")

    async def redirect(self, document: ElementTree.Element) -> None:
        """By the REST API: the socket is closed, and `document` followed from now on."""
        self._redirected = document
        if self._socket is not None and not self._socket.closed:
            with contextlib.suppress(ConnectionError):
                if self.stream_sid:
                    await self._send("stop", {"stop": {"callSid": self.sid}}, {})
            await self._socket.close()

    async def break_line(self) -> None:
        """The socket dies without a word."""
        if self._socket is not None:
            transport = self._socket._response.connection
            if transport is not None and transport.transport is not None:
                transport.transport.abort()

    # What can be seen of it

    @property
    def at_ms(self) -> float:
        return (asyncio.get_running_loop().time() - self._began) * 1000

    @property
    def playing(self) -> bool:
        """Whether sound is waiting to be played or being played."""
        return any(isinstance(entry, bytes) for entry in self._buffer)

    def count(self, kind: str) -> int:
        return sum(event.kind == kind for event in self.events)

    async def until(self, true: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
        """Wait until `true()`; looked at whenever something happened. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not true():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self._changed.wait()

    async def until_quiet(self, *, for_ms: int = 400, within_s: float = PATIENCE_S) -> None:
        """Wait until something was played and then nothing for a while.

        Raises TimeoutError, and ConnectionError if the call ends first.
        """
        async with asyncio.timeout(within_s):
            quiet_since: float | None = None
            while quiet_since is None or self.at_ms - quiet_since < for_ms:
                await asyncio.sleep(FRAME_MS / 1000)
                if self._stopped:
                    raise ConnectionError(f"the call is over: {self.status}")
                if self.playing or not self.count("media"):
                    quiet_since = None
                elif quiet_since is None:
                    quiet_since = self.at_ms

    @property
    def said(self) -> bytes:
        """The caller's side, PCM16 at 8 kHz, from the first socket's opening."""
        return mulaw_decode(bytes(self._said))

    @property
    def heard(self) -> bytes:
        """What was played to the caller, on the same clock."""
        return mulaw_decode(bytes(self._heard))

    def recording(self) -> bytes:
        """A stereo WAV: the caller on the left, what was played on the right."""
        return wav(stereo(self.said, self.heard), RATE, channels=2)

    # Following TwiML

    async def run(self, url: str, line: Line) -> None:
        """The whole call, from the webhook to its end."""
        self._line, self._random = line, random.Random(line.seed)
        self.status = "in-progress"
        try:
            document: ElementTree.Element | None = await self._ask(url)
            for _ in range(MOST_VERBS):
                if document is None or self._stopped:
                    break
                document = await self._follow(document, url)
        except ConnectionError as error:  # the carrier says "an application error has occurred"
            self.failure = str(error)
        if self.status == "in-progress":
            self.status = "completed"
        self._stopped = True
        self._tell("over", self.status)

    async def _follow(self, document: ElementTree.Element, url: str) -> ElementTree.Element | None:
        """Do what it says; the next document, or None at the end of the call."""
        for verb in document:
            match verb.tag:
                case "Connect":
                    told = await self._connect(verb[0])
                    if self._redirected is not None:
                        document, self._redirected = self._redirected, None
                        return document
                    if (action := verb.get("action")) is not None and not self._stopped:
                        return await self._ask(action, **told)
                    if self._stopped:
                        return None
                case "Dial":
                    number = "".join(verb.itertext()).strip()
                    self.dialled.append(number)
                    self._tell("dialled", number)
                    outcome = self._twilio.outcomes.get(number, "completed")
                    if (action := verb.get("action")) is not None:
                        return await self._ask(action, DialCallStatus=outcome)
                case "Redirect":
                    return await self._ask((verb.text or url).strip())
                case "Pause":
                    await asyncio.sleep(float(verb.get("length", "1")))
                case "Reject":
                    self.status = verb.get("reason", "rejected")
                    return None
                case "Hangup":
                    return None
        return None

    async def _ask(self, url: str, **more: str) -> ElementTree.Element:
        fields = {**self._fields, "CallSid": self.sid, "CallStatus": self.status, **more}
        try:
            status, body = await self._twilio.post(url, fields)
        except aiohttp.ClientConnectionError:
            status, body = 502, "nobody there"
        self._tell("webhook", str(status))
        if status != 200:
            self.status = "failed"
            raise ConnectionError(f"the webhook answered {status}: {body[:500]}")
        return ElementTree.fromstring(body)

    async def _connect(self, noun: ElementTree.Element) -> dict[str, str]:
        """Returns what the webhook afterwards is told besides the usual."""
        url = noun.get("url", "")
        self.parameters = {p.get("name", ""): p.get("value", "") for p in noun.iter("Parameter")}
        try:
            self._socket = await self._twilio.connect(url)
        except aiohttp.WSServerHandshakeError as error:
            self.refusal = error.status
            self._tell("refused", str(error.status))
            return {}
        except aiohttp.ClientConnectionError:
            self._tell("refused", "nobody there")
            return {}
        self._sockets += 1
        self._tell("connected", noun.tag)
        try:
            if noun.tag == "Stream":
                await self._stream(self._socket)
                return {}
            return {"HandoffData": await self._relay(self._socket)}
        finally:
            self._tell("closed", str(self._socket.close_code))
            await self._socket.close()

    # Media Streams

    async def _stream(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.stream_sid = f"MZ{self._random.getrandbits(128):032x}"
        self._sequence = self._chunk = 0
        self._buffer.clear()
        await socket.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        start = {
            "streamSid": self.stream_sid,
            "accountSid": self._twilio.account_sid,
            "callSid": self.sid,
            "tracks": ["inbound"],
            "customParameters": self.parameters,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE, "channels": 1},
        }
        await self._send("start", {"start": start}, {})
        talk = asyncio.create_task(self._talk(socket))
        try:
            if self._line.reads:
                await self._listen(socket)
            else:
                await talk
        finally:
            talk.cancel()
            await asyncio.wait([talk])

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for raw in socket:
            if raw.type is not aiohttp.WSMsgType.TEXT:
                continue
            message = msgspec.json.decode(raw.data)
            match message["event"]:
                case "media":
                    self._partial += base64.b64decode(message["media"]["payload"])
                    self._tell("media")
                    whole = len(self._partial) // FRAME * FRAME
                    for at in range(0, whole, FRAME):
                        self._buffer.append(self._partial[at : at + FRAME])
                    self._partial = self._partial[whole:]
                case "mark":
                    self._tell("mark", message["mark"]["name"])
                    self._buffer.append(message["mark"]["name"])
                    await self._return_marks()
                case "clear":
                    self._tell("clear")
                    marks = [entry for entry in self._buffer if isinstance(entry, str)]
                    self._buffer.clear()
                    self._partial = b""
                    for name in marks:
                        await self._send("mark", {"mark": {"name": name}}, {})

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """The telephone's own clock: a frame out and a frame played every 20 ms."""
        loop = asyncio.get_running_loop()
        line, began, tick, held = self._line, loop.time(), 0, 0
        late: list[bytes] = []
        while not self._stopped and not socket.closed:
            tick += 1
            await asyncio.sleep(max(0.0, began + tick * FRAME_MS / 1000 - loop.time()))
            if (
                line.dies_after_s is not None
                and self._sockets == 1
                and tick * FRAME_MS / 1000 >= line.dies_after_s
            ):
                await self.break_line()
                return
            frame = self._to_say.popleft() if self._to_say else SILENCE
            self._said += frame
            self._heard += await self._play()
            late.append(frame)
            if held:
                held -= 1
                continue
            if line.jitter_ms and self._random.random() < 0.1:
                held = self._random.randint(1, max(1, line.jitter_ms // FRAME_MS))
                continue
            for frame in late:
                self._chunk += 1
                if self._random.random() >= line.loss:
                    await self._frame(frame, tick)
                    if self._random.random() < line.duplicates:
                        await self._frame(frame, tick)
            late.clear()

    async def _frame(self, frame: bytes, tick: int) -> None:
        media = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str(tick * FRAME_MS),
            "payload": base64.b64encode(frame).decode(),
        }
        await self._send("media", {"media": media}, {})

    async def _play(self) -> bytes:
        await self._return_marks()
        if not self._buffer:
            return SILENCE
        frame = self._buffer.popleft()
        assert isinstance(frame, bytes)
        await self._return_marks()
        return frame

    async def _return_marks(self) -> None:
        while self._buffer and isinstance(self._buffer[0], str):
            name = str(self._buffer.popleft())
            self._tell("played", name)
            await self._send("mark", {"mark": {"name": name}}, {})

    async def _send(self, event: str, media: dict[str, Any], relay: dict[str, Any]) -> None:
        socket = self._socket
        if socket is None or socket.closed:
            return
        self._sequence += 1
        if self.stream_sid:
            message = {
                "event": event,
                "sequenceNumber": str(self._sequence),
                "streamSid": self.stream_sid,
                **media,
            }
        else:
            message = {"type": event, **relay}
        with contextlib.suppress(ConnectionError):
            await socket.send_str(msgspec.json.encode(message).decode())

    # ConversationRelay

    async def _relay(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Returns the handoff data it ended with."""
        self.stream_sid = ""
        setup = {
            "sessionId": f"VX{self._random.getrandbits(128):032x}",
            "accountSid": self._twilio.account_sid,
            "callSid": self.sid,
            "from": self._fields.get("From", ""),
            "to": self._fields.get("To", ""),
            "direction": "inbound",
            "callStatus": "RINGING",
            "customParameters": self.parameters,
        }
        await self._send("setup", {}, setup)
        answer = ""
        async for raw in socket:
            if raw.type is not aiohttp.WSMsgType.TEXT:
                continue
            message = msgspec.json.decode(raw.data)
            if message["type"] == "text":
                answer += message["token"]
                if message["last"]:
                    self.words.append(answer)
                    answer = ""
            self._tell(message["type"], raw.data)
            if message["type"] == "end":
                await socket.close()
                return str(message.get("handoffData", ""))
        return ""

    def _tell(self, kind: str, detail: str = "") -> None:
        self.events.append(Event(at_ms=self.at_ms, kind=kind, detail=detail))
        self._changed.set()
