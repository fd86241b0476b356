"""A task's file on its way to whoever downloads it.

What a task left may have been written by anybody it read or ran, so it is never shown as a page of
the hub: only kinds that can't hold a script keep their type, and all are for saving.
"""

import mimetypes
import os
from io import BytesIO
from urllib.parse import quote

from quart import Response, send_file

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


async def answer(path: str, data: bytes) -> Response:
    """The file; ranges of it where they are asked for."""
    file = path.rpartition("/")[2]
    guessed, packed = mimetypes.guess_type(file)
    kind = guessed if guessed in HARMLESS and packed is None else "application/octet-stream"
    response = await send_file(BytesIO(data), mimetype=kind, conditional=True)
    response.timeout = None  # Quart would cut the body after 60 s
    name = quote(os.fsencode(file), safe="")
    response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cache-Control"] = "private, no-store"
    return response
