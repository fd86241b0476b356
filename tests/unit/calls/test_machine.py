"""Whole calls on a virtual clock."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.calls.simulator import FRAMES_PER_CHARACTER, Phone, heard_of
from tron.calls import signals as s
from tron.calls.backchannel import backchannel
from tron.calls.limits import GRACE_MS
from tron.calls.machine import RESULT_WAIT_MS
from tron.calls.manner import Manner
from tron.calls.signals import FRAME_MS

ANSWER = "One two three four five six seven. Eight nine ten eleven twelve thirteen fourteen."


def ask(phone: Phone, ms: int = 800) -> None:
    """Say something and wait until the turn has begun."""
    before = len(phone.begun)
    phone.speak(ms)
    for _ in range(200):
        if len(phone.begun) > before:
            return
        phone.quiet(FRAME_MS)
    raise AssertionError("no turn began")


def test_a_greeting_a_question_an_answer_and_the_end() -> None:
    phone = Phone(Manner(greeting="Hello, this is Tony."), answer=ANSWER)
    phone.quiet(5_000)
    assert phone.heard, "the greeting was played"
    ask(phone)
    phone.quiet(20_000)
    assert phone.over == [(1, "completed")]
    assert sum(len(phone.texts[id]) for id in phone.texts) * FRAMES_PER_CHARACTER == len(
        phone.heard
    )
    phone.hang_up()
    phone.check_over()
    assert phone.endings == ["caller-hung-up"]


def test_first_audio_comes_with_the_first_sentence() -> None:
    phone = Phone(Manner(), answer=None)
    phone.quiet(300)
    ask(phone)
    phone.tell(s.AnswerText(1, "Well then. And"))
    phone.quiet(2 * FRAME_MS)
    assert phone.audible
    phone.tell(s.AnswerText(1, " so on"))
    phone.tell(s.AnswerOver(1))
    phone.quiet(3_000)
    assert phone.over == [(1, "completed")]


def test_barge_in_silences_at_once_and_keeps_what_was_heard() -> None:
    phone = Phone(Manner(), answer=ANSWER)
    phone.quiet(300)
    ask(phone)
    phone.quiet(2_000)
    assert phone.audible
    phone.final = "stop that please"
    phone.speak(200)  # the declared start: in the same step all is silent
    assert not phone.audible
    at, _ = phone.notes("paused")[-1]
    clears = [t for t, action in phone.log if isinstance(action, s.Clear)]
    hushes = [t for t, action in phone.log if isinstance(action, s.Hush)]
    assert clears[-1] == hushes[-1] == at == phone.now
    heard_frames = len(phone.heard)
    phone.speak(600)
    phone.quiet(800)
    assert phone.begun == [1, 2]
    heard = heard_of(phone, 1)
    assert ANSWER.startswith(heard.strip())
    characters = heard_frames / FRAMES_PER_CHARACTER
    assert characters - 12 <= len(heard) <= characters + 1, "to the word"


def test_a_cough_does_not_cut_the_persona_off() -> None:
    for final in ("", "mm-hm"):
        phone = Phone(Manner(), answer=ANSWER)
        phone.quiet(300)
        ask(phone)
        phone.quiet(1_500)
        phone.final = final
        phone.speak(300)
        phone.quiet(20_000)
        assert phone.over == [(1, "completed")]
        assert phone.begun == [1]
        spoken = " ".join(phone.texts.values())
        assert spoken.endswith("thirteen fourteen."), "it took up again"


GREETING = "Good morning, this is the practice of Doctor Miller. How may I help you today?"


def volunteered(phone: Phone) -> str:
    """What was said, in order, as often as any of it was played."""
    played = dict.fromkeys(segment for segment, _ in phone.heard)
    return " ".join(phone.texts[segment] for segment in played)


@pytest.mark.parametrize("final", ["", "mm-hm"])
@pytest.mark.parametrize("pause_ms", [400, 2_000, 3_400])
def test_a_cough_does_not_cut_the_greeting_off(final: str, pause_ms: int) -> None:
    phone = Phone(Manner(greeting=GREETING), final=final)
    phone.quiet(pause_ms)
    phone.speak(300)
    assert not phone.audible
    phone.quiet(20_000)
    assert volunteered(phone).endswith("today?"), "it took up again"
    assert " ".join(phone.unasked).split() == GREETING.split(), "all of it was heard, once"
    assert phone.begun == []


def test_of_a_greeting_that_is_cut_off_only_what_was_heard_is_known() -> None:
    phone = Phone(Manner(greeting=GREETING), final="stop that please")
    phone.quiet(1_100)
    heard_frames = len(phone.heard)
    phone.speak(1_000)
    phone.quiet(1_000)
    assert phone.begun == [1]
    (heard,) = phone.unasked
    assert GREETING.startswith(heard.strip())
    characters = (heard_frames + 10) / FRAMES_PER_CHARACTER
    assert 4 < characters - 12 <= len(heard) <= characters + 1, "to the word"
    at = [at for at, a in phone.log if isinstance(a, s.Unasked)]
    assert at[0] <= phone.notes("turn_began")[0][0], "known before the turn begins"


def test_a_cough_does_not_cut_the_question_about_silence_off() -> None:
    prompt = "Are you still there, or did you put the telephone down?"
    phone = Phone(Manner(silence_ms=3_000, silence_prompts=(prompt, "Goodbye.")), final="")
    phone.quiet(4_000)
    phone.speak(300)
    phone.quiet(4_500)
    assert phone.unasked == [prompt]


def test_a_cough_does_not_cut_an_apology_off() -> None:
    manner = Manner()
    phone = Phone(manner, answer=None, final="")
    phone.tell(s.Typed("hello"))
    phone.tell(s.AnswerOver(1, error="provider_unavailable"))
    phone.quiet(1_000)
    phone.speak(300)
    phone.quiet(10_000)
    assert max(phone.heard)[1] + 1 == len(manner.apology) * FRAMES_PER_CHARACTER
    assert phone.over == [(1, "completed")]


def test_an_apology_is_not_said_over_the_caller() -> None:
    phone = Phone(Manner(), answer=None, final="")
    phone.tell(s.Typed("hello"))
    phone.tell(s.AnswerText(1, "Well, let me see what there is to be found. "))
    phone.quiet(1_000)
    phone.speak(300)
    phone.tell(s.AnswerOver(1, error="provider_unavailable"))
    phone.speak(100)
    assert not phone.audible
    phone.quiet(10_000)
    assert phone.texts[max(phone.texts)] == Manner().apology


QUESTION = "Shall I book the flight to Berlin for you?"


def spoken_into(answer: str, final: str, before_ms: int) -> Phone:
    """The caller speaks up `before_ms` before the end of an answer."""
    phone = Phone(Manner(), answer=answer, final=final)
    phone.tell(s.Typed("what about berlin"))
    whole = (len(answer) + 1) * FRAMES_PER_CHARACTER * FRAME_MS
    phone.quiet(whole - before_ms)
    phone.speak(300)
    phone.quiet(1_000)
    return phone


@pytest.mark.parametrize("final", ["Yes.", "Okay, sure.", "Uh-huh.", "Go on."])
@pytest.mark.parametrize("before_ms", [400, 600, 900])
@pytest.mark.parametrize("tail", ["", " Say yes or no."])
def test_a_yes_at_the_end_of_a_question_is_an_answer(final: str, before_ms: int, tail: str) -> None:
    phone = spoken_into(QUESTION + tail, final, before_ms)
    assert [a.text for _, a in phone.log if isinstance(a, s.BeginTurn)][1:] == [final]
    assert QUESTION.startswith(heard_of(phone, 1).strip()) or tail


@pytest.mark.parametrize(
    ("answer", "final", "before_ms"),
    [
        (QUESTION, "Yes.", 1_800),  # they can't know yet what is asked
        (QUESTION, "Hmm.", 500),
        (QUESTION, "", 500),
        (QUESTION + " It would be two hundred euros.", "Yes.", 500),
        ("I can book the flight to Berlin for you.", "Yes.", 500),
        ("Shall I delete it? Say yes or no.", "Yes.", 1_700),  # in the middle of the question
    ],
)
def test_a_yes_anywhere_else_is_not(answer: str, final: str, before_ms: int) -> None:
    phone = spoken_into(answer, final, before_ms)
    phone.quiet(10_000)
    assert phone.begun == [1]
    assert phone.over == [(1, "completed")]


def test_a_yes_to_a_question_that_is_still_being_written_is_not() -> None:
    phone = Phone(Manner(), answer=None, final="Yes.")
    phone.tell(s.Typed("what about berlin"))
    phone.tell(s.AnswerText(1, "Shall I book it? "))
    phone.quiet(500)
    phone.speak(300)
    phone.quiet(500)
    phone.tell(s.AnswerText(1, "It costs a fortune."))
    phone.tell(s.AnswerOver(1))
    phone.quiet(10_000)
    assert phone.begun == [1]


def going_on(final: str = "in tokyo please") -> Phone:
    """A question after which the caller speaks on before there is an answer to it."""
    phone = Phone(Manner(), answer=None, final="what time is it")
    phone.quiet(300)
    ask(phone)
    phone.final = final
    phone.speak(300)
    phone.tell(s.AnswerText(1, ANSWER))
    phone.tell(s.AnswerOver(1))
    phone.quiet(FRAME_MS)
    assert not phone.audible
    return phone


def test_an_answer_does_not_begin_while_the_caller_speaks() -> None:
    phone = going_on()
    phone.speak(2_000)
    assert phone.over == [(1, "dropped")], "long speech has the floor here as well"
    phone.quiet(1_000)
    assert phone.begun == [1, 2]
    assert heard_of(phone, 1) == ""
    assert not phone.heard


@pytest.mark.parametrize("final", ["", "mm-hm"])
def test_an_answer_that_waited_for_a_cough_is_said_whole(final: str) -> None:
    phone = going_on(final)
    phone.quiet(20_000)
    assert phone.over == [(1, "completed")]
    assert volunteered(phone) == ANSWER


def test_an_answer_waits_until_it_is_known_what_was_said() -> None:
    phone = Phone(Manner(), answer=None, final=None)
    phone.tell(s.Typed("what time is it"))
    phone.speak(400)
    phone.quiet(600)
    phone.tell(s.AnswerText(1, ANSWER))
    phone.quiet(500)
    assert not phone.audible
    phone.tell(s.FinalText("in tokyo please"))
    assert phone.over == [(1, "dropped")]
    assert not phone.heard


def test_an_answer_without_words_does_not_wait() -> None:
    phone = Phone(Manner(), answer=None)
    phone.tell(s.Typed("do it"))
    phone.speak(400)
    phone.tell(s.AnswerOver(1))
    assert phone.over == [(1, "completed")]


def test_the_persona_does_not_take_up_again_over_the_next_words() -> None:
    phone = Phone(Manner(), answer=ANSWER, final=None)
    phone.tell(s.Typed("hello"))
    phone.quiet(700)
    phone.speak(300)
    phone.quiet(600)
    phone.speak(300)  # before it is known that the first were none
    phone.tell(s.FinalText("mm-hm"))
    phone.speak(300)
    assert not phone.audible
    phone.quiet(600)
    assert not phone.audible, "nor before it is known what the second were"
    phone.tell(s.FinalText(""))
    phone.quiet(20_000)
    assert phone.over == [(1, "completed")]


def test_two_coughs_before_either_is_known_to_be_one() -> None:
    phone = Phone(Manner(), answer=ANSWER, final=None)
    phone.tell(s.Typed("hello"))
    phone.quiet(1_500)
    for _ in range(2):
        phone.speak(300)
        phone.quiet(600)
    phone.tell(s.FinalText(""))
    phone.quiet(100)
    assert not phone.audible
    phone.quiet(RESULT_WAIT_MS)  # the second is never understood
    assert phone.audible


def test_long_speech_ends_the_turn_before_it_is_understood() -> None:
    phone = Phone(Manner(), answer=ANSWER, final=None)
    phone.quiet(300)
    phone.speak(800)
    phone.quiet(600)
    phone.tell(s.FinalText("tell me a lot"))
    phone.quiet(1_000)
    phone.speak(1_600)
    assert phone.over == [(1, "dropped")]


def test_a_partial_that_says_something_ends_the_turn() -> None:
    phone = Phone(Manner(), answer=ANSWER)
    phone.quiet(300)
    ask(phone)
    phone.quiet(1_000)
    phone.speak(260)
    phone.tell(s.PartialText("mm"))
    assert phone.over == []
    phone.tell(s.PartialText("wait a moment"))
    assert phone.over == [(1, "dropped")]


def test_a_second_question_before_any_answer() -> None:
    phone = Phone(Manner(), answer=None)
    phone.quiet(300)
    ask(phone)
    ask(phone)
    assert phone.over == [(1, "dropped")]
    assert heard_of(phone, 1) == ""
    phone.tell(s.AnswerText(1, "Too late. And so on."))
    phone.quiet(1_000)
    assert not phone.heard


def test_a_filler_while_a_tool_works_once() -> None:
    manner = Manner()
    phone = Phone(manner, answer=None)
    phone.quiet(300)
    ask(phone)
    phone.tell(s.AnswerWorking(1))
    phone.quiet(manner.filler_after_ms - 100)
    assert not phone.texts
    phone.quiet(6_000)
    assert list(phone.texts.values()) == [manner.fillers[0]]
    phone.tell(s.AnswerText(1, "It is done."))
    phone.tell(s.AnswerOver(1))
    phone.quiet(5_000)
    assert phone.over == [(1, "completed")]


def test_a_tool_that_never_returns_is_dropped_with_its_turn() -> None:
    phone = Phone(Manner(), answer=None)
    phone.quiet(300)
    ask(phone)
    phone.tell(s.AnswerWorking(1))
    phone.quiet(3_000)
    phone.hang_up()
    phone.check_over()
    assert phone.over == [(1, "dropped")]


def test_a_failed_answer_is_apologised_for() -> None:
    manner = Manner()
    phone = Phone(manner, answer=None)
    phone.quiet(300)
    ask(phone)
    phone.tell(s.AnswerOver(1, error="provider_unavailable"))
    phone.quiet(15_000)
    assert list(phone.texts.values()) == [manner.apology]
    assert phone.over == [(1, "completed")]


def test_a_recogniser_that_says_nothing() -> None:
    phone = Phone(Manner(), answer=ANSWER, final=None)
    phone.quiet(300)
    phone.speak(800)
    phone.quiet(600)
    phone.tell(s.FinalText("hello"))
    phone.quiet(1_000)
    phone.speak(300)  # spoken into, and then never understood
    phone.quiet(RESULT_WAIT_MS + 2_000)
    assert phone.audible or phone.over, "the persona went on"
    phone.quiet(20_000)
    assert phone.over == [(1, "completed")]


def test_a_line_that_never_answers_marks() -> None:
    """Some simulators don't: the call goes on by its own clock."""
    phone = Phone(Manner(), answer=ANSWER, marks=False)
    phone.quiet(300)
    ask(phone)
    phone.quiet(20_000)
    assert phone.over == [(1, "completed")]


