"""What goes wrong with a database, as the hub says it.

The driver's own text names tables, columns and values, which are what people said; so only its
code is told. The store and its writer call it.
"""

from typing import TypeGuard

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from tron.errors import StorageUnavailable


def sick(error: Exception) -> TypeGuard[DBAPIError]:
    """Whether the database failed, not the unit or a constraint."""
    return isinstance(error, DBAPIError) and not isinstance(error, IntegrityError)


def unavailable(error: DBAPIError) -> StorageUnavailable:
    """The error that callers get."""
    said = StorageUnavailable(
        f"The database could not do that ({kind(error)}). Nothing was changed.",
        retry_after=1,
    )
    said.__cause__ = error
    return said


def not_opened(url: str, error: DBAPIError) -> StorageUnavailable:
    """The error at start: where the database should be, and what to check."""
    at = make_url(url)
    if at.get_backend_name() != "postgresql" or getattr(error.orig, "sqlstate", None):
        return unavailable(error)
    where = f"{at.host or at.query.get('host') or 'localhost'}:{at.port or 5432}"
    if "FATAL" in str(error.orig):  # the server's own no
        said = StorageUnavailable(
            f"The database at {where} does not let the hub in. Check the user, the password and "
            "the name of the database in TRON_DATABASE_URL."
        )
    else:
        said = StorageUnavailable(
            f"The database at {where} can't be reached. Check that PostgreSQL runs there and "
            "accepts connections, and that TRON_DATABASE_URL names it."
        )
    said.__cause__ = error
    return said


def kind(error: Exception) -> str:
    """`SQLITE_FULL`, a PostgreSQL code such as `57P01`, or else the name of the error."""
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return str(code or type(cause).__name__)
