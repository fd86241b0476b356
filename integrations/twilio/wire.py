"""Media Streams: the messages of Twilio and of those who took its shape. No I/O.

Telnyx, Plivo and Exotel send nearly the same; which of them it is shows in `start`. Simulators
leave out most fields, so all but the payload are optional, and numbers may be text. A message is
decoded in one step (50 a second a call): its audio comes out as bytes.
"""

from typing import Any, Literal

import msgspec

from tron.calls.wire import Encoding, WireFacts
from tron.errors import Invalid

LONGEST_MESSAGE = 256 * 1024
"""bytes; Exotel sends up to 100 kB of audio at once, in base64"""
NAME_LIMIT = 200

Carrier = Literal["twilio", "telnyx", "plivo", "exotel"]

_ENCODINGS: dict[str, Encoding] = {
    "audio/x-mulaw": "mulaw",
    "mulaw": "mulaw",
    "pcmu": "mulaw",
    "audio/x-alaw": "alaw",
    "alaw": "alaw",
    "pcma": "alaw",
    "audio/x-l16": "pcm16",
    "l16": "pcm16",
    "raw/slin": "pcm16",
}
_RATES = (8_000, 16_000, 24_000, 48_000)
_EXOTEL_BYTES = 3_200
"""it wants no less at once, in multiples of 320"""


class Media(msgspec.Struct):
    """A piece of sound."""

    payload: bytes = b""
    track: str = "inbound"
    chunk: int | str | None = None


class Named(msgspec.Struct):
    name: str = ""


class Pressed(msgspec.Struct):
    digit: str = ""


class Message(msgspec.Struct):
    """Any message of a carrier; what it has depends on `event`."""

    event: str
    media: Media | None = None
    mark: Named | None = None
    dtmf: Pressed | None = None
    start: Any = None
    name: str = ""
    """Plivo's checkpoints have it here"""
    streamSid: Any = None
    stream_sid: Any = None
    stream_id: Any = None


_decoder = msgspec.json.Decoder(Message)


def parse(raw: str | bytes) -> Message:
    """Raises Invalid."""
    if isinstance(raw, bytes):
        raise Invalid("Binary messages are not part of this protocol.")
    if len(raw) > LONGEST_MESSAGE:
        raise Invalid("The message is too long.")
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise Invalid("The message can't be read.") from None


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as its `start` announces it."""

    carrier: Carrier
    stream_id: str
    call_id: str
    parameters: dict[str, str]
    encoding: Encoding
    rate: int

    @property
    def facts(self) -> WireFacts:
        return WireFacts(
            name="twilio",
            heard_as=self.encoding,
            heard_rate=self.rate,
            played_as=self.encoding,
            played_rate=self.rate,
            marks=True,
            metered=True,
        )


def stream_of(message: Message) -> Stream:
    """Read a `start`. Raises Invalid where it can't be served."""
    start = message.start if isinstance(message.start, dict) else {}
    carrier: Carrier
    if message.stream_sid is not None or "stream_sid" in start:
        carrier, id = "exotel", message.stream_sid or start.get("stream_sid")
    elif message.stream_id is not None:
        carrier, id = "telnyx", message.stream_id
    elif "streamId" in start:
        carrier, id = "plivo", start["streamId"]
    else:
        carrier, id = "twilio", message.streamSid or start.get("streamSid")
    form = _first(start, "mediaFormat", "media_format")
    form = form if isinstance(form, dict) else {}
    given = _first(start, "customParameters", "custom_parameters", "extra_headers")
    encoding, rate = _format(carrier, form)
    return Stream(
        carrier=carrier,
        stream_id=_text(id),
        call_id=_text(_first(start, "callSid", "call_sid", "callId", "call_control_id")),
        parameters={
            _text(name): _text(value)
            for name, value in (given.items() if isinstance(given, dict) else ())
        },
        encoding=encoding,
        rate=rate,
    )


def _format(carrier: Carrier, form: dict[str, Any]) -> tuple[Encoding, int]:
    if carrier == "exotel":  # says nothing sensible about its encoding: it is always this
        encoding: Encoding | None = "pcm16"
    else:
        encoding = _ENCODINGS.get(_text(form.get("encoding") or "mulaw").lower())
    if encoding is None:
        raise Invalid("This encoding is not supported: use mulaw, alaw or 16-bit PCM.")
    rate = _text(_first(form, "sampleRate", "sample_rate") or 8_000)
    if not rate.isdecimal() or int(rate) not in _RATES:
        raise Invalid("This sample rate is not supported: use 8, 16, 24 or 48 kHz.")
    if _text(form.get("channels") or 1) != "1":
        raise Invalid("One channel only.")
    return encoding, int(rate)


def _first(found: dict[str, Any], *names: str) -> Any:
    return next((found[name] for name in names if found.get(name) is not None), None)


def _text(value: Any) -> str:
    return str(value)[:NAME_LIMIT] if isinstance(value, (str, int)) else ""


class Duplicates:
    """Tells frames that came before. Only those who number their frames are checked."""

    def __init__(self) -> None:
        self._last = 0

    def repeats(self, media: Media) -> bool:
        try:
            number = int(media.chunk or 0)
        except ValueError:
            return False
        if not number:
            return False
        if number <= self._last:
            return True
        self._last = number
        return False


_encode = msgspec.json.Encoder().encode


class Outgoing:
    """Builds what the hub sends on one stream."""

    def __init__(self, stream: Stream) -> None:
        self._carrier = stream.carrier
        self._ids = {
            "twilio": {"streamSid": stream.stream_id},
            "telnyx": {"stream_id": stream.stream_id},
            "plivo": {"streamId": stream.stream_id},
            "exotel": {"stream_sid": stream.stream_id},
        }[stream.carrier]
        self._silence = {"mulaw": b"\xff", "alaw": b"\xd5", "pcm16": b"\0"}[stream.encoding]
        self._format: dict[str, Any] = {}
        if stream.carrier == "plivo":
            kind = {"mulaw": "audio/x-mulaw", "alaw": "audio/x-alaw", "pcm16": "audio/x-l16"}
            self._format = {"contentType": kind[stream.encoding], "sampleRate": stream.rate}
        self._held = b""

    def media(self, audio: bytes) -> str | None:
        """None: the carrier wants more of it at once."""
        if self._carrier == "exotel":
            audio = self._held + audio
            self._held = b""
            if len(audio) < _EXOTEL_BYTES:
                self._held = audio
                return None
            whole = len(audio) - len(audio) % 320
            audio, self._held = audio[:whole], audio[whole:]
        event = "playAudio" if self._carrier == "plivo" else "media"
        return _json({"event": event, **self._ids, "media": {**self._format, "payload": audio}})

    def rest(self) -> str | None:
        """What was held back, filled up with silence."""
        if not self._held:
            return None
        return self.media(self._silence * (_EXOTEL_BYTES - len(self._held)))

    def mark(self, name: str) -> str:
        if self._carrier == "plivo":
            return _json({"event": "checkpoint", **self._ids, "name": name})
        return _json({"event": "mark", **self._ids, "mark": {"name": name}})

    def clear(self) -> str:
        self._held = b""
        event = "clearAudio" if self._carrier == "plivo" else "clear"
        return _json({"event": event, **self._ids})


def _json(message: dict[str, Any]) -> str:
    return _encode(message).decode()
