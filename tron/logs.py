"""Logs: structured events with keys, one line each.

People's words and numbers stand only under `pii_*` keys, which are dropped unless `TRON_LOG_PII`
is on; everything else may be shipped anywhere. The standard library's records (Hypercorn,
APScheduler, Alembic) take the same way out.
"""

import logging
import sys
from typing import Any

from tron.settings import Settings

# structlog loads Rich, which nothing here prints with: 7 MB and a twentieth of the hub's start.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402
from structlog.typing import EventDict, Processor  # noqa: E402

if _rich is None:
    del sys.modules["rich"]
else:
    sys.modules["rich"] = _rich

PII = "pii_"


def configure(settings: Settings) -> None:
    """Set up logging for this process, on standard error."""
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if not settings.log_pii:
        shared.append(_without_pii)
    renderer: list[Processor] = (
        # Plain tracebacks: the pretty ones show local variables, which are keys and people's words.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("apscheduler", "alembic", "hypercorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _without_pii(_: Any, __: str, event: EventDict) -> EventDict:
    for key in [key for key in event if key.startswith(PII)]:
        del event[key]
    return event