def test_keys() -> None:
    phone = Phone(Manner(), answer=None)
    for key in "42#":
        phone.tell(s.Digit(key))
    assert [a.text for a in phone.actions(s.BeginTurn) if isinstance(a, s.BeginTurn)] == [
        "(pressed the keys 42)"
    ]
    phone.tell(s.Digit("7"))
    phone.quiet(1_900)
    assert len(phone.begun) == 1
    phone.quiet(200)
    assert len(phone.begun) == 2


@pytest.mark.parametrize(
    ("pressed", "meant"), [("#", "#"), ("#1#", "#1"), ("*#", "*"), ("##", "#")]
)
def test_a_hash_ends_keys_and_is_one_alone(pressed: str, meant: str) -> None:
    phone = Phone(Manner(), answer=None)
    for key in pressed:
        phone.tell(s.Digit(key))
    phone.quiet(2_100)
    begun = [a.text for a in phone.actions(s.BeginTurn) if isinstance(a, s.BeginTurn)]
    assert begun == [f"(pressed the keys {meant})"]


PROMPTS = ("Are you there?", "I can't hear you. Goodbye.")


def test_silence_is_asked_about_and_then_ends_the_call() -> None:
    phone = Phone(Manner(silence_ms=5_000, silence_prompts=PROMPTS))
    phone.quiet(4_900)
    assert not phone.texts
    phone.quiet(40_000)
    assert volunteered(phone) == "Are you there? I can't hear you. Goodbye."
    characters = sum(map(len, phone.texts.values()))
    assert len(phone.heard) == characters * FRAMES_PER_CHARACTER, "the goodbye to its end"
    phone.check_over()
    assert phone.endings == ["caller-silent"]
    assert [note.text for _, note in phone.notes("limit")] == ["caller-silent"]


