"""Who is calling, by the documented order, whatever a client writes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from tron.conversation.caller import ID_LIMIT, identify
from tron.conversation.turns import Caller

NOW_NS = 1_705_312_200_000_000_000

IN_ORDER: list[tuple[dict[str, str], dict[str, Any], str]] = [
    ({"X-Vapi-Caller-Phone": "+1 (415) 555-1234"}, {}, "+14155551234"),
    ({}, {"call": {"customer": {"number": "+14155550002"}}}, "+14155550002"),
    ({}, {"elevenlabs_extra_body": {"user_id": "eleven"}}, "eleven"),
    ({}, {"user": "bob"}, "bob"),
    ({"X-Request-ID": "abc"}, {}, "req-abc"),
]


def who(headers: dict[str, str], body: dict[str, Any]) -> Caller:
    return identify(Headers(headers), body, now_ns=NOW_NS)


@pytest.mark.parametrize("first", range(len(IN_ORDER)))
def test_the_first_of_the_documented_order_wins(first: int) -> None:
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    for more_headers, more_body, _ in IN_ORDER[first:]:
        headers |= more_headers
        body |= more_body
    caller = who(headers, body)
    assert (caller.id, caller.known) == (IN_ORDER[first][2], True)


def test_nobody_is_anonymous() -> None:
    assert who({}, {}) == Caller(id=f"anonymous-{NOW_NS}", known=False)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-vapi-call-id": "call-1"}, {}),
        ({}, {"call": {"id": "call-1"}}),
        ({"X-Conversation-ID": "call-1"}, {}),
        ({}, {"elevenlabs_extra_body": {"conversation_id": "call-1"}}),
    ],
)
def test_a_call_is_known_by_its_id(headers: dict[str, str], body: dict[str, Any]) -> None:
    assert who(headers, body).call_id == "call-1"


def test_a_request_id_gets_its_prefix_once() -> None:
    assert who({"X-Request-ID": "req-7"}, {}).id == "req-7"


@pytest.mark.parametrize("number", ["+14155551234", "+1 415 555 1234", "1 (415) 555-1234"])
def test_a_number_is_one_number_however_it_is_written(number: str) -> None:
    assert who({"X-Vapi-Caller-Phone": number}, {}).id == "+14155551234"


def test_names_that_only_look_like_numbers_stay_apart() -> None:
    """Two people's addresses or dates must not become one caller."""
    names = ["1.11.1.1", "11.1.1.1", "2024-01-15", "202401-15", "12 345", "123 45", "12345"]
    assert len({who({}, {"user": name}).id for name in names}) == len(names)
    assert who({}, {"user": "+1 415 555 1234"}).id == "+14155551234"


WITHHELD = [
    "",
    "anonymous",
    "Anonymous",
    "UNKNOWN",
    "restricted",
    "Unavailable",
    "private number",
    "withheld",
    "BLOCKED",
    "No Caller ID",
    "not_available",
    "sip:anonymous@anonymous.invalid",
    "+266696687",
    "+7378742833",
]


@pytest.mark.parametrize("said", WITHHELD)
def test_a_withheld_number_names_nobody(said: str) -> None:
    for headers, body in (
        ({"X-Vapi-Caller-Phone": said}, {}),
        ({}, {"call": {"customer": {"number": said}}}),
        ({}, {"customer": {"number": said}}),
        ({}, {"elevenlabs_extra_body": {"caller_id": said}}),
        ({"X-User-ID": said}, {}),
        ({}, {"user": said}),
    ):
        assert who(headers, body) == Caller(id=f"anonymous-{NOW_NS}", known=False)
        within = who(headers | {"X-Vapi-Call-ID": "call-1"}, body)
        assert (within.known, within.call_id) == (False, "call-1")


def test_what_else_tells_who_it_is_still_does() -> None:
    assert who({"X-Vapi-Caller-Phone": "anonymous"}, {"user": "bob"}).id == "bob"


@pytest.mark.parametrize("name", ["2562533", "anon", "unknown-7", "🙂", "---"])
def test_only_what_stands_for_nobody_names_nobody(name: str) -> None:
    assert who({}, {"user": name}).id == name


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["call", "customer", "user", "elevenlabs_extra_body", "id", "number"])
HEADERS = st.sampled_from(
    ["X-Vapi-Caller-Phone", "X-Vapi-Call-ID", "X-Request-ID", "X-User-ID", "X-Conversation-ID"]
)


@given(
    st.dictionaries(HEADERS, st.text()),
    st.dictionaries(FIELDS, ANYTHING | st.dictionaries(FIELDS, ANYTHING)),
)
def test_hostile_values_make_a_caller_all_the_same(
    headers: dict[str, str], body: dict[str, Any]
) -> None:
    caller = identify(headers, body, now_ns=NOW_NS)
    for id in (caller.id, *([caller.call_id] if caller.call_id is not None else [])):
        assert id.strip()
        assert id.isprintable()
        assert len(id) <= ID_LIMIT + len("req-")
