"""Which words are a yes or a no to a question of the hub's, and which are talk."""

import pytest

from tron.tasks.answers import answer, explicit

YES = """yes|Yes.|YES!|yeah|yep|ok|Okay.|sure|go ahead|Go ahead, please.|yes please|Yes, please!|
do it|please do|Yes, please do.|yes, go ahead|Approve.|approve|I approve.|approved|approve it|
approve task|please approve|1|one|(pressed the keys 1)|Yes, yes.|yes thanks|ok then"""
NO = """no|No.|nope|no thanks|No, thank you.|deny|Deny it.|deny task|reject|don't|Don’t!|do not|
no, don't do it|no way|2|two|(pressed the keys 2)|i'd rather not"""
NEITHER = """yes but not now|Yes?|yes no|no yes|approve and deny|yes, and text Bob too|maybe|
I don't approve|do not approve|approve 2|12|(pressed the keys 12)|(pressed the keys 21)|+1|-1|
1 + 1|yes to what|I said yes to Bob|what would that do|please|thanks|hello|да|да yes|y|
on second thought
no wait|okay no|can you approve it?|not yes"""


def cases(text: str) -> list[str]:
    return [one.strip() for one in text.replace("\n", "|").split("|") if one.strip()]


@pytest.mark.parametrize("said", cases(YES))
def test_a_yes(said: str) -> None:
    assert answer(said) is True


@pytest.mark.parametrize("said", cases(NO))
def test_a_no(said: str) -> None:
    assert answer(said) is False


@pytest.mark.parametrize("said", [*cases(NEITHER), "", "   ", "…", "yes " * 40])
def test_anything_else_is_talk(said: str) -> None:
    assert answer(said) is None


@pytest.mark.parametrize(
    ("said", "does"), [("Approve.", True), ("deny it", True), ("yes", False), ("1", False)]
)
def test_some_answers_say_themselves_what_they_answer(said: str, does: bool) -> None:
    assert explicit(said) is does