def test_silence_without_words_for_it_ends_the_call() -> None:
    phone = Phone(Manner(silence_ms=5_000))
    phone.quiet(6_000)
    assert phone.endings == ["caller-silent"]


def test_who_answers_in_time_is_asked_again_from_the_start() -> None:
    phone = Phone(Manner(silence_ms=5_000, silence_prompts=PROMPTS), answer="Good.", final="I am")
    phone.quiet(7_000)
    ask(phone)
    phone.quiet(6_500)
    assert phone.machine.ended is None
    assert volunteered(phone) == "Are you there? Good. Are you there?"


def test_who_speaks_into_that_goodbye_is_not_hung_up_on() -> None:
    phone = Phone(Manner(silence_ms=5_000, silence_prompts=PROMPTS), final="I am here")
    phone.quiet(11_500)
    assert phone.audible
    phone.speak(1_200)
    phone.quiet(3_000)
    assert phone.machine.ended is None
    assert phone.begun == [1]


@pytest.mark.parametrize("final", ["Yes.", "mm-hm", "Hmm.", "Okay, sure."])
@pytest.mark.parametrize("at_ms", [5_300, 11_000])
def test_a_word_is_an_answer_to_the_question_about_silence(final: str, at_ms: int) -> None:
    phone = Phone(Manner(silence_ms=5_000, silence_prompts=PROMPTS), answer="Good.", final=final)
    phone.quiet(at_ms)
    assert phone.audible
    phone.speak(300)
    phone.quiet(1_000)
    assert phone.begun == [1]
    phone.quiet(5_000)
    assert phone.machine.ended is None
    phone.quiet(3_000)
    assert volunteered(phone).endswith("Good. Are you there?"), "asked again from the start"


