"""What the hub answers to VAPI's events, and what it makes of them."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integrations.vapi import Vapi, ledger
from integrations.vapi.summaries import bullets, offline_bullets
from integrations.vapi.wire import Line
from tests.harness.waiting import eventually
from tests.unit.vapi.conftest import Wire, Wired, fixture
from tron.conversation.sessions import call_key
from tron.conversation.turns import ToolCall
from tron.errors import Overloaded, ProviderUnavailable, StorageUnavailable
from tron.storage.tables import HOUSE
from tron.tools.contract import ToolContext

SECRET = {"x_vapi_secret": "s3cret"}
CALL = "0d9c6c2e-5d5f-4c0a-9a51-3f5c4a7d8e10"
CALLER = "+14155550123"


async def told(wired: Wired, name: str) -> Any:
    """The hub's answer to a recorded message, which must be 200."""
    answer = await wired.tell(fixture(name), **SECRET)
    assert answer.status == 200, answer.raw
    return answer.json if answer.raw else None


def message(type: str, call_id: str = CALL, **more: Any) -> dict[str, Any]:
    customer = {"number": CALLER}
    return {"message": {"type": type, "call": {"id": call_id}, "customer": customer, **more}}


def tool(id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


# Who is let in


async def test_the_documented_example_works_on_a_hub_of_ones_own(wire: Wire) -> None:
    async with wire() as wired:
        answer = await wired.tell(fixture("flat-call.started"))
        assert (answer.status, answer.raw) == (200, b"")
        assert (await wired.tell({"type": "speech.recognized"})).status == 200


async def test_local_mode_without_a_secret_believes_only_this_machine(wire: Wire) -> None:
    async with wire() as wired:
        for other in (
            {"remote": "192.0.2.7"},
            {"host": "hub.test"},
            {"origin": "https://evil.example"},
            {"x_forwarded_for": "192.0.2.7"},
        ):
            answer = await wired.tell(fixture("assistant-request"), **other)
            assert answer.status in (401, 403), other
            assert "error" in answer.json
        assert await wired.vapi.ledger.latest(HOUSE, 10) == []


async def test_protected_mode_without_a_secret_says_how_to_set_one(wire: Wire) -> None:
    async with wire() as wired:
        await wired.hub.security.set_owner("correct horse")
        answer = await wired.tell(fixture("assistant-request"))
        assert answer.status == 503
        assert answer.json["error"]["type"] == "not_configured"
        assert "VAPI_SECRET" in answer.json["error"]["message"]


async def test_a_forged_or_absent_secret_is_refused_and_changes_nothing(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        for headers in ({}, {"x_vapi_secret": "guess"}, {"authorization": "Bearer guess"}):
            answer = await wired.tell(fixture("end-of-call-report"), **headers)
            assert (answer.status, answer.json["error"]["type"]) == (401, "authentication_error")
        assert await wired.vapi.ledger.latest(HOUSE, 10) == []
        assert wired.vapi.counts == {}


async def test_with_the_secret_it_may_come_from_anywhere(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        answer = await wired.tell(
            fixture("status-update"), remote="192.0.2.7", host="hub.test", **SECRET
        )
        assert answer.status == 200


# Bad input


@pytest.mark.parametrize("raw", [b"", b"{not json", b"[]", b"\xff", b"[" * 50_000])
async def test_malformed_bodies_get_the_envelope(wire: Wire, raw: bytes) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        answer = await wired.tell(raw, **SECRET)
        assert answer.status == 400
        assert answer.json["error"]["type"] == "invalid_request_error"


async def test_a_huge_body_is_refused_before_it_is_read(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret", max_body_bytes=10_000) as wired:
        answer = await wired.tell(b'{"a": "' + b"x" * 20_000 + b'"}', **SECRET)
        assert (answer.status, answer.json["error"]["type"]) == (413, "request_too_large")


async def test_unknown_types_are_taken_and_counted(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        for body in ({"message": {"type": "brand.new"}}, {"hello": 1}, {"message": 7}):
            assert (await wired.tell(body, **SECRET)).status == 200
        await told(wired, "speech-update")
        shown = (await wired("GET", "/api/vapi/calls")).json
        assert shown["events"] == {"unknown": 3, "speech-update": 1}


async def test_odd_characters_in_every_place_are_survived(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        odd = "a\x00b\u2028‮"
        raw = msgspec.json.encode(
            message(
                "end-of-call-report",
                call_id=odd,
                endedReason=odd * 200,
                messages=[{"role": "user", "message": odd}],
                analysis={"summary": odd, "structuredData": {odd: odd}},
            )
        )
        assert (await wired.tell(raw, **SECRET)).status == 200
        [call] = await wired.vapi.ledger.latest(HOUSE, 10)
        assert call.report is not None
        assert "\x00" not in call.report.lines[0].text + call.report.summary


# Answers


@pytest.mark.parametrize("name", ["assistant-request", "2024-assistant-request"])
async def test_a_call_gets_a_persona_that_thinks_with_this_hub(wire: Wire, name: str) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        answer = await told(wired, name)
        made = answer["assistant"]
        assert made["name"] == "Tony"
        assert "this is Tony" in made["firstMessage"]
        assert made["voice"] == {"provider": "vapi", "voiceId": "Elliot"}
        assert made["model"]["provider"] == "custom-llm"
        assert made["model"]["url"] == "https://hub.test"
        assert made["model"]["model"] == "tony"
        assert "spoken" in made["model"]["messages"][0]["content"]
        assert made["metadata"] == {"agent": "tony"}
        assert "end-of-call-report" in made["serverMessages"]
        assert "server" not in made


async def test_the_persona_is_chosen_by_the_numbers_url(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        path = "/vapi/events?agent=maya"
        answer = await wired.tell(fixture("assistant-request"), path=path, **SECRET)
        assert answer.json["assistant"]["name"] == "Maya"
        named = message("assistant-request", phoneNumber={"name": "Riley"})
        assert (await wired.tell(named, **SECRET)).json["assistant"]["model"]["model"] == "riley"
        nobody = message("assistant-request", phoneNumber={"name": "Front desk"})
        assert (await wired.tell(nobody, **SECRET)).json["assistant"]["name"] == "Tony"


async def test_a_known_caller_is_greeted_by_name(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        await wired.hub.contacts.save(HOUSE, name="Ada Lovelace", phone=CALLER)
        answer = await told(wired, "assistant-request")
        assert answer["assistant"]["firstMessage"].startswith("Hello Ada Lovelace, ")


async def test_a_protected_hub_gives_its_model_a_key_that_may_only_chat(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        assert "credentials" not in (await told(wired, "assistant-request"))["assistant"]
        await wired.hub.security.set_owner("correct horse")
        made = (await told(wired, "assistant-request"))["assistant"]
        [credential] = made["credentials"]
        assert credential["provider"] == "custom-llm"
        principal = await wired.hub.security.principal(credential["apiKey"])
        assert principal is not None
        assert principal.scopes == {"chat"}
        again = (await told(wired, "assistant-request"))["assistant"]
        assert again["credentials"] == [credential], "a token for each call would never end"


async def test_without_a_public_url_the_caller_hears_why(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret", public_url="") as wired:
        await wired.hub.security.set_owner("correct horse")
        answer = await told(wired, "assistant-request")
        assert list(answer) == ["error"]
        assert "sorry" in answer["error"]


async def test_a_store_that_is_away_costs_no_call(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(vapi_secret="s3cret") as wired:

        async def away(*_: Any) -> None:
            raise StorageUnavailable("away")

        monkeypatch.setattr(wired.hub.store, "write", away)
        answer = await told(wired, "assistant-request")
        assert answer["assistant"]["name"] == "Tony"
        report = await wired.tell(fixture("end-of-call-report"), **SECRET)
        assert report.status == 503, "so that VAPI sends it again"


@pytest.mark.parametrize("name", ["tool-calls", "2024-tool-calls"])
async def test_tools_of_the_hub_are_run(wire: Wire, name: str) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        [result] = (await told(wired, name))["results"]
        assert result["name"] == "current_time"
        assert "20" in result["result"]
        assert "\n" not in result["result"]


async def test_a_legacy_function_call_gets_its_own_shape(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        assert list(await told(wired, "2024-function-call")) == ["result"]


async def test_a_tool_works_for_the_caller_and_fails_in_words(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        calls = [
            tool("t1", "remember", key="dog", fact="The dog is called Rex."),
            tool("t2", "launch_rocket"),
            tool("t3", "remember", fact=7),
        ]
        answer = await wired.tell(message("tool-calls", toolCallList=calls), **SECRET)
        first, second, third = answer.json["results"]
        assert "result" in first
        assert "launch_rocket" in second["error"]
        assert "do not fit" in third["error"]
        facts = await wired.hub.memory.about(HOUSE, CALLER)
        assert ["Rex" in fact.content for fact in facts] == [True]


async def test_what_an_unknown_caller_tells_is_not_for_everybody(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        for call in ("w1", "w2"):
            asked = message(
                "tool-calls",
                toolCallList=[tool(f"t-{call}", "remember", key="dog", fact=f"Rex of {call}.")],
            )
            asked["message"] |= {"call": {"id": call}, "customer": {}}
            assert "result" in (await wired.tell(asked, **SECRET)).json["results"][0]
        assert await wired.hub.memory.about(HOUSE, "") == []
        for call in ("w1", "w2"):
            facts = await wired.hub.memory.about(HOUSE, f"anonymous-{call}")
            assert [fact.content for fact in facts] == [f"Rex of {call}."]


async def test_a_repeated_tool_call_is_answered_but_not_run_again(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        asked = message(
            "tool-calls", toolCallList=[tool("t1", "take_message", to="Maya", message="Call Ada.")]
        )
        answers = await asyncio.gather(*(wired.tell(asked, **SECRET) for _ in range(3)))
        assert len({answer.raw for answer in answers}) == 1
        assert (await wired.tell(asked, **SECRET)).raw == answers[0].raw
        entries = await wired.hub.journal.entries(HOUSE, agent="maya")
        assert len(entries) == 1


async def test_a_tool_that_hangs_is_given_up_in_time(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(vapi_secret="s3cret") as wired:

        async def hang(context: ToolContext, call: ToolCall) -> tuple[str, bool]:
            await asyncio.Event().wait()
            return "", True

        monkeypatch.setattr(wired.hub.toolbox, "run", hang)
        monkeypatch.setattr("integrations.vapi.answers.TOOLS_S", 0.05)
        [result] = (await told(wired, "tool-calls"))["results"]
        assert "too long" in result["error"]
        assert wired.hub.orchestrator.live() == []


async def test_a_hub_too_busy_for_tools_says_so_in_words(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(vapi_secret="s3cret") as wired:

        def full(*_: Any, **__: Any) -> None:
            raise Overloaded("full")

        monkeypatch.setattr(wired.hub.orchestrator, "spawn", full)
        [result] = (await told(wired, "tool-calls"))["results"]
        assert "can't be done" in result["error"]


async def test_a_store_that_hangs_costs_no_call(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(vapi_secret="s3cret") as wired:

        async def hang(*_: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr("integrations.vapi.answers.LOOK_UP_S", 0.05)
        monkeypatch.setattr(wired.hub.store, "write", hang)
        monkeypatch.setattr(wired.hub.contacts, "by_phone", hang)
        assert (await told(wired, "assistant-request"))["assistant"]["name"] == "Tony"
        monkeypatch.undo()  # the hub closes in good order


async def test_too_many_tool_calls_are_told_so(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        calls = [tool(f"t{n}", "current_time") for n in range(25)]
        answer = await wired.tell(message("tool-calls", toolCallList=calls), **SECRET)
        results = answer.json["results"]
        assert [r["toolCallId"] for r in results] == [f"t{n}" for n in range(25)]
        assert sum("error" in r for r in results) == 5


async def test_calls_are_put_through_only_to_whom_the_owner_chose(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        contacts = wired.hub.contacts
        await contacts.save(HOUSE, name="Grace Hopper", phone="+14155550199")
        await contacts.save(HOUSE, name="Sales Desk", phone="+14155550188", tags=["transfer"])
        asked = message("transfer-destination-request", parameters={"destination": "sales"})
        answer = (await wired.tell(asked, **SECRET)).json
        assert answer["destination"]["type"] == "number"
        assert answer["destination"]["number"] == "+14155550188"
        asked = message("transfer-destination-request", parameters={"destination": "Grace"})
        answer = (await wired.tell(asked, **SECRET)).json
        assert list(answer) == ["error"]
        assert list(await told(wired, "transfer-destination-request")) == ["error"]


async def test_a_call_is_handed_to_another_persona(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        destination = (await told(wired, "handoff-destination-request"))["destination"]
        assert destination["type"] == "assistant"
        assert destination["assistant"]["name"] == "Maya"
        nobody = message("handoff-destination-request", parameters={"destination": "Zorro"})
        assert "Tony" in (await wired.tell(nobody, **SECRET)).json["error"]


async def test_knowledge_is_looked_up_in_what_the_hub_knows(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        await wired.hub.knowledge.share(
            HOUSE, author="maya", type="insight", title="Shop hours", content="It opens at nine."
        )
        await wired.hub.memory.remember(
            HOUSE, person="+14155559999", key="shop", content="A secret shop.", author="tony"
        )
        documents = (await told(wired, "knowledge-base-request"))["documents"]
        assert [d["content"] for d in documents] == ["Shop hours: It opens at nine."]
        assert 0 < documents[0]["similarity"] <= 1


async def test_endpointing_waits_for_the_rest_of_a_number(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        assert await told(wired, "call.endpointing.request") == {"timeoutSeconds": 1.2}


async def test_a_campaign_leaves_those_alone_who_asked_for_it(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        assert await told(wired, "campaign.predial") == {"eligible": True}
        await wired.hub.contacts.save(HOUSE, name="Ada", phone=CALLER, tags=["do-not-call"])
        assert await told(wired, "campaign.predial") == {"eligible": False}


# A call from its beginning to its summary


async def calls(wired: Wired) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = (await wired("GET", "/api/vapi/calls")).json["calls"]
    return shown


async def state(wired: Wired) -> str:
    """Where the summary of the latest call is."""
    return str((await calls(wired))[0]["summary_state"])


async def summed_up(wired: Wired) -> dict[str, Any]:
    await wired.vapi.start()

    async def done() -> bool:
        return await state(wired) == "done"

    await eventually(done, what="a summary")
    return (await calls(wired))[0]


async def test_a_started_call_gives_later_requests_with_its_id_the_callers_number(
    wire: Wire,
) -> None:
    async with wire() as wired:
        await wired.tell(fixture("flat-call.started"))
        asked = msgspec.json.encode({"messages": [{"role": "user", "content": "Hello"}]})
        answer = await wired("POST", "/chat/completions", asked, x_vapi_call_id="call-123")
        assert answer.status == 200
        row, entries = await wired.hub.sessions.detail(HOUSE, call_key(HOUSE, "call-123"))
        assert (row.caller, row.channel, len(entries)) == ("+14155551234", "vapi", 2)


async def test_status_goes_forward_only(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        await told(wired, "status-update")
        assert [call["status"] for call in await calls(wired)] == ["in-progress"]
        await told(wired, "status-update-ended")
        await told(wired, "status-update")
        [call] = await calls(wired)
        assert (call["status"], call["ended_reason"]) == ("ended", "customer-ended-call")


async def test_a_report_becomes_memory_contact_and_the_end_of_the_session(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        await told(wired, "assistant-request")
        await told(wired, "status-update")
        await told(wired, "end-of-call-report")
        assert await wired.hub.sessions.count(HOUSE) == 0
        call = await summed_up(wired)
        assert call["recording_url"] == "https://storage.vapi.example/mono.wav"
        assert call["cost_usd"] == 0.0731
        assert call["vapi_summary"] == "The caller moved the launch to Friday."
        assert (call["started_at"], call["ended_at"]) == (
            "2026-08-20T10:00:00Z",
            "2026-08-20T10:00:12Z",
        )
        bullets = call["summary"].splitlines()
        assert 2 <= len(bullets) <= 4
        assert all(bullet.startswith("- I ") for bullet in bullets)
        assert "Friday" in call["summary"]
        facts = await wired.hub.memory.about(HOUSE, CALLER)
        assert len(facts) == len(bullets)
        assert any("Friday" in fact.content for fact in facts)
        contact = await wired.hub.contacts.by_phone(HOUSE, CALLER)
        assert contact is not None
        assert contact.name == "Ada"


async def test_the_next_call_knows_of_the_last(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        await told(wired, "end-of-call-report")
        await summed_up(wired)
        notes = await wired.hub.memory.recall(HOUSE, person=CALLER, query="When is the launch?")
        assert any("Friday" in note.content for note in notes)


async def test_a_report_that_comes_again_is_handled_once(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        for _ in range(3):
            await told(wired, "end-of-call-report")
        first = await summed_up(wired)
        other = message(
            "end-of-call-report", messages=[{"role": "user", "message": "Something else."}]
        )
        assert (await wired.tell(other, **SECRET)).status == 200
        assert await calls(wired) == [first]
        summaries = [p for p in wired.hub.orchestrator.recent() if "Sum up" in p.task]
        assert len(summaries) == 1


async def test_a_name_the_owner_gave_is_kept(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        await wired.hub.contacts.save(HOUSE, name="Dr Ada Lovelace", phone=CALLER, company="AE")
        await told(wired, "end-of-call-report")
        await summed_up(wired)
        contact = await wired.hub.contacts.by_phone(HOUSE, CALLER)
        assert contact is not None
        assert (contact.name, contact.company) == ("Dr Ada Lovelace", "AE")


async def test_a_caller_without_a_name_gets_a_card_that_a_name_replaces(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        await told(wired, "2024-end-of-call-report")
        await summed_up(wired)
        contact = await wired.hub.contacts.by_phone(HOUSE, CALLER)
        assert contact is not None
        assert contact.name == "Unknown Caller"
        later = message("end-of-call-report", "c-2", customer={"number": CALLER, "name": "Ada"})
        await wired.tell(later, **SECRET)

        async def named() -> bool:
            found = await wired.hub.contacts.by_phone(HOUSE, CALLER)
            return found is not None and found.name == "Ada"

        await eventually(named)


async def test_nothing_is_remembered_of_nobody(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        lines = [{"role": "user", "message": "My dog is called Rex."}]
        report = {"type": "end-of-call-report", "call": {"id": "w1"}, "messages": lines}
        await wired.tell({"message": report}, **SECRET)
        call = await summed_up(wired)
        assert "Rex" in call["summary"]
        assert call["caller"] is None
        assert await wired.hub.memory.about(HOUSE, "") == []


async def test_flat_events_alone_make_a_summary(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "REPORT_WAIT_MS", 0)
    async with wire() as wired:
        for name in ("call.started", "speech.recognized", "assistant.message", "call.ended"):
            assert (await wired.tell(fixture(f"flat-{name}"))).status == 200
        call = await summed_up(wired)
        assert (call["caller"], call["status"]) == ("+14155551234", "ended")
        assert "Rex" in call["summary"]


async def test_an_end_without_a_report_waits_for_one(wire: Wire) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        await told(wired, "status-update-ended")
        assert await wired.vapi.ledger.take([], 10) == []
        await told(wired, "end-of-call-report")
        assert len(await wired.vapi.ledger.take([], 10)) == 1


async def test_a_summary_that_fails_is_tried_again_and_given_up_at_last(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "RETRY_MS", 0)
    async with wire(vapi_secret="s3cret") as wired:
        tried = 0

        async def fail(*_: Any, **__: Any) -> str:
            nonlocal tried
            tried += 1
            raise ProviderUnavailable("away")

        monkeypatch.setattr(wired.hub.thinking, "think", fail)
        await told(wired, "end-of-call-report")
        await wired.vapi.start()

        async def given_up() -> bool:
            return await state(wired) == "failed"

        await eventually(given_up)
        assert tried == ledger.ATTEMPTS


async def test_where_vapi_is_not_set_up_nothing_is_looked_for(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.vapi.summaries.LOOK_S", 0.001)
    looks = 0

    def looking(wired: Wired) -> None:
        really = wired.vapi.ledger.take

        async def take(mine: Any, limit: int) -> Any:
            nonlocal looks
            looks += 1
            return await really(mine, limit)

        monkeypatch.setattr(wired.vapi.ledger, "take", take)

    async with wire() as wired:
        looking(wired)
        await wired.vapi.start()
        before = {task.get_name() for task in asyncio.all_tasks()}
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert looks == 0
        assert not any("due" in name for name in before)
        # A call all the same, from this machine: now there is something to look for.
        assert (await wired.tell(fixture("end-of-call-report"))).status == 200
        assert (await summed_up(wired))["summary"]
        assert looks > 0


@pytest.mark.parametrize("setting", ["vapi_secret", "vapi_api_key"])
async def test_where_it_is_what_a_hub_before_left_is_found(wire: Wire, setting: str) -> None:
    async with wire() as wired:
        assert (await wired.tell(fixture("end-of-call-report"))).status == 200
    async with wire(**{setting: "s3cret"}) as wired:
        assert (await summed_up(wired))["summary"]


async def test_a_hub_that_closes_puts_its_work_back(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        began = asyncio.Event()

        async def never(*_: Any, **__: Any) -> str:
            began.set()
            await asyncio.Event().wait()
            return ""

        monkeypatch.setattr(wired.hub.thinking, "think", never)
        monkeypatch.setattr("integrations.vapi.summaries.DRAIN_S", 0.01)
        await told(wired, "end-of-call-report")
        await wired.vapi.start()
        await began.wait()
        await wired.vapi.close()
        assert await state(wired) == "waiting"
        monkeypatch.undo()
        other = Vapi(wired.hub)
        await other.start()

        async def done() -> bool:
            return await state(wired) == "done"

        await eventually(done)
        await other.close()


async def test_old_calls_are_forgotten(wire: Wire, tmp_path: Path) -> None:
    async with wire(vapi_secret="s3cret") as wired:
        await told(wired, "status-update")
        assert await wired.vapi.ledger.prune(60_000) == 0
        assert await wired.vapi.ledger.prune(-1) == 1
        assert await calls(wired) == []


# The words of a summary


def test_a_models_bullets_are_taken_in_any_dress() -> None:
    assert bullets("Here is what I noted:\n\n* I met Ada.\n2. I promised a call.\n") == [
        "I met Ada.",
        "I promised a call.",
    ]
    assert bullets("I met Ada.\nI promised a call.") == ["I met Ada.", "I promised a call."]
    assert len(bullets("\n".join(f"- I said {n}." for n in range(9)))) == 4
    assert bullets("  \n") == []


def test_offline_the_telling_things_come_before_the_small_talk() -> None:
    lines = [
        Line("assistant", "Hello, this is Tony. I look after engineering. What can I do for you?"),
        Line("user", "Hi there. How are you? Nice weather."),
        Line("assistant", "I am fine. It is sunny. I like it."),
        Line("user", "My name is Ada. Please call me back on Monday."),
        Line("assistant", "I will call you back on Monday."),
    ]
    found = offline_bullets("Ada", lines)
    assert found[0] == "I spoke with Ada on the phone."
    assert 2 <= len(found) <= 4
    assert any("Monday" in bullet for bullet in found)
    assert not any("sunny" in bullet for bullet in found)
