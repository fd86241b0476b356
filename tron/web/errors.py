"""Failures as the caller sees them, on every route: `{"error":{message,type,param,code}}`, and on
the voice routes the shape their own document has, `{"error","code"}`.

Owns the error handlers (a `TronError`, a fault found before routing, an exception nobody
expected) and `x-request-id`. No answer holds a stack trace, HTML or an exception's own text: an
unexpected exception is logged under an id, and the caller gets the id. `body` is used by streams,
where a failure comes after the status line.
"""

import math
import random
import re
from typing import Any

import msgspec
import structlog
from quart import (
    Quart,
    Response,
    g,
    has_request_context,
    has_websocket_context,
    request,
    websocket,
)
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from tron.errors import (
    CallerError,
    Forbidden,
    HubError,
    Invalid,
    NotFound,
    TooLarge,
    TronError,
    Unauthenticated,
)

log = structlog.get_logger(__name__)

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def body(error: TronError) -> dict[str, Any]:
    """The error envelope."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


VOICE_PATHS = (
    "/v1/voice/",
    "/v1/onboarding/",
    "/v1/perf/",
    "/v1/ui/",
    "/v1/tasks",
    "/v1/approvals",
)
VOICE_CODES = frozenset(("missing_session_id", "unknown_voice"))
"""what a 400 of theirs may say more exactly than `invalid_request`"""


def voice_body(error: TronError) -> dict[str, Any]:
    """The envelope of the voice routes."""
    code = error.code or error.type
    if isinstance(error, Invalid) and code not in VOICE_CODES:
        code = "invalid_request"
    return {"error": error.message, "code": code}


def _body_here(error: TronError) -> dict[str, Any]:
    """The envelope that this route's document promises."""
    if has_request_context():
        path = request.path
    else:
        path = websocket.path if has_websocket_context() else ""
    return voice_body(error) if path.startswith(VOICE_PATHS) else body(error)


def render(error: TronError) -> Response:
    """The whole answer: envelope, status, and what tells a client whether to try again."""
    response = Response(
        msgspec.json.encode(_body_here(error)), error.status, content_type="application/json"
    )
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if not error.retryable:
        response.headers["x-should-retry"] = "false"
    if isinstance(error, Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def request_id() -> str:
    """This request's id: the caller's own if it is sane, else one made here."""
    known: str | None = g.get("request_id")
    if known is None:
        headers = request.headers if has_request_context() else websocket.headers
        given = headers.get("X-Request-ID", "")
        known = given if _SANE_ID.fullmatch(given) else f"req_{random.getrandbits(96):024x}"
        g.request_id = known
    return known


def install(app: Quart) -> None:
    """Make every failure of `app` speak the envelope, and number every answer."""
    app.url_map.merge_slashes = False  # its redirects are HTML; `//x` is simply not found
    app.register_error_handler(TronError, _tron_error)
    app.register_error_handler(HTTPException, _http_fault)
    app.register_error_handler(Exception, _unexpected)
    app.after_request(_number)
    app.after_websocket(_number_refusal)  # type: ignore[type-var]


async def _tron_error(error: TronError) -> Response:
    return render(error)


async def _http_fault(fault: HTTPException) -> Response:
    status = fault.code or 500
    if status < 400:  # a redirect of the router
        location = fault.get_response().headers["Location"]
        return Response(b"", status, headers={"Location": location})
    if status >= 500:
        return await _unexpected(getattr(fault, "original_exception", None) or fault)
    response = render(_as_tron(fault, status))
    if isinstance(fault, MethodNotAllowed) and fault.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(fault.valid_methods))
    return response


def _as_tron(fault: HTTPException, status: int) -> TronError:
    match status:
        case 400:
            return Invalid("The request could not be read.")
        case 401:
            return Unauthenticated("A token is needed.", code="invalid_api_key")
        case 403:
            return Forbidden("This is not allowed.")
        case 404:
            return NotFound("There is nothing at this address.", code="unknown_url")
        case 413:
            return TooLarge("The request body is too large.")
    error = CallerError(f"{fault.name}.")
    error.status = status
    error.type = fault.name.lower().replace(" ", "_")
    return error


async def _unexpected(error: Exception) -> Response:
    log.error("request.failed", request_id=request_id(), exc_info=error)
    return render(HubError(f"Something broke inside the hub. Its log has it under {request_id()}."))


async def _number(response: Response) -> Response:
    response.headers["x-request-id"] = request_id()
    if has_request_context() and request.method == "OPTIONS" and not response.content_length:
        response.headers.pop("Content-Type", None)  # Quart calls an empty body HTML
    return response


async def _number_refusal(response: Response | None) -> Response | None:
    if response is None:
        return None
    # The server can't take a further request on it, and a client with a pool would send one.
    response.headers["Connection"] = "close"
    return await _number(response)