def test_who_is_not_meant_is_there() -> None:
    """Somebody else speaks, without the wake word, into the last goodbye."""
    manner = Manner(silence_ms=5_000, silence_prompts=PROMPTS, wake_words=("Tony",))
    phone = Phone(manner, final="what is on television")
    phone.tell(s.WakeWord(True))
    phone.quiet(11_000)
    phone.speak(1_200)
    phone.quiet(4_000)
    assert phone.machine.ended is None
    assert phone.begun == []


def test_who_only_listens_is_there() -> None:
    """Into an answer after a prompt: the next silence is asked about from the start."""
    phone = Phone(Manner(silence_ms=5_000, silence_prompts=PROMPTS), answer=None, final="mm-hm")
    phone.quiet(7_000)
    phone.tell(s.Typed("I am"))
    phone.tell(s.AnswerText(1, ANSWER))
    phone.tell(s.AnswerOver(1))
    phone.quiet(1_000)
    phone.speak(300)
    phone.quiet(14_000)
    assert phone.over == [(1, "completed")]
    assert phone.machine.ended is None


def test_after_a_long_silent_turn_silence_is_counted_anew() -> None:
    phone = Phone(Manner(silence_ms=5_000, fillers=()), answer=None)
    phone.tell(s.Typed("note that down"))
    phone.quiet(8_000)
    phone.tell(s.AnswerOver(1))
    phone.quiet(4_500)
    assert phone.machine.ended is None
    phone.quiet(1_000)
    assert phone.endings == ["caller-silent"]


