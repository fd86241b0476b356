"""Speech models that are real in everything but their weights, a few kilobytes each.

They have the inputs, outputs and files of Piper's voices, Kokoro's model and faster-whisper's, so
the engines' own packages load and run them. What they say is a tone: its length follows the text
and the pace, its pitch the voice. What the Whisper hears is always the same sentence.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

SENTENCE = ("What", "time", "is", "it", "now")
TONE_HZ = {"af_heart": 300.0, "af_bella": 400.0, "bm_george": 200.0, "jf_alpha": 500.0}
"""of Kokoro's voices"""
PIPER_HZ, NEXT_SPEAKER_HZ = 250.0, 150.0
PHONEME_SAMPLES = 2_400

_FLOAT, _INT64 = 1, 7
_VARINT, _BYTES = 0, 2


def piper_voice(
    folder: Path,
    name: str = "en_US-tiny-low",
    *,
    rate: int = 22_050,
    speakers: int = 1,
    phonemes: str = "espeak",
) -> Path:
    """Write a voice and its description; returns the model's path."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = "_^$ abcdefghijklmnopqrstuvwxyzæðŋɐɑɔəɚɛɜɡɪɹʃʊʌʒθˈˌː.,!?"
    described = {
        "audio": {"sample_rate": rate, "quality": "low"},
        "espeak": {"voice": "en-us"},
        "language": {"code": name.partition("-")[0]},
        "phoneme_type": phonemes,
        "num_symbols": len(letters),
        "num_speakers": speakers,
        "speaker_id_map": {f"p{n}": n for n in range(speakers)} if speakers > 1 else {},
        "inference": {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8},
        "phoneme_id_map": {letter: [number] for number, letter in enumerate(letters)},
    }
    inputs = [("input", _INT64, 2), ("input_lengths", _INT64, 1), ("scales", _FLOAT, 1)]
    constants = [
        *_constants(rate),
        _tensor("one", _INT64, [1], [1]),
        _tensor("hz", _FLOAT, [1], [PIPER_HZ]),
        _tensor("as_theirs", _INT64, [4], [1, 1, 1, -1]),
    ]
    pitch = [_node("Identity", ["hz"], ["pitch"])]
    if speakers > 1:
        inputs.append(("sid", _INT64, 1))
        constants.append(_tensor("step", _FLOAT, [1], [NEXT_SPEAKER_HZ]))
        pitch = [
            _node("Cast", ["sid"], ["number"], to=_FLOAT),
            _node("Mul", ["number", "step"], ["above"]),
            _node("Add", ["hz", "above"], ["pitch"]),
        ]
    nodes = [
        _node("Cast", ["input_lengths"], ["phonemes"], to=_FLOAT),
        _node("Gather", ["scales", "one"], ["length_scale"]),
        _node("Mul", ["phonemes", "length_scale"], ["long"]),
        *pitch,
        *_tone("long"),
        _node("Reshape", ["tone", "as_theirs"], ["output"]),
    ]
    model = folder / f"{name}.onnx"
    model.write_bytes(_model(nodes, constants, inputs, [("output", _FLOAT, 4)]))
    Path(f"{model}.json").write_text(json.dumps(described))
    return model


def kokoro_model(folder: Path) -> Path:
    """Write a model and its voices; returns the model's path."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [
        _node("Shape", ["tokens"], ["shape"]),
        _node("Gather", ["shape", "one"], ["count"]),
        _node("Cast", ["count"], ["phonemes"], to=_FLOAT),
        _node("Div", ["phonemes", "speed"], ["long"]),
        _node("ReduceMax", ["style"], ["pitch"], keepdims=0),
        *_tone("long"),
        _node("Identity", ["tone"], ["audio"]),
    ]
    inputs = [("tokens", _INT64, 2), ("style", _FLOAT, 2), ("speed", _FLOAT, 1)]
    constants = [*_constants(24_000), _tensor("one", _INT64, [1], [1])]
    model = folder / "kokoro-tiny.onnx"
    model.write_bytes(_model(nodes, constants, inputs, [("audio", _FLOAT, 1)]))
    voices = {name: np.full((510, 1, 256), hz, np.float32) for name, hz in TONE_HZ.items()}
    with (folder / "voices-tiny.bin").open("wb") as file:
        np.savez(file, **voices)  # type: ignore[arg-type]
    return model


