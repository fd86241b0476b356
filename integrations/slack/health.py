"""What is true of each Slack app now: connected or not, how busy, what failed last.

Written by whoever notices; read by `/api/channels`. A value nobody knows stays None.
"""

import msgspec

from tron.clock import Clock
from tron.integrations import Channel


class AppHealth(msgspec.Struct, kw_only=True):
    """One app's state."""

    key: str
    socket: bool
    """it uses Socket Mode"""
    connected: bool = False
    workspace: str = ""
    bot_user: str = ""
    bot_id: str = ""
    messages: int = 0
    last_activity: int | None = None
    error: str | None = None


class Health:
    """The states of all apps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apps: dict[str, AppHealth] = {}

    def add(self, key: str, *, socket: bool) -> None:
        self._apps[key] = AppHealth(key=key, socket=socket)

    def of(self, key: str) -> AppHealth:
        """The state of an app; a persona's route on the shared app counts for that one."""
        return self._apps.get(key) or self._apps.get("") or AppHealth(key=key, socket=False)

    def heard(self, key: str) -> None:
        """A person's message was accepted."""
        state = self.of(key)
        state.messages += 1
        state.last_activity = self._clock.now_ms()

    def connected(self, key: str, *, workspace: str, bot_user: str, bot_id: str) -> None:
        """Slack knows the app's token."""
        state = self.of(key)
        state.workspace, state.bot_user, state.bot_id = workspace, bot_user, bot_id
        state.error = None
        if not state.socket:
            state.connected = True

    def socket_is(self, key: str, *, open: bool, error: str | None = None) -> None:
        """Its socket was opened or lost."""
        state = self.of(key)
        state.connected, state.error = open, error

    def failed(self, key: str, error: str, *, disconnected: bool = False) -> None:
        state = self.of(key)
        state.error = error
        if disconnected:
            state.connected = False

    def channels(self) -> list[Channel]:
        return [
            Channel(
                name=f"slack-{state.key}" if state.key else "slack",
                type="slack",
                status="connected" if state.connected else _unwell(state),
                message_count=state.messages,
                last_activity=state.last_activity,
                routes_to=state.key or None,
                error=state.error,
            )
            for state in self._apps.values()
        ]


def _unwell(state: AppHealth) -> str:
    return "error" if state.error else "disconnected"