def test_an_answer_that_takes_its_time_is_no_silence() -> None:
    phone = Phone(Manner(silence_ms=5_000, silence_prompts=PROMPTS, fillers=()), answer=None)
    phone.tell(s.Typed("count the stars"))
    phone.tell(s.AnswerWorking(1))
    phone.quiet(60_000)
    assert phone.machine.ended is None
    assert not phone.texts


def test_a_call_ends_when_it_has_lasted_too_long() -> None:
    phone = Phone(Manner(longest_ms=20_000), answer=ANSWER)
    for _ in range(5):
        phone.tell(s.Typed("go on"))
        phone.quiet(4_000)
    assert phone.over[-1] == (5, "dropped")
    phone.quiet(8_000)
    phone.check_over()
    assert phone.endings == ["call-too-long"]
    assert phone.texts[max(phone.texts)].endswith("Goodbye.")


def test_who_talks_on_does_not_make_it_longer() -> None:
    phone = Phone(Manner(longest_ms=20_000), final="and another thing")
    phone.speak(40_000)
    assert phone.endings == ["call-too-long"]
    (ended,) = phone.notes("ended")
    assert ended[0] <= 20_000 + GRACE_MS


def test_the_persona_hangs_up_after_its_goodbye() -> None:
    phone = Phone(Manner(), answer=None)
    phone.quiet(300)
    ask(phone)
    phone.tell(s.HangUpAfter("persona-ended-call"))
    phone.tell(s.AnswerText(1, "Goodbye then."))
    phone.tell(s.AnswerOver(1))
    phone.quiet(100)
    assert phone.machine.ended is None, "not before it was heard"
    phone.quiet(6_000)
    phone.check_over()
    assert phone.endings == ["persona-ended-call"]
    assert len(phone.heard) == len("Goodbye then.") * FRAMES_PER_CHARACTER


