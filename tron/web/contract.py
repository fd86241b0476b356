"""What a route promises: who may call it, what it takes, what it answers.

`promises` is put on every view. It marks the scope the guard asks for, reads and checks the body
or the query (a fault becomes a 400 that names the field), and documents all of it, failures
included, for `/openapi.json`: what the route is for as its tag, what it needs as the last line of
its description, which the page at `/docs` reads. A view without it needs `admin`, so a forgotten
one is closed.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from inspect import cleandoc
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError, create_model
from quart import Quart, request
from quart_schema import (
    HttpSecurityScheme,
    Info,
    QuartSchema,
    document_querystring,
    document_request,
    document_response,
    security_scheme,
    tag,
)
from quart_schema.openapi import OpenAPIProvider
from werkzeug.routing import Rule

import tron
from tron.errors import Invalid

Need = Literal["public", "signed", "chat", "read", "write", "admin", "internal"]
"""`public`: no principal. `signed`: the view itself checks a signature or a single-use token, so
the request may come by any name and from anywhere. `internal`: a request made on this machine, or
the owner. The others are scopes; `admin` covers them all."""

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
"""what a name may hold; PostgreSQL stores no NUL"""

View = Callable[..., Awaitable[Any]]

GROUPS = {
    "tron.web.openai": "chat",
    "tron.web.sessions": "sessions",
    "tron.web.status": "operators",
    "tron.web.channels": "operators",
    "tron.web.calls": "calls",
    "tron.web.life": "life",
    "tron.web.auth": "access",
    "tron.web.internal": "internal",
    "tron.web.page": "pages",
    "tron.web.voice.rest": "voice",
    "tron.web.voice.socket": "voice",
    "tron.web.tasks": "tasks",
    "tron.web.policies": "tasks",
}
"""what the routes of a module are for; those of any other are `integrations`"""

_NEED = "_tron_needs"
_STREAM = "_tron_streams"

BEARER = "bearer"
"""the way a request shows what it may; in local mode nothing is asked for"""


class Fault(BaseModel):
    """What went wrong; `param` names the offending field, `code` the exact case."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """Every failure of every route."""

    error: Fault


class VoiceErrorAnswer(BaseModel):
    """Every failure of the voice routes."""

    error: str
    code: str


class Ok(BaseModel):
    """It is done."""

    ok: bool = True


def promises(
    needs: Need,
    *,
    gives: Any = None,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    fails: tuple[int, ...] = (),
    also_gives: Mapping[int, Any] | None = None,
    group: str | None = None,
    error: type[BaseModel] = ErrorAnswer,
    streams: str | None = None,
) -> Callable[[View], View]:
    """Declare a view. It is called with `data` (a `body`) and `query` (a `query`), checked.

    `gives` is the model of the 200 answer, `also_gives` of answers with another status; `fails`
    lists the statuses of the error envelope besides those every such route has. `group` is what
    the route is for, where that is not what its module is for; `error` the model of its failures;
    `streams` the events of a 200 that may also be a stream of them.
    """
    failures = {403, 503, *fails}
    if needs not in ("public", "signed"):
        failures.add(401)
    if body is not None:
        failures |= {400, 413}
    if query is not None:
        failures.add(400)

    def declare(view: View) -> View:
        promised = view
        if body is not None or query is not None:
            promised = _checked(view, body, query)
        for status in sorted(failures):
            document_response(cast(Any, error), status)(promised)
        for status, model in ({200: gives} if gives else {}).items():
            document_response(_described(model), status)(promised)
        for status, model in (also_gives or {}).items():
            document_response(_described(model), status)(promised)
        if body is not None:
            document_request(cast(Any, body))(promised)
        if query is not None:
            document_querystring(cast(Any, query))(promised)
        tag([group or GROUPS.get(view.__module__, "integrations")])(promised)
        promised.__doc__ = f"{cleandoc(view.__doc__ or '')}\n\nNeeds: {needs} ({_meaning(needs)})"
        if needs == "internal":  # nothing, or a token
            security_scheme([{}, {BEARER: ["admin"]}])(promised)
        elif needs not in ("public", "signed"):
            security_scheme([{BEARER: [needs]}])(promised)
        setattr(promised, _NEED, needs)
        setattr(promised, _STREAM, streams)
        return promised

    return declare


def describe(app: Quart) -> None:
    """Serve at `/openapi.json` what the views of `app` promise."""
    QuartSchema(
        app,
        openapi_provider_class=_Description,
        security_schemes={BEARER: HttpSecurityScheme(scheme="bearer")},
        info=Info("Tron", tron.__version__),
        swagger_ui_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
    )


class _Description(OpenAPIProvider):
    """The OpenAPI document."""

    def operation_id(self, method: str, path: str, func: object) -> str:
        """One view at two addresses has two names, as OpenAPI demands."""
        return f"{method}_{re.sub(r'[^a-z0-9]+', '_', path.lower()).strip('_')}"

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        paths, components = super().build_paths(rule)
        if events := getattr(self._app.view_functions[rule.endpoint], _STREAM, None):
            stream = {"schema": {"type": "string", "description": events}}
            for methods in paths.values():
                for operation in methods.values():
                    operation["responses"][200]["content"]["text/event-stream"] = stream
        return paths, components


def needs_of(view: object) -> Need:
    """What a caller needs for `view`; `admin` where nothing is declared."""
    return cast(Need, getattr(view, _NEED, "admin"))


def _meaning(need: Need) -> str:
    if need == "public":
        return "nothing"
    if need == "internal":
        return "to come from this machine, or a token with the scope admin"
    return "a token with that scope"


def _described(model: Any) -> Any:
    """A list of a model as a model with words of its own: Python's about `list` help nobody."""
    if get_origin(model) is not list:
        return model
    (item,) = get_args(model)
    about = f"A list. Each: {cleandoc(item.__doc__ or item.__name__)}"
    return create_model(f"{item.__name__}List", __base__=RootModel[model], __doc__=about)


def _checked(view: View, body: type[BaseModel] | None, query: type[BaseModel] | None) -> View:
    @wraps(view)
    async def check_first(*args: Any, **kwargs: Any) -> Any:
        try:
            if query is not None:
                given = {
                    name: values[0] if len(values) == 1 else values
                    for name, values in request.args.to_dict(flat=False).items()
                }
                kwargs["query"] = query.model_validate(given)
            if body is not None:
                # Any content type is read: curl without a header sends a form's.
                kwargs["data"] = body.model_validate_json(await request.get_data() or b"{}")
        except ValidationError as error:
            raise _invalid(error) from None
        return await view(*args, **kwargs)

    return check_first


def _invalid(error: ValidationError) -> Invalid:
    """The first fault, without the value: that may be a secret or somebody's words."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Invalid("The body is not valid JSON.", code="invalid_json")
    param = ".".join(str(part) for part in first["loc"]) or None
    return Invalid(f"{param or 'The body'}: {first['msg']}.", param=param, code=first["type"])
