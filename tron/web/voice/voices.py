"""The voices that can be asked for on the voice routes.

The engine's own, and the names that clients of the voice API know (`af_heart`, …): where the local
engine speaks they stand for one of its voices, and the list says for which. Any other id is
refused.
"""

from typing import Any

from tron.errors import Invalid
from tron.speech.engines import Speech

STAND_INS = {
    "af_heart": ("Heart", "en-us+f2"),
    "af_sarah": ("Sarah", "en-us+f1"),
    "af_bella": ("Bella", "en-us+f4"),
    "af_nicole": ("Nicole", "en-us+f5"),
    "am_adam": ("Adam", "en-us+m1"),
    "am_michael": ("Michael", "en-us+m3"),
    "bf_emma": ("Emma", "en-gb+f3"),
    "bm_george": ("George", "en-gb+m7"),
}
"""id: (name, the local voice it stands for)"""


async def resolve(speech: Speech, asked: str) -> str:
    """The engine's id of the voice `asked` for. Raises Invalid, SpeechFailed."""
    known = [voice.id for voice in await speech.voices()]
    if asked in known:
        return asked
    if asked in STAND_INS and speech.synthesiser.facts.local:
        meant = STAND_INS[asked][1]
        return meant if meant in known else ""
    raise Invalid(f"There is no voice {asked[:80]!r}.", param="voice_id", code="unknown_voice")


async def listing(speech: Speech, liked: list[str]) -> dict[str, Any]:
    """As the voice API lists them; `liked`: voices the personas speak with. Raises SpeechFailed."""
    own = await speech.voices()
    known = {voice.id for voice in own}
    voices: list[dict[str, Any]] = [
        {
            "voice_id": voice.id,
            "name": voice.name,
            "category": voice.engine,
            "labels": {"language": voice.language, "description": voice.description},
        }
        for voice in own
    ]
    if speech.synthesiser.facts.local:
        voices += [
            {
                "voice_id": id,
                "name": name,
                "category": "stand-in",
                "labels": {"stands_for": meant if meant in known else own[0].id},
            }
            for id, (name, meant) in STAND_INS.items()
            if id not in known
        ]
    return {
        "default_voice_id": own[0].id if own else "",
        "recommended": list(dict.fromkeys(id for id in liked if id in known)),
        "voices": voices,
    }