def goodbye(final: str | None) -> Phone:
    """The persona parts while the caller goes on talking."""
    phone = Phone(Manner(), answer=None, final="okay goodbye")
    ask(phone)
    phone.final = final
    phone.speak(300)
    phone.tell(s.HangUpAfter("persona-ended-call"))
    return phone


@pytest.mark.parametrize("words", ["Goodbye then.", ""])
def test_nobody_is_hung_up_on_who_goes_on_talking(words: str) -> None:
    phone = goodbye("oh wait one more thing")
    if words:
        phone.tell(s.AnswerText(1, words))
    phone.tell(s.AnswerOver(1))
    phone.speak(3_000)
    phone.quiet(5_000)
    assert phone.machine.ended is None
    assert phone.begun == [1, 2]
    assert not phone.heard


def test_whose_last_words_were_none_is() -> None:
    phone = goodbye("")
    phone.tell(s.AnswerOver(1))
    phone.speak(300)
    phone.quiet(1_000)
    assert phone.endings == ["persona-ended-call"]


def test_nobody_is_hung_up_on_who_presses_keys() -> None:
    phone = Phone(Manner(), answer=None)
    phone.tell(s.Digit("7"))
    phone.tell(s.HangUpAfter("persona-ended-call"))
    phone.quiet(3_000)
    assert phone.begun == [1]
    assert phone.machine.ended is None


NAMED = Manner(wake_words=("Tony",))


def overheard(final: str, partial: str, *, woken: bool = False) -> Phone:
    """With the wake word on, somebody speaks into an answer."""
    phone = Phone(NAMED, answer=ANSWER, final=final)
    phone.tell(s.WakeWord(True))
    if woken:
        phone.final = "Tony, tell me"
        ask(phone)
        phone.final = final
    else:
        phone.tell(s.Typed("tell me"))
    phone.quiet(1_500)
    phone.speak(600)
    phone.tell(s.PartialText(partial))
    phone.speak(1_000)
    return phone


def test_what_is_not_meant_does_not_end_an_answer() -> None:
    phone = overheard("the weather was quite nice", "the weather")
    assert not phone.audible
    phone.quiet(20_000)
    assert phone.over == [(1, "completed")]
    assert [a.what for a in phone.actions(s.Tell) if isinstance(a, s.Tell)].count("asleep") == 1
    assert " ".join(phone.texts.values()).endswith("thirteen fourteen.")


def test_what_is_meant_ends_it_before_it_is_understood() -> None:
    assert overheard("Tony, stop", "Tony, sto").over == [(1, "dropped")]
    assert overheard("stop that", "stop that", woken=True).over == [(1, "dropped")]


def test_who_is_armed_need_not_name_anybody() -> None:
    phone = Phone(NAMED, answer=ANSWER, final="stop that")
    phone.tell(s.WakeWord(True))
    phone.tell(s.Typed("tell me"))
    phone.quiet(1_000)
    phone.tell(s.Arm())
    phone.speak(1_200)
    assert phone.over == [(1, "dropped")]


def test_push_to_talk_waits_for_the_client() -> None:
    phone = Phone(Manner(), answer=None)
    phone.tell(s.StartTalking())
    phone.quiet(300)
    phone.speak(600)
    phone.quiet(100)
    phone.tell(s.StopTalking())
    assert phone.begun == [1]


def test_interrupting_by_hand() -> None:
    phone = Phone(Manner(), answer=ANSWER)
    phone.tell(s.Typed("hello"))
    phone.quiet(1_000)
    phone.tell(s.Interrupt())
    assert phone.over == [(1, "dropped")]
    assert not phone.audible
    phone.tell(s.Interrupt())
    assert len(phone.over) == 1


