"""Putting a VAPI call through: what its messages say of it, and how VAPI is told.

Owns the address a call is controlled at, which is believed only where it is VAPI's own, and the
persona's tool. Whom a call may go to is the hub's rule (`tron.calls.transfer`).
"""

from typing import Any
from urllib.parse import urlsplit

import structlog

from integrations.vapi.client import VapiClient
from integrations.vapi.wire import Event, Json, text
from tron.calls.transfer import Destination, destination, transfer_tool
from tron.errors import TronError
from tron.given import mapping
from tron.memory.contacts import Contacts
from tron.storage.tables import HOUSE
from tron.tools.contract import Tool, ToolFailed

log = structlog.get_logger(__name__)

NOT_NOW = "The call could not be put through just now. A message can be taken instead."


class Transfers:
    """See the module."""

    def __init__(self, contacts: Contacts, client: VapiClient, api_url: str) -> None:
        self._contacts = contacts
        self._client = client
        self._api_url = api_url

    @property
    def offered(self) -> Json:
        """The tool as an assistant is given it; VAPI brings its calls as `tool-calls`."""
        return transfer_tool(self._contacts, None, line="").definition

    def tool(self, event: Event) -> Tool[Any]:
        """`transfer_call` of the call that `event` belongs to."""
        url = control_url(event.body, api_url=self._api_url)

        async def put_through(to: Destination) -> str:
            body = {
                "type": "transfer",
                "destination": {"type": "number", "number": to.number},
                "content": _words(to),  # VAPI says it, then transfers
            }
            try:
                await self._client.control(url, body)
            except TronError as error:
                log.warning("vapi.not_transferred", call=event.call_id, error=error.type)
                raise ToolFailed(NOT_NOW) from None
            return f"Transferring to {to.name} now; the caller has been told."

        line = line_called(event.body)
        return transfer_tool(self._contacts, put_through if url else None, line=line)

    async def destination(self, wanted: str, event: Event) -> Json:
        """VAPI's form of whom the call goes to. Raises ToolFailed."""
        to = await destination(self._contacts, HOUSE, wanted, line=line_called(event.body))
        return {"type": "number", "number": to.number, "message": _words(to)}


def _words(to: Destination) -> str:
    return f"I am putting you through to {to.name}."


def line_called(body: Json) -> str:
    """The number of the owner's that this call is on; empty where there is none."""
    number = mapping(body.get("phoneNumber")) or mapping(
        mapping(body.get("call")).get("phoneNumber")
    )
    return text(number.get("number"), 64)


def control_url(body: Json, *, api_url: str) -> str:
    """Where this call is controlled, empty where the message does not say. Only an address of
    VAPI's counts: its own domain, or that of `api_url`."""
    url = text(mapping(mapping(body.get("call")).get("monitor")).get("controlUrl"), 2_000)
    try:
        parts, ours = urlsplit(url), urlsplit(api_url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    at_vapi = parts.scheme == "https" and (host == "vapi.ai" or host.endswith(".vapi.ai"))
    at_ours = bool(host) and (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc)
    return url if at_vapi or at_ours else ""
