"""A task's file on its way to whoever downloads it.

What a task left may have been written by anybody it read or ran, so it is never shown as a page of
the hub: only kinds that can't hold a script keep their type, and all are for saving.
"""

import mimetypes
import os
from pathlib import Path
from urllib.parse import quote

from quart import Response, send_file

from tron.errors import NotFound

HARMLESS = frozenset(
    (
        "application/json",
        "application/pdf",
        "application/zip",
        "audio/mpeg",
        "audio/x-wav",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/markdown",
        "text/plain",
    )
)


async def answer(path: Path) -> Response:
    """The file, streamed; ranges of it where they are asked for."""
    guessed, packed = mimetypes.guess_type(path.name)
    kind = guessed if guessed in HARMLESS and packed is None else "application/octet-stream"
    try:
        response = await send_file(path, mimetype=kind, conditional=True)
    except OSError:  # gone meanwhile
        raise NotFound("There is no such file.", code="artifact_not_found") from None
    response.timeout = None  # Quart would cut the body after 60 s
    name = quote(os.fsencode(path.name), safe="")
    response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cache-Control"] = "private, no-store"
    return response