def test_what_could_not_be_spoken_was_not_heard() -> None:
    phone = Phone(Manner(), answer=ANSWER, speaks=False)
    phone.tell(s.Typed("hello"))
    phone.make(1, 30)
    phone.tell(s.SpeechOver(1, failed=True))
    phone.tell(s.SpeechOver(2, failed=True))
    phone.quiet(100)
    phone.tell(s.Interrupt())
    assert heard_of(phone, 1) in ("", "One ")


def test_backchannels() -> None:
    for text in ("mm-hm", "Okay.", "yeah yeah", "Uh-huh", "I see", ""):
        assert backchannel(text), text
    words = ("stop", "yes please do it now", "okay but wait a moment", "no", "42")
    for text in (*words, "等一下", "не надо", "لا", "やめて。"):
        assert not backchannel(text), text


# Everything in any order

words = st.sampled_from(
    ("Hello there. ", "This is long enough, I think. ", "word ", "**bold** ", "\n", "Mr. ", "… ")
)
finals = st.sampled_from(
    ("", "mm-hm", "stop that please", "hello there", "okay", "Yes.", "Tony, stop")
)
turns = st.integers(0, 4)
segments = st.integers(0, 8)
steps = st.one_of(
    st.tuples(st.just("speak"), st.integers(1, 60)),
    st.tuples(st.just("quiet"), st.integers(1, 120)),
    st.tuples(st.just("nothing"), st.integers(1, 60)),
    st.tuples(st.just("final"), finals),
    st.tuples(st.just("partial"), finals),
    st.tuples(st.just("typed"), st.just("typed words")),
    st.tuples(st.just("digit"), st.sampled_from("12#")),
    st.tuples(st.just("answer"), turns, words),
    st.tuples(st.just("working"), turns),
    st.tuples(st.just("answer_over"), turns, st.sampled_from((None, "overloaded"))),
    st.tuples(st.just("frames"), segments, st.integers(0, 60)),
    st.tuples(st.just("speech_over"), segments, st.booleans()),
    st.tuples(st.just("played"), segments),
    st.tuples(st.just("interrupt")),
    st.tuples(st.just("start_talking")),
    st.tuples(st.just("stop_talking")),
    st.tuples(st.just("wake_word"), st.booleans()),
    st.tuples(st.just("arm")),
    st.tuples(st.just("hang_up_after")),
    st.tuples(st.just("transfer_after")),
    st.tuples(st.just("not_transferred")),
    st.tuples(st.just("announce"), words),
)
manners = st.builds(
    Manner,
    greeting=st.sampled_from(("", "Hello, this is Tony.", GREETING)),
    marks=st.booleans(),
    silence_ms=st.sampled_from((0, 3_000)),
    silence_prompts=st.sampled_from(((), ("Are you there?",), PROMPTS)),
    longest_ms=st.sampled_from((0, 10_000)),
    wake_words=st.just(("Tony",)),
)


def step(phone: Phone, what: tuple[object, ...]) -> None:
    match what:
        case ("speak", int(frames)):
            phone.speak(frames * FRAME_MS)
        case ("quiet", int(frames)):
            phone.quiet(frames * FRAME_MS)
        case ("nothing", int(frames)):
            phone.nothing(frames * FRAME_MS)
        case ("final", str(text)):
            phone.tell(s.FinalText(text))
        case ("partial", str(text)):
            phone.tell(s.PartialText(text))
        case ("typed", str(text)):
            phone.tell(s.Typed(text))
        case ("digit", str(key)):
            phone.tell(s.Digit(key))
        case ("answer", int(turn), str(text)):
            phone.tell(s.AnswerText(turn, text))
        case ("working", int(turn)):
            phone.tell(s.AnswerWorking(turn))
        case ("answer_over", int(turn), None | str() as error):
            phone.tell(s.AnswerOver(turn, error))
        case ("frames", int(segment), int(count)):
            phone.make(segment, count)
        case ("speech_over", int(segment), bool(failed)):
            # An engine that made nothing has failed.
            phone.tell(s.SpeechOver(segment, failed or not phone.made.get(segment)))
        case ("played", int(mark)):
            phone.tell(s.Played(mark))
        case ("interrupt",):
            phone.tell(s.Interrupt())
        case ("start_talking",):
            phone.tell(s.StartTalking())
        case ("wake_word", bool(on)):
            phone.tell(s.WakeWord(on))
        case ("arm",):
            phone.tell(s.Arm())
        case ("stop_talking",):
            phone.tell(s.StopTalking())
        case ("hang_up_after",):
            phone.tell(s.HangUpAfter("persona-ended-call"))
        case ("transfer_after",):
            phone.tell(s.TransferAfter("+14155550188"))
        case ("not_transferred",):
            phone.tell(s.NotTransferred())
        case ("announce", str(text)):
            phone.tell(s.Announce(text.strip() or "News."))


