"""Every setting of the hub, in one frozen table.

A setting is a field here and nowhere else: its environment name, its default, its meaning, what is
allowed, and whether it is a secret. `tron.environment` reads the table once at start and refuses
what is not allowed; `tron config` prints it with secrets masked, and `docs/settings.md` is checked
against it.
"""

import re
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

OWN_PERSONAS = Path(__file__).resolve().parent.parent / "personas"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST = 2_000_000_000
"""no number is larger: every clock and every column can hold it, in milliseconds too"""

Form = Literal["address", "database", "JSON list", "JSON object", "ports"]
"""what a text must be; an address is one of a web server"""

_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")


class SettingsError(Exception):
    """One or more settings can't be used. The message lists each with what it should be."""


def _setting(
    env: str,
    default: Any,
    help: str,
    *,
    least: float = 0,
    most: float = MOST,
    form: Form | None = None,
    secret: bool = False,
) -> Any:
    """A row of the table. A number is from `least` to `most`, a text has its `form`."""
    allowed = {"least": least, "most": most, "form": form}
    return field(default=default, metadata={"env": env, "help": help, "secret": secret, **allowed})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the hub is set to. Units are in the names: `_s` seconds, `_ms` milliseconds."""

    # Where it lives
    host: str = _setting("TRON_HOST", "127.0.0.1", "address the hub listens on")
    port: int = _setting(
        "TRON_PORT", 3000, "port the hub listens on (`PORT` is read too)", most=65_535
    )
    home: Path = _setting("TRON_HOME", Path(".tron"), "data folder: database, caches")
    database_url: str = _setting(
        "TRON_DATABASE_URL",
        "",
        "`postgresql://…` or `sqlite:///…`; empty: SQLite in the data folder",
        form="database",
        secret=True,
    )
    public_url: str = _setting(
        "TRON_PUBLIC_URL", "", "the one URL that links and signatures are made with", form="address"
    )
    secret_key: str = _setting(
        "TRON_SECRET_KEY",
        "",
        "encrypts tokens kept in the database; empty: a key file in the data folder",
        secret=True,
    )
    drain_s: float = _setting(
        "TRON_DRAIN_S", 20.0, "on SIGTERM, how long running answers may take to finish"
    )
    max_body_bytes: int = _setting(
        "TRON_MAX_BODY_BYTES", 16 * 1024 * 1024, "largest request body accepted", least=1
    )
    log_format: Literal["auto", "console", "json"] = _setting(
        "TRON_LOG_FORMAT", "auto", "`console`, `json`, or `auto`: console on a terminal"
    )
    log_pii: bool = _setting(
        "TRON_LOG_PII", False, "log people's words and numbers (under `pii.*` keys)"
    )

    # Who answers
    personas: Path = _setting(
        "TRON_PERSONAS",
        Path("personas"),
        "folder of persona files, watched for changes; unset and not there: Tron's own",
    )
    default_agent: str = _setting(
        "TRON_DEFAULT_AGENT", "tony", "who answers when a request names nobody"
    )

    # Language models
    brain: Literal["auto", "openai", "offline", "fake"] = _setting(
        "TRON_BRAIN",
        "auto",
        "`auto`: the providers in order, then the offline brain; `openai`: providers only; "
        "`offline`: no provider; `fake`: a fixed reply, for load tests",
    )
    openai_base_url: str = _setting(
        "OPENAI_BASE_URL", "", "OpenAI-compatible endpoint; empty: api.openai.com", form="address"
    )
    openai_api_key: str = _setting(
        "OPENAI_API_KEY",
        "",
        "key of that endpoint; empty with a base URL: none is sent",
        secret=True,
    )
    model: str = _setting(
        "TRON_MODEL", "gpt-4.1-mini", "model asked for where the persona names none"
    )
    providers: str = _setting(
        "TRON_PROVIDERS",
        "",
        'further providers to fall back to, a JSON list: `[{"name","base_url","api_key","model"}]`',
        form="JSON list",
        secret=True,
    )
    prices: str = _setting(
        "TRON_PRICES",
        "",
        'prices in USD, a JSON object: `{"model": [input, output]}` per million tokens; '
        '`"deepgram-stt"` per minute, `"elevenlabs-tts"` per million characters, `"twilio-line"` '
        "per minute: one number each",
        form="JSON object",
    )
    first_token_timeout_s: float = _setting(
        "TRON_FIRST_TOKEN_TIMEOUT_S",
        30.0,
        "a provider silent for this long is given up",
        least=0.1,
    )
    token_timeout_s: float = _setting(
        "TRON_TOKEN_TIMEOUT_S", 30.0, "longest silence between two parts of an answer", least=0.1
    )
    provider_retries: int = _setting(
        "TRON_PROVIDER_RETRIES",
        2,
        "further tries at one provider before the next is asked",
    )
    context_tokens: int = _setting(
        "TRON_CONTEXT_TOKENS",
        32_000,
        "tokens of conversation sent to the model; older is summarised",
        least=1,
    )
    fake_tokens: int = _setting("TRON_FAKE_TOKENS", 20, "length of the fake brain's reply", least=1)
    fake_delay_ms: float = _setting(
        "TRON_FAKE_DELAY_MS", 0.0, "pause before each token of the fake brain's reply"
    )

    # Conversations and processes
    session_expire_s: float = _setting(
        "TRON_SESSION_EXPIRE_S", 86_400.0, "a session silent for this long has ended", least=1
    )
    process_idle_s: float = _setting(
        "TRON_PROCESS_IDLE_S",
        600.0,
        "an idle process is reaped after this and revived on demand",
    )
    max_processes: int = _setting(
        "TRON_MAX_PROCESSES",
        1000,
        "live processes; idle ones are reaped early to make room",
        least=1,
    )
    mailbox_size: int = _setting(
        "TRON_MAILBOX_SIZE",
        16,
        "turns that may wait for one session; more are refused with 429",
        least=1,
    )
    turn_timeout_s: float = _setting("TRON_TURN_TIMEOUT_S", 300.0, "longest turn", least=0.1)
    tool_rounds: int = _setting(
        "TRON_TOOL_ROUNDS", 12, "times the model may call tools within one turn", least=1
    )
    spawn_depth: int = _setting("TRON_SPAWN_DEPTH", 4, "how deep delegation may nest")
    restarts: int = _setting(
        "TRON_RESTARTS",
        3,
        "failures of a process within the window before it stays down",
    )
    restart_window_s: float = _setting("TRON_RESTART_WINDOW_S", 600.0, "that window", least=1)
    budget_tokens: int = _setting(
        "TRON_BUDGET_TOKENS", 2_000_000, "tokens one process may use; 0: no limit"
    )
    budget_usd: float = _setting(
        "TRON_BUDGET_USD",
        5.0,
        "USD one process may cost, where prices are known; 0: no limit",
    )
    history_days: int = _setting(
        "TRON_HISTORY_DAYS",
        30,
        "how long calls, ended tasks, tool calls and the history of processes are kept",
        least=1,
    )

    # Calls
    vad_start_ms: int = _setting(
        "TRON_VAD_START_MS", 200, "voice this long means that the caller has begun to speak"
    )
    vad_stop_ms: int = _setting(
        "TRON_VAD_STOP_MS", 200, "silence this long means that the caller has stopped"
    )
    turn_wait_ms: int = _setting(
        "TRON_TURN_WAIT_MS",
        200,
        "further wait before the caller's turn is over; less or more by what was said",
    )
    max_calls: int = _setting("TRON_MAX_CALLS", 100, "calls at once; further ones are refused")
    call_greeting: bool = _setting(
        "TRON_CALL_GREETING", True, "personas say who they are when a call begins"
    )
    call_silence_ms: int = _setting(
        "TRON_CALL_SILENCE_MS",
        15_000,
        "on the telephone, a caller is asked when neither side has spoken for so long; 0: never",
    )
    call_silence_prompts: str = _setting(
        "TRON_CALL_SILENCE_PROMPTS",
        "Are you still there?; Hello? I can't hear you.; "
        "I still can't hear you, so I'm going to hang up. Goodbye.",
        "what is said then, one after the other with `;` between; with the last the call ends",
    )
    call_max_s: float = _setting(
        "TRON_CALL_MAX_S", 3600.0, "longest call by telephone; 0: no limit"
    )
    record_calls: bool = _setting(
        "TRON_RECORD_CALLS", False, "keep both sides of every call as a stereo WAV"
    )
    voice_session_ttl_s: float = _setting(
        "TRON_VOICE_SESSION_TTL_S",
        120.0,
        "a browser voice session with no connection for this long has ended",
        least=5,
    )

    # Speech
    stt: Literal["local", "whisper", "openai", "elevenlabs", "deepgram", "fake"] = _setting(
        "TRON_STT",
        "local",
        "speech recognition: `local` (Moonshine, no network), `whisper` by its model's files, a "
        "provider by its key, or `fake`",
    )
    tts: Literal["local", "kokoro", "piper", "openai", "elevenlabs", "deepgram", "fake"] = _setting(
        "TRON_TTS",
        "local",
        "speech synthesis: `local` (espeak-ng, no network), `kokoro` or `piper` by their files, a "
        "provider by its key, or `fake`",
    )
    stt_model: str = _setting(
        "TRON_STT_MODEL",
        "",
        "the provider's recognition model, or the folder of Whisper's; empty: a quick one of "
        "theirs, or `models/whisper` in the data folder",
    )
    tts_model: str = _setting(
        "TRON_TTS_MODEL",
        "",
        "the provider's synthesis model, or the file or folder of Kokoro's or Piper's; empty: a "
        "quick one of theirs, or `models/kokoro`, `models/piper` in the data folder",
    )
    speech_timeout_s: float = _setting(
        "TRON_SPEECH_TIMEOUT_S",
        2.5,
        "a speech provider silent for this long is replaced by the local engine",
        least=0.1,
    )
    elevenlabs_api_key: str = _setting("ELEVENLABS_API_KEY", "", "ElevenLabs key", secret=True)
    elevenlabs_api_url: str = _setting(
        "ELEVENLABS_API_URL", "https://api.elevenlabs.io", "ElevenLabs endpoint", form="address"
    )
    elevenlabs_webhook_secret: str = _setting(
        "ELEVENLABS_WEBHOOK_SECRET",
        "",
        "proves that a webhook comes from ElevenLabs (`ElevenLabs-Signature`)",
        secret=True,
    )
    deepgram_api_key: str = _setting("DEEPGRAM_API_KEY", "", "Deepgram key", secret=True)
    deepgram_api_url: str = _setting(
        "DEEPGRAM_API_URL", "https://api.deepgram.com", "Deepgram endpoint", form="address"
    )
    fake_transcript: str = _setting(
        "TRON_FAKE_TRANSCRIPT", "What time is it?", "what the fake recogniser always hears"
    )
    fake_stt_delay_ms: float = _setting(
        "TRON_FAKE_STT_DELAY_MS", 0.0, "pause before the fake recogniser's final transcript"
    )
    fake_tts_delay_ms: float = _setting(
        "TRON_FAKE_TTS_DELAY_MS", 0.0, "pause before the fake synthesiser's first sound"
    )

    # Life
    life: bool = _setting("TRON_LIFE", True, "run the personas' own schedules")
    life_missed: Literal["catch_up", "skip"] = _setting(
        "TRON_LIFE_MISSED",
        "catch_up",
        "a run missed while the hub was down: run the latest, or skip",
    )
    life_jitter_s: float = _setting(
        "TRON_LIFE_JITTER_S",
        120.0,
        "scheduled runs start up to this much later, spread out",
    )
    social_api_url: str = _setting(
        "TRON_SOCIAL_API_URL", "", "where posts go besides the local feed", form="address"
    )
    social_api_key: str = _setting("TRON_SOCIAL_API_KEY", "", "its key", secret=True)
    life_slack_webhook: str = _setting(
        "TRON_LIFE_SLACK_WEBHOOK",
        "",
        "Slack incoming webhook that also gets the posts",
        form="address",
        secret=True,
    )
    life_slack_channel: str = _setting(
        "TRON_LIFE_SLACK_CHANNEL",
        "",
        "Slack channel (its id) that gets the posts and notable events from the Slack app",
    )
    web_search_api_key: str = _setting(
        "BRAVE_API_KEY",
        "",
        "Brave Search key; without one, web search says it is not set up",
        secret=True,
    )
    web_search_url: str = _setting(
        "BRAVE_API_URL", "https://api.search.brave.com", "Brave Search endpoint", form="address"
    )

    # Tasks
    tasks_at_once: int = _setting(
        "TRON_TASKS_AT_ONCE", 50, "tasks this hub works on at once", least=1
    )
    tasks_per_client: int = _setting(
        "TRON_TASKS_PER_CLIENT",
        50,
        "tasks of one tenant worked on at once, on all hubs together",
        least=1,
    )
    task_timeout_s: float = _setting(
        "TRON_TASK_TIMEOUT_S",
        1200.0,
        "longest a task may run, without the time it waits for its turn, a person or an hour",
        least=1,
    )
    approval_timeout_s: float = _setting(
        "TRON_APPROVAL_TIMEOUT_S",
        86_400.0,
        "a question nobody has answered by then ends the task",
        least=1,
    )
    task_commands: Literal["confined", "unconfined", "off"] = _setting(
        "TRON_TASK_COMMANDS",
        "confined",
        "commands of tasks: `confined` to their workspace, or not run where nothing confines "
        "them; `unconfined`: with all rights of the hub's user; `off`",
    )
    fetch_hosts: str = _setting(
        "TRON_FETCH_HOSTS",
        "",
        "hosts that `fetch_page` may reach though they are not on the public internet, with "
        "commas between: `wiki.lan, 127.0.0.1:8080`",
    )

    # Slack
    slack_signing_secret: str = _setting(
        "SLACK_SIGNING_SECRET", "", "proves that a request comes from Slack", secret=True
    )
    slack_bot_token: str = _setting(
        "SLACK_BOT_TOKEN", "", "`xoxb-…` of a workspace the app is installed in", secret=True
    )
    slack_app_token: str = _setting(
        "SLACK_APP_TOKEN", "", "`xapp-…`: Socket Mode, no public URL is needed", secret=True
    )
    slack_personas: tuple[tuple[str, str], ...] = _setting(
        "SLACK_…_<PERSONA>",
        (),
        "the three above for a persona's own app, such as `SLACK_BOT_TOKEN_MAYA`",
        secret=True,
    )
    slack_client_id: str = _setting(
        "SLACK_CLIENT_ID", "", "lets other workspaces install the app (OAuth)"
    )
    slack_client_secret: str = _setting("SLACK_CLIENT_SECRET", "", "goes with it", secret=True)
    slack_api_url: str = _setting(
        "SLACK_API_URL",
        "https://slack.com/api/",
        "Slack Web API, or what stands in for it",
        form="address",
    )

    # Twilio
    twilio_account_sid: str = _setting(
        "TWILIO_ACCOUNT_SID", "", "`AC…`, for calls and texts that the hub sends"
    )
    twilio_auth_token: str = _setting(
        "TWILIO_AUTH_TOKEN",
        "",
        "proves that a request comes from Twilio; two with a comma between while it is changed",
        secret=True,
    )
    twilio_number: str = _setting(
        "TWILIO_PHONE_NUMBER", "", "the number that outbound calls and texts come from"
    )
    twilio_mode: Literal["media", "relay"] = _setting(
        "TRON_TWILIO_MODE",
        "media",
        "`media`: the hub hears and speaks; `relay`: Twilio does (ConversationRelay)",
    )
    twilio_api_url: str = _setting(
        "TWILIO_API_URL",
        "https://api.twilio.com",
        "Twilio's API, or what stands in for it",
        form="address",
    )

    # VAPI
    vapi_api_key: str = _setting(
        "VAPI_API_KEY", "", "private key of the VAPI account, for calls the hub makes", secret=True
    )
    vapi_phone_number_id: str = _setting(
        "VAPI_PHONE_NUMBER_ID", "", "VAPI's id of the number that outbound calls come from"
    )
    vapi_secret: str = _setting(
        "VAPI_SECRET", "", "proves that a webhook comes from VAPI (`X-Vapi-Secret`)", secret=True
    )
    vapi_hmac: str = _setting(
        "VAPI_HMAC",
        "",
        "how VAPI signs webhooks, a JSON object; its `secret` is enough for VAPI's defaults",
        form="JSON object",
        secret=True,
    )
    vapi_api_url: str = _setting(
        "VAPI_API_URL",
        "https://api.vapi.ai",
        "VAPI's API, or what stands in for it",
        form="address",
    )

    # Project servers
    base_domain: str = _setting(
        "TRON_BASE_DOMAIN",
        "",
        "domain under which registered project servers get a subdomain",
    )
    project_ports: str = _setting(
        "TRON_PROJECT_PORTS",
        "3001-3999",
        "loopback ports a project server may be registered on",
        form="ports",
    )

    @property
    def project_port_range(self) -> range:
        low, _, high = self.project_ports.partition("-")
        return range(int(low), int(high) + 1)

    @property
    def persona_folder(self) -> Path:
        """`personas`, or those that come with Tron: it may be started in any folder."""
        if self.personas == Path("personas") and not self.personas.is_dir():
            return OWN_PERSONAS
        return self.personas

    @property
    def loopback_only(self) -> bool:
        """Whether the hub can be reached from this machine alone."""
        return self.host in LOOPBACK

    @property
    def storage_url(self) -> str:
        """The database URL with SQLAlchemy's driver-less scheme (`sqlite:///`, `postgresql://`)."""
        if self.database_url:
            return self.database_url.replace("postgres://", "postgresql://", 1)
        return f"sqlite:///{self.home.absolute() / 'tron.db'}"

    @property
    def has_model(self) -> bool:
        """Whether a language model is set up, whether or not it answers just now."""
        named = self.openai_api_key or self.openai_base_url or self.providers
        return self.brain in ("auto", "openai") and bool(named)

    @property
    def queue_url(self) -> str:
        """The database that the queue of tasks keeps its own tables in."""
        if self.storage_url.startswith("sqlite:///"):
            return self.storage_url.removesuffix(".db") + "-queue.db"
        return self.storage_url

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(environment name, value with secrets masked, default, meaning) of every setting."""
        return [
            (
                spec.metadata["env"],
                _shown(getattr(self, spec.name), secret=spec.metadata["secret"]),
                "" if spec.default in (MISSING, ()) else str(spec.default),
                spec.metadata["help"],
            )
            for spec in fields(self)
        ]


def _shown(value: Any, *, secret: bool) -> str:
    if isinstance(value, tuple):  # settings of personas: which there are is no secret
        return ", ".join(name for name, _ in value)
    return mask(str(value), secret=secret)


def mask(value: str, *, secret: bool) -> str:
    """A value fit to be shown: a secret keeps at most its last four characters."""
    if not secret or not value:
        return _USERINFO.sub("••••@", value)
    return "••••" + (value[-4:] if len(value) >= 12 else "")
