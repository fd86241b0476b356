"""What the hub sends on ElevenLabs' agent socket, in each of its two dialects. No I/O.

Frames are JSON with a `type`, whatever they are: the Python SDK ends a session over anything else.
A dialect that has no word for something sends nothing.
"""

import base64
from typing import Any

import msgspec

from integrations.elevenlabs.wire import Start

_encode = msgspec.json.Encoder().encode


class Agents:
    """The agents protocol."""

    @staticmethod
    def started(id: str, start: Start) -> str:
        event = {
            "conversation_id": id,
            "agent_output_audio_format": start.played_as,
            "user_input_audio_format": start.heard_as,
        }
        return _frame(
            "conversation_initiation_metadata", conversation_initiation_metadata_event=event
        )

    @staticmethod
    def audio(data: bytes, id: int) -> str:
        event = {"audio_base_64": base64.b64encode(data).decode(), "event_id": id}
        return _frame("audio", audio_event=event)

    @staticmethod
    def heard(text: str, id: int) -> str:
        event = {"user_transcript": text, "event_id": id}
        return _frame("user_transcript", user_transcription_event=event)

    @staticmethod
    def hearing(text: str, id: int) -> str | None:
        event = {"user_transcript": text, "event_id": id}
        return _frame("tentative_user_transcript", tentative_user_transcription_event=event)

    @staticmethod
    def answered(text: str, id: int) -> str:
        event = {"agent_response": text, "event_id": id}
        return _frame("agent_response", agent_response_event=event)

    @staticmethod
    def corrected(original: str, heard: str, id: int) -> str | None:
        event = {
            "original_agent_response": original,
            "corrected_agent_response": heard,
            "event_id": id,
        }
        return _frame("agent_response_correction", agent_response_correction_event=event)

    @staticmethod
    def interrupted(id: int) -> str | None:
        return _frame("interruption", interruption_event={"event_id": id})

    @staticmethod
    def ping(id: int, last_ms: int | None) -> str | None:
        return _frame("ping", ping_event={"event_id": id, "ping_ms": last_ms})

    @staticmethod
    def error(code: int, error_type: str, message: str) -> str:
        event = {"code": code, "error_type": error_type, "message": message, "reason": error_type}
        return _frame("error", error_event=event)


class Original:
    """The original browser client's dialect: it knows fewer things."""

    @staticmethod
    def started(id: str, start: Start) -> str:
        return _frame("session_started", session_id=id)

    @staticmethod
    def audio(data: bytes, id: int) -> str:
        return _frame("audio", audio=base64.b64encode(data).decode())

    @staticmethod
    def heard(text: str, id: int) -> str:
        return _frame("transcript", role="user", text=text, is_final=True)

    @staticmethod
    def hearing(text: str, id: int) -> str | None:
        return _frame("transcript", role="user", text=text, is_final=False)

    @staticmethod
    def answered(text: str, id: int) -> str:
        return _frame("transcript", role="agent", text=text, is_final=True)

    @staticmethod
    def corrected(original: str, heard: str, id: int) -> str | None:
        return None

    @staticmethod
    def interrupted(id: int) -> str | None:
        return None

    @staticmethod
    def ping(id: int, last_ms: int | None) -> str | None:
        return None

    @staticmethod
    def error(code: int, error_type: str, message: str) -> str:
        return _frame("error", error=message)


Dialect = type[Agents] | type[Original]


def part(kind: str, text: str, id: int) -> str:
    """A piece of a written answer: `start`, `delta` or `stop`."""
    return _frame(
        "agent_chat_response_part", text_response_part={"type": kind, "text": text, "event_id": id}
    )


def tool_call(name: str, call_id: str, parameters: dict[str, Any], id: int) -> str:
    """Ask the client to run a tool."""
    call = {
        "tool_name": name,
        "tool_call_id": call_id,
        "parameters": parameters,
        "event_id": id,
    }
    return _frame("client_tool_call", client_tool_call=call)


def _frame(type: str, **fields: Any) -> str:
    return _encode({"type": type, **fields}).decode()