def whisper_model(folder: Path) -> Path:
    """Write a model that hears `SENTENCE` in everything; returns its folder. Needs the packages
    that come with faster-whisper."""
    from ctranslate2.specs import whisper_spec
    from tokenizers import Tokenizer, models

    marks = "endoftext startoftranscript translate transcribe startoflm startofprev nospeech"
    tokens = ["<unk>", *SENTENCE, *(f"<|{mark}|>" for mark in marks.split())]
    tokens += ["<|notimestamps|>", *(f"<|{at * 0.02:.2f}|>" for at in range(3))]
    width = 64
    random = np.random.default_rng(1)

    def noise(*shape: int) -> Any:
        return random.normal(0, 0.001, shape).astype(np.float32)

    def even(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(width, np.float32), np.zeros(width, np.float32)

    def line(layer: Any, out: int, into: int) -> None:
        layer.weight, layer.bias = noise(out, into), noise(out)

    def attention(layer: Any) -> None:
        even(layer.layer_norm)
        sizes = [3 * width, width] if len(layer.linear) == 2 else [width, 2 * width, width]
        for one, size in zip(layer.linear, sizes, strict=True):
            line(one, size, width)

    def onward(layer: Any) -> None:
        even(layer.ffn.layer_norm)
        line(layer.ffn.linear_0, 4 * width, width)
        line(layer.ffn.linear_1, width, 4 * width)

    spec = whisper_spec.WhisperSpec(1, 2, 1, 2)
    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight, encoder.conv1.bias = noise(width, 80, 3), noise(width)
    encoder.conv2.weight, encoder.conv2.bias = noise(width, width, 3), noise(width)
    encoder.position_encodings.encodings = noise(1500, width)
    even(encoder.layer_norm)
    even(decoder.layer_norm)
    for layer in encoder.layer:
        attention(layer.self_attention)
        onward(layer)
    for layer in decoder.layer:
        attention(layer.self_attention)
        attention(layer.attention)
        onward(layer)
    # A token's own direction, and at each place in the text the direction of the next word.
    decoder.embeddings.weight = np.eye(len(tokens), width, dtype=np.float32)
    decoder.projection.weight = 10 * np.eye(len(tokens), width, dtype=np.float32)
    places = noise(448, width)
    end = tokens.index("<|endoftext|>")
    for place in range(448):  # the first two are the prompt: begin, no timestamps
        word = place if 1 <= place <= len(SENTENCE) else end
        places[place, word] += 20
    decoder.position_encodings.encodings = places
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.config.lang_ids, spec.config.alignment_heads = [], []
    spec.validate()
    spec.optimize()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    words = {token: number for number, token in enumerate(tokens)}
    Tokenizer(models.WordLevel(words, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
    return folder


# ONNX, as protocol buffers: only what is needed here


def _constants(rate: int) -> list[bytes]:
    return [
        _tensor("samples", _FLOAT, [1], [PHONEME_SAMPLES]),
        _tensor("turn", _FLOAT, [1], [2 * math.pi / rate]),
        _tensor("loudness", _FLOAT, [1], [0.5]),
        _tensor("zero", _INT64, [], [0]),
        _tensor("next", _INT64, [], [1]),
        _tensor("as_one", _INT64, [0], []),
    ]


def _tone(long: str) -> list[bytes]:
    """`tone`: as many samples as `long` phonemes take, at `pitch` Hz."""
    return [
        _node("Mul", [long, "samples"], ["exactly"]),
        _node("Cast", ["exactly"], ["whole"], to=_INT64),
        _node("Reshape", ["whole", "as_one"], ["end"]),
        _node("Range", ["zero", "end", "next"], ["at"]),
        _node("Cast", ["at"], ["place"], to=_FLOAT),
        _node("Mul", ["pitch", "turn"], ["speed_of_turn"]),
        _node("Mul", ["place", "speed_of_turn"], ["phase"]),
        _node("Sin", ["phase"], ["wave"]),
        _node("Mul", ["wave", "loudness"], ["tone"]),
    ]


def _model(
    nodes: list[bytes],
    constants: list[bytes],
    inputs: list[tuple[str, int, int]],
    outputs: list[tuple[str, int, int]],
) -> bytes:
    graph = b"".join(
        [
            *(_field(1, node) for node in nodes),
            _field(2, b"tiny"),
            *(_field(5, constant) for constant in constants),
            *(_field(11, _value(*one)) for one in inputs),
            *(_field(12, _value(*one)) for one in outputs),
        ]
    )
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 17))


def _node(kind: str, inputs: list[str], outputs: list[str], **numbers: int) -> bytes:
    attributes = [
        _field(1, name.encode()) + _field(3, value) + _field(20, 2)
        for name, value in numbers.items()
    ]
    return b"".join(
        [
            *(_field(1, name.encode()) for name in inputs),
            *(_field(2, name.encode()) for name in outputs),
            _field(4, kind.encode()),
            *(_field(5, attribute) for attribute in attributes),
        ]
    )


def _tensor(name: str, kind: int, shape: list[int], values: list[float]) -> bytes:
    raw = struct.pack(f"<{len(values)}{'f' if kind == _FLOAT else 'q'}", *values)
    sizes = b"".join(_field(1, size) for size in shape)
    return sizes + _field(2, kind) + _field(8, name.encode()) + _field(9, raw)


def _value(name: str, kind: int, rank: int) -> bytes:
    """An input or output whose sizes are open."""
    sizes = b"".join(_field(1, _field(2, f"{name}{at}".encode())) for at in range(rank))
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, kind) + _field(2, sizes)))


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