@settings(deadline=None, max_examples=150)
@given(
    manners,
    st.lists(steps, max_size=40),
    st.booleans(),
    st.booleans(),
    st.sampled_from((None, "hello there", "")),
    st.sampled_from((None, ANSWER)),
)
def test_any_order_of_things(
    manner: Manner,
    script: list[tuple[object, ...]],
    speaks: bool,
    marks: bool,
    final: str | None,
    answer: str | None,
) -> None:
    """The simulator checks at every step (that nothing is said to who speaks, and nobody who speaks
    is hung up on, among others); here that whatever began has ended, once."""
    phone = Phone(manner, answer=answer, final=final, speaks=speaks, marks=marks)
    for what in script:
        step(phone, what)
    phone.hang_up()
    phone.check_over()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(5, 150), st.integers(5, 60), finals), max_size=8))
def test_speaking_into_answers_at_any_moment(
    interruptions: list[tuple[int, int, str]],
) -> None:
    """What counts as heard is, to the word, what was played; nothing is said twice or left out."""
    phone = Phone(Manner(), answer=ANSWER)
    phone.quiet(300)
    ask(phone)
    for pause, talk, final in interruptions:
        phone.quiet(pause * FRAME_MS)
        phone.final = final
        phone.speak(talk * FRAME_MS)
    phone.quiet(30_000)
    phone.hang_up()
    phone.check_over()
    for action in phone.actions(s.DropTurn):
        assert isinstance(action, s.DropTurn)
        assert ANSWER.startswith(action.heard.rstrip()), action.heard


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(5, 150), st.integers(5, 60), finals), max_size=6))
def test_speaking_into_what_nobody_asked_for_at_any_moment(
    interruptions: list[tuple[int, int, str]],
) -> None:
    """Of a greeting and the question about silence, too, only what was played is known."""
    prompt = "I hear nothing. Are you still on the line, or shall I call back later?"
    manner = Manner(greeting=GREETING, silence_ms=4_000, silence_prompts=(prompt, "Goodbye."))
    phone = Phone(manner, answer="Yes.")
    for pause, talk, final in interruptions:
        phone.quiet(pause * FRAME_MS)
        phone.final = final
        phone.speak(talk * FRAME_MS)
    phone.quiet(40_000)
    assert phone.endings == ["caller-silent"]
    phone.check_over()
    for heard in phone.unasked:
        assert any(said.startswith(heard.strip()) for said in (GREETING, prompt, "Goodbye.")), heard


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(40, 150), st.integers(5, 40), st.sampled_from(("", "hm", "I see"))),
        max_size=6,
    )
)
def test_coughs_never_cut_the_persona_off(coughs: list[tuple[int, int, str]]) -> None:
    """Neither in a greeting, nor in an answer, nor in news: all of it is heard, once."""

    def cough() -> None:
        for pause, talk, final in coughs:
            phone.quiet(pause * FRAME_MS)
            before = len(phone.notes("paused"))
            phone.speak(talk * FRAME_MS)
            # Where the persona is silent the same words are said to it.
            phone.final = final if len(phone.notes("paused")) > before else ""
        phone.quiet(20_000)

    phone = Phone(Manner(greeting=GREETING), answer=ANSWER)
    phone.tell(s.Announce("The parcel has arrived."))
    cough()
    assert " ".join(phone.unasked).split() == GREETING.split()
    assert phone.over == [(1, "completed")]
    phone.tell(s.Typed("and now"))
    cough()
    assert phone.over == [(1, "completed"), (2, "completed")]
    assert phone.actions(s.DropTurn) == []
