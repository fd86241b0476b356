"""The hub's calls to ElevenLabs' API: pointing an agent they host at our mind, and trying the key.

Uses their SDK, which is imported when it is first needed. Errors are the hub's own.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tron.errors import NotConfigured, ProviderBroke, ProviderRefused, ProviderUnavailable

TIMEOUT_S = 30.0
NO_KEY = "ELEVENLABS_API_KEY is not set: it is made under Developers in ElevenLabs' console."
T = TypeVar("T")


class ElevenLabsClient:
    """See the module."""

    def __init__(self, api_url: str, api_key: str) -> None:
        self._api_url = api_url.rstrip("/")
        self._api_key = api_key
        self._sdk: Any = None
        self._http: Any = None
        self.trouble = ""
        """why the last request failed; empty after one that worked"""
        self.worked = False
        """whether any request has worked"""

    @property
    def configured(self) -> bool:
        return bool(self._api_key)

    async def try_key(self) -> None:
        """Ask for something harmless. Raises NotConfigured or a ProviderError."""
        await self._request(lambda sdk: sdk.conversational_ai.agents.list(page_size=1))

    async def keep_secret(self, name: str, value: str) -> str:
        """Keep a secret in their workspace; returns its id there."""
        kept = await self._request(
            lambda sdk: sdk.conversational_ai.secrets.create(name=name, value=value)
        )
        return str(kept.secret_id)

    async def point_agent(
        self, agent_id: str, *, hub_url: str, agent: str, token: str, token_id: str
    ) -> None:
        """Let `agent_id` think with `agent` of this hub, and ask it who is calling.

        `token` lets ElevenLabs in at the hub; they keep it as a secret and never show it again.
        Raises NotConfigured or a ProviderError.
        """
        key = await self.keep_secret(f"tron {token_id}", token)
        header = await self.keep_secret(f"tron {token_id} header", f"Bearer {token}")
        custom_llm = {
            "url": f"{hub_url}/v1/elevenlabs-llm",
            "model_id": agent,
            "api_key": {"secret_id": key},
            "api_type": "chat_completions",
        }
        webhook = {
            "url": f"{hub_url}/elevenlabs/conversation-init?agent={agent}",
            "request_headers": {"Authorization": {"secret_id": header}},
        }
        overrides = {
            "custom_llm_extra_body": True,
            "enable_conversation_initiation_client_data_from_webhook": True,
            "conversation_config_override": {"agent": {"first_message": True}},
        }
        prompt = {"llm": "custom-llm", "custom_llm": custom_llm}
        await self._request(
            lambda sdk: sdk.conversational_ai.agents.update(
                agent_id=agent_id,
                conversation_config={"agent": {"prompt": prompt}},
                platform_settings={
                    "overrides": overrides,
                    "workspace_overrides": {"conversation_initiation_client_data_webhook": webhook},
                },
            )
        )

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._sdk = self._http = None

    async def _request(self, ask: Callable[[Any], Awaitable[T]]) -> T:
        try:
            answer = await self._tried(ask)
        except (NotConfigured, ProviderBroke, ProviderRefused, ProviderUnavailable) as error:
            self.trouble = error.message
            raise
        self.trouble, self.worked = "", True
        return answer

    async def _tried(self, ask: Callable[[Any], Awaitable[T]]) -> T:
        if not self._api_key:
            raise NotConfigured(NO_KEY)
        # Here because it takes a second to import, and most hubs never call ElevenLabs.
        import httpx
        from elevenlabs.client import AsyncElevenLabs
        from elevenlabs.core.api_error import ApiError

        if self._sdk is None:
            self._http = httpx.AsyncClient(timeout=TIMEOUT_S)
            self._sdk = AsyncElevenLabs(
                api_key=self._api_key, base_url=self._api_url, httpx_client=self._http
            )
        try:
            return await ask(self._sdk)
        except ApiError as error:
            raise _refusal(error.status_code or 500, error.body) from None
        except httpx.ConnectError:
            raise ProviderUnavailable("ElevenLabs can't be reached.") from None
        except httpx.HTTPError:
            raise ProviderBroke(
                "The connection to ElevenLabs broke; what was asked may have been done."
            ) from None


def _refusal(
    status: int, body: Any
) -> NotConfigured | ProviderBroke | ProviderRefused | ProviderUnavailable:
    if status in (401, 403):
        return NotConfigured(
            "ElevenLabs refused the key (ELEVENLABS_API_KEY), or it lacks a permission.",
            code="elevenlabs_key",
        )
    if status in (429, 503):
        return ProviderUnavailable(f"ElevenLabs is busy (HTTP {status}).")
    if status >= 500:
        return ProviderBroke(f"ElevenLabs failed (HTTP {status}).")
    detail = body.get("detail") if isinstance(body, dict) else None
    said = detail.get("message") if isinstance(detail, dict) else detail
    reason = said[:300] if isinstance(said, str) else f"HTTP {status}"
    return ProviderRefused(
        f"ElevenLabs refused: {reason}", status=status if status in (400, 413, 422) else 502
    )
