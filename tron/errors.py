"""One tree of errors, its branches named by who must act.

    TronError
    ├── CallerError               the request is wrong; sending it again changes nothing
    │   ├── Invalid               400 invalid_request_error
    │   ├── Unauthenticated       401 authentication_error
    │   ├── Forbidden             403 permission_error
    │   ├── NotFound              404 not_found
    │   ├── Conflict              409 conflict
    │   ├── TooLarge              413 request_too_large
    │   └── RateLimited           429 rate_limit_error      (retryable)
    ├── ProviderError             a language model or another outside service failed
    │   ├── ProviderRefused       the request itself was refused; 400, 413 or 422 passed on
    │   ├── ProviderUnavailable   502 provider_unavailable  (retryable)
    │   └── ProviderBroke         failed after the first token; 502 provider_error (retryable)
    └── HubError                  the hub itself
        ├── Overloaded            503 overloaded            (retryable)
        ├── StorageUnavailable    503 storage_unavailable   (retryable)
        ├── NotConfigured         503 not_configured: a setting is missing, and which
        ├── ProcessEnded          409 process_ended: stopped while it was working
        ├── TurnTimedOut          504 turn_timeout          (retryable)
        └── BudgetExhausted       429 budget_exhausted

An error knows its status, its stable `type` and whether trying again makes sense. Each surface
renders it in the shape its own document promises; nothing here knows about JSON. Messages never
hold what people said or their numbers.
"""


class TronError(Exception):
    """Root of every error the hub raises on purpose."""

    status: int = 500
    type: str = "server_error"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """`param` names the offending field, `retry_after` is in seconds."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after


class CallerError(TronError):
    status = 400
    type = "invalid_request_error"


class Invalid(CallerError):
    pass


class Unauthenticated(CallerError):
    status = 401
    type = "authentication_error"


class Forbidden(CallerError):
    status = 403
    type = "permission_error"


class NotFound(CallerError):
    status = 404
    type = "not_found"


class Conflict(CallerError):
    status = 409
    type = "conflict"


class TooLarge(CallerError):
    status = 413
    type = "request_too_large"


class RateLimited(CallerError):
    status = 429
    type = "rate_limit_error"
    retryable = True


class ProviderError(TronError):
    status = 502
    type = "provider_error"


class ProviderRefused(ProviderError):
    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ProviderUnavailable(ProviderError):
    type = "provider_unavailable"
    retryable = True


class ProviderBroke(ProviderError):
    retryable = True


class HubError(TronError):
    pass


class Overloaded(HubError):
    status = 503
    type = "overloaded"
    retryable = True


class StorageUnavailable(HubError):
    status = 503
    type = "storage_unavailable"
    retryable = True


class NotConfigured(HubError):
    status = 503
    type = "not_configured"


class ProcessEnded(HubError):
    status = 409
    type = "process_ended"


class TurnTimedOut(HubError):
    status = 504
    type = "turn_timeout"
    retryable = True


class BudgetExhausted(HubError):
    status = 429
    type = "budget_exhausted"
