"""Reads the environment and `.env` into the table of settings; refuses what can't be used.

What a setting may be is said by its row in `tron.settings`; a value that is not, read or given,
is told with the setting's name and what is allowed, all at once, and never with a secret in it. A
`.env` file in the working folder is read first and never overrides the environment. Commands call
`load_settings` once at start; no other module reads the environment.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

from dotenv import dotenv_values

from tron.settings import Form, Settings, SettingsError

BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def load_settings(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings as `.env` and the environment have them; `given` (by field name) wins.

    Raises SettingsError naming every setting that can't be used.
    """
    if environ is None:
        from_file = {k: v for k, v in dotenv_values(".env").items() if v is not None}
        environ = {**from_file, **os.environ}
    values: dict[str, Any] = {"slack_personas": _of_personas(environ)}
    values |= {name: value for name, value in given.items() if value is not None}
    faults: list[str] = []
    for spec in fields(Settings):
        raw = _raw(spec, environ)
        if raw and spec.name not in values:
            values[spec.name] = _parsed(raw, spec.type)
        if spec.name in values and not _fits(values[spec.name], spec):
            faults.append(_fault(values.pop(spec.name), spec))
    settings = Settings(**values)
    faults += _provider_faults(settings) + _speech_faults(settings)
    if faults:
        raise SettingsError("\n".join(faults))
    return settings


def _raw(spec: Field[Any], environ: Mapping[str, str]) -> str:
    raw = environ.get(spec.metadata["env"], "").strip()
    if spec.name == "port" and not raw:
        return environ.get("PORT", "").strip()
    return raw


def _of_personas(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """(environment name, value) of every Slack setting that names a persona."""
    shared = ("SLACK_SIGNING_SECRET_", "SLACK_BOT_TOKEN_", "SLACK_APP_TOKEN_")
    found = [(n, v.strip()) for n, v in environ.items() if n.startswith(shared) and v.strip()]
    return tuple(sorted(found))


def _parsed(raw: str, kind: Any) -> Any:
    """`raw` as a `kind`; as it is where it can't be one, which then doesn't fit."""
    if kind is bool:
        return BOOLEANS.get(raw.lower(), raw)
    if kind in (int, float, Path):
        try:
            return kind(raw)
        except ValueError:
            return raw
    return raw


def _fits(value: Any, spec: Field[Any]) -> bool:
    """Whether a setting may have this value."""
    if spec.type in (int, float):
        least, most = spec.metadata["least"], spec.metadata["most"]
        return isinstance(value, (int, float)) and least <= value <= most  # which no nan is
    if spec.type is bool:
        return isinstance(value, bool)
    if get_origin(spec.type) is Literal:
        return value in get_args(spec.type)
    form: Form | None = spec.metadata["form"]
    return form is None or value == spec.default or FORMS[form].fits(value)


def _fault(value: Any, spec: Field[Any]) -> str:
    form: Form | None = spec.metadata["form"]
    hidden = spec.metadata["secret"] or (form == "address" and "@" in value)  # maybe a password
    shown = "(hidden)" if hidden else repr(value)
    return f"{spec.metadata['env']}={shown}: expected {_expected(spec)}"


def _expected(spec: Field[Any]) -> str:
    if spec.type in (int, float):
        number = "a whole number" if spec.type is int else "a number"
        return f"{number} from {spec.metadata['least']} to {spec.metadata['most']}"
    if spec.type is bool:
        return "true or false"
    if get_origin(spec.type) is Literal:
        return f"one of {', '.join(get_args(spec.type))}"
    form: Form = spec.metadata["form"]
    return FORMS[form].expected


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        reachable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of the port, or of brackets
        return False
    return bool(reachable) and "@" not in parts.netloc and not any(c.isspace() for c in text)


def _is_database(text: str) -> bool:
    if text.startswith(("postgresql://", "postgres://")):
        return True
    # The path alone: the queue's file is named after it. In memory, each connection has its own.
    path = text.removeprefix("sqlite:///")
    return path not in (text, "", ":memory:") and "?" not in path


def _is_json(shape: type) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            return isinstance(json.loads(text), shape)
        except (ValueError, RecursionError):
            return False

    return fits


def _is_port_range(text: str) -> bool:
    try:
        ports = Settings(project_ports=text).project_port_range
    except ValueError:
        return False
    return bool(ports) and ports[0] >= 1 and ports[-1] <= 65_535


class Rule(NamedTuple):
    fits: Callable[[str], bool]
    expected: str


FORMS: dict[Form, Rule] = {
    "address": Rule(
        _is_address,
        "http://host… or https://host… with no user name or password in it; "
        "keys have settings of their own",
    ),
    "database": Rule(_is_database, "sqlite:///FILE or postgresql://…"),
    "JSON list": Rule(_is_json(list), "a JSON list"),
    "JSON object": Rule(_is_json(dict), "a JSON object"),
    "ports": Rule(_is_port_range, "LOW-HIGH, from 1 to 65535"),
}


def _provider_faults(settings: Settings) -> list[str]:
    """Faults of the addresses in TRON_PROVIDERS; one without any is refused by the brain."""
    specs = json.loads(settings.providers or "[]")
    return [
        f"TRON_PROVIDERS: base_url of {spec.get('name') or 'a provider'}: "
        f"expected {FORMS['address'].expected}"
        for spec in specs
        if isinstance(spec, dict)
        and spec.get("base_url")
        and not _is_address(str(spec["base_url"]))
    ]


def _speech_faults(settings: Settings) -> list[str]:
    missing = {
        "openai": None if settings.openai_api_key or settings.openai_base_url else "OPENAI_API_KEY",
        "elevenlabs": None if settings.elevenlabs_api_key else "ELEVENLABS_API_KEY",
        "deepgram": None if settings.deepgram_api_key else "DEEPGRAM_API_KEY",
    }
    return [
        f"{env}={provider}: needs {key}, which is not set"
        for env, provider in (("TRON_STT", settings.stt), ("TRON_TTS", settings.tts))
        if (key := missing.get(provider))
    ]
