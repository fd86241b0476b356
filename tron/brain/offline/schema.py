"""An instance that fits a JSON schema, made without a model.

Strings carry the given text where they may, enumerations take a value the text mentions or the
first, numbers one the text mentions or the smallest allowed, and what may be null is null rather
than invented. Bounded in nodes and depth, so that no schema can make it run for long; where a
schema cannot be met (a `pattern` that no stock example fits, contradictions) it comes close and
says nothing false.
"""

import json
import math
import re
from typing import Any, TypeGuard

Schema = dict[str, Any]

_MOST_NODES = 4_000
_DEEPEST = 24
_SIMPLER_BELOW = 6
_LONGEST_STRING = 100_000

_FORMATS = {
    "date-time": "1970-01-01T00:00:00Z",
    "date": "1970-01-01",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "nobody@example.com",
    "idn-email": "nobody@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/",
    "iri": "https://example.com/",
    "uri-reference": "/",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "json-pointer": "",
    "regex": ".*",
}
# Short on purpose: a caller's pattern is tried on these only, so that no pattern can run long.
_EXAMPLES = ("", "a", "A", "0", "00", "000", "abc", "ABC", "a1", "A1", "AB-1", "1.0", "1.0.0",
             "0000", "00000", "1970-01-01", "00:00", "#000000", "a@b.co", "+10000000", "en",
             "en-US", "abcd", "ABCD", "a-b", "a_b", "https://a.b", "/a")  # fmt: skip
_LONGEST_PATTERN = 200
_PREPOSITION = re.compile(r"\b(?:in|for|to|about|at|from|of|on|called|named) ", re.IGNORECASE)
_NUMBER = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,6})?")


def instance(schema: Any, text: str, *, brief: bool = False) -> Any:
    """A value that fits `schema` and says `text`; `brief`: strings take the telling part of it."""
    return _Maker(schema, text, brief).make(schema, 0)


def fitted(arguments: dict[str, Any], schema: Schema, text: str) -> dict[str, Any]:
    """`arguments` without those `schema` does not know and with those it requires."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return arguments
    kept = {name: value for name, value in arguments.items() if name in properties}
    required = schema.get("required")
    maker = _Maker(schema, text, True)
    for name in required if isinstance(required, list) else ():
        if name not in kept:
            kept[name] = maker.make(properties.get(name, {}), 1)
    return kept


class _Maker:
    """Walks one schema; holds what `$ref` needs and how much may still be made."""

    def __init__(self, root: Any, text: str, brief: bool) -> None:
        self._root = root
        self._text = text
        self._brief = brief
        self._left = _MOST_NODES
        self._numbers = [float(n) for n in _NUMBER.findall(text[:500])]

    def make(self, schema: Any, depth: int, nth: int = 0) -> Any:
        """`nth` makes the items of an array of unique items differ."""
        self._left -= 1
        if not isinstance(schema, dict):
            return self._text if schema is True else None
        schema = self._merged(schema, depth)
        if depth > _DEEPEST or self._left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return self._enumerated(schema["enum"], nth)
        match self._kind(schema, depth):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "number":
                return self._number(schema, nth, whole=False)
            case "integer":
                return self._number(schema, nth, whole=True)
            case "boolean":
                return bool(nth % 2)
            case "null":
                return None
            case _:
                return self._string(schema, nth)

    def _merged(self, schema: Schema, depth: int) -> Schema:
        """With `$ref`, `allOf` and one branch of `anyOf` or `oneOf` folded in."""
        for _ in range(16):
            if isinstance(schema.get("$ref"), str):
                rest = {k: v for k, v in schema.items() if k != "$ref"}
                schema = _joined(self._resolve(schema["$ref"]), rest)
            elif isinstance(schema.get("allOf"), list):
                parts = schema["allOf"]
                schema = {k: v for k, v in schema.items() if k != "allOf"}
                for part in parts[:50]:
                    schema = _joined(schema, part if isinstance(part, dict) else {})
            elif branches := schema.get("anyOf") or schema.get("oneOf"):
                schema = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
                if isinstance(branches, list):
                    schema = _joined(schema, self._branch(branches, depth))
            else:
                break
        return schema

    def _branch(self, branches: list[Any], depth: int) -> Schema:
        """Text before structures, and null before a made-up number."""

        def cost(branch: Any) -> int:
            if not isinstance(branch, dict):
                return 9
            if "$ref" in branch and isinstance(branch["$ref"], str):
                branch = _joined(self._resolve(branch["$ref"]), branch)
            kinds = branch.get("type")
            kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
            if depth > _SIMPLER_BELOW:
                return {"null": 0, "string": 1, "array": 3, "object": 4}.get(str(kind), 2)
            return {"string": 0, "object": 1, "array": 2, "null": 3}.get(str(kind), 4)

        best = min(branches, key=cost)
        return best if isinstance(best, dict) else {}

    def _resolve(self, reference: str) -> Schema:
        found: Any = self._root
        for step in reference.removeprefix("#").split("/"):
            if not step:
                continue
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            else:
                found = found.get(step) if isinstance(found, dict) else None
        return found if isinstance(found, dict) and reference.startswith("#") else {}

    def _kind(self, schema: Schema, depth: int) -> str:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            wishes = ["string", "object", "array", "null", "integer", "number", "boolean"]
            if depth > _SIMPLER_BELOW:
                wishes.insert(0, "null")
            return next((kind for kind in wishes if kind in kinds), "string")
        if isinstance(kinds, str):
            return kinds
        if "properties" in schema or "required" in schema:
            return "object"
        if "items" in schema or "prefixItems" in schema:
            return "array"
        return "number" if {"minimum", "maximum", "multipleOf"} & set(schema) else "string"

    def _enumerated(self, values: list[Any], nth: int) -> Any:
        if nth:
            return values[nth % len(values)]
        said = f" {self._text[:500].lower()} " if self._brief else ""
        mentioned = (v for v in values if isinstance(v, str) and v and v.lower() in said)
        return next(mentioned, values[0])

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        wanted = [n for n in required if isinstance(n, str)] if isinstance(required, list) else []
        if not any(self._carries(properties.get(name)) for name in wanted) and depth == 0:
            # Something has to say it: the first property that can.
            wanted += [n for n, s in properties.items() if self._carries(s) and n not in wanted][:1]
        made = {name: self.make(properties.get(name, {}), depth + 1) for name in wanted}
        least = _count(schema.get("minProperties"), 0)
        extra = schema.get("additionalProperties", True)
        names = [*properties, *(f"field{n}" for n in range(least))]
        for name in names:
            if len(made) >= min(least, 100):
                break
            if name not in made:
                made[name] = self.make(properties.get(name, extra), depth + 1)
        return made

    def _carries(self, schema: Any) -> bool:
        """Whether text can go in here."""
        if not isinstance(schema, dict):
            return False
        schema = self._merged(schema, 0)
        return self._kind(schema, 0) in ("string", "object") and not {"const", "enum"} & set(schema)

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        prefix = schema.get("prefixItems")
        firsts = prefix if isinstance(prefix, list) else []
        items = schema.get("items", schema.get("contains", {}))
        most = _count(schema.get("maxItems"), _MOST_NODES)
        least = _count(schema.get("minItems"), 0)
        least = max(least, len(firsts), _count(schema.get("minContains"), "contains" in schema))
        if self._brief or depth > _SIMPLER_BELOW:
            size = least
        else:
            size = max(least, 1 if isinstance(items, dict) and items else 0)
        made: list[Any] = []
        unique = bool(schema.get("uniqueItems"))
        while len(made) < min(size, most) and self._left > 0:
            at = len(made)
            part = firsts[at] if at < len(firsts) else items
            made.append(self.make(part, depth + 1, at if unique else 0))
        return made

    def _number(self, schema: Schema, nth: int, *, whole: bool) -> float | int:
        low, high = _limits(schema, whole)
        step = schema.get("multipleOf")
        step = step if _is_number(step) and step > 0 else (1 if whole else 0)
        for said in self._numbers if self._brief else ():
            if low <= said <= high and (not step or said % step == 0):
                return int(said) if whole or said.is_integer() else said
        value: float = 0 if low <= 0 <= high else low if math.isfinite(low) else high
        if step:
            value = math.ceil(value / step) * step if value >= low else value
            if value > high:
                value = math.floor(high / step) * step
        value += nth * (step or 1)
        return int(value) if whole or float(value).is_integer() else value

    def _string(self, schema: Schema, nth: int) -> str:
        least = min(_count(schema.get("minLength"), 0), _LONGEST_STRING)
        most = _count(schema.get("maxLength"), _LONGEST_STRING)
        pattern, form = schema.get("pattern"), schema.get("format")
        if isinstance(pattern, str):
            return _example(pattern, least, most)
        if isinstance(form, str) and form in _FORMATS:
            return _FORMATS[form]
        text = self._telling() if self._brief else self._text
        if nth:
            text = f"{text[: max(0, most - 8)]} {nth}"
        return text[:most].ljust(least, ".")

    def _telling(self) -> str:
        """`what's the weather in Paris?` → `Paris`; the whole text if nothing stands out."""
        ends = [found.end() for found in _PREPOSITION.finditer(self._text[:500])]
        rest = self._text[ends[-1] :] if ends else self._text
        return rest.strip(" .,;:!?") or self._text


def _joined(left: Schema, right: Schema) -> Schema:
    """Both schemas at once, as far as that can be written as one."""
    joined = {**left, **right}
    for key in ("properties", "$defs"):
        if isinstance(left.get(key), dict) and isinstance(right.get(key), dict):
            joined[key] = {**left[key], **right[key]}
    if isinstance(left.get("required"), list) and isinstance(right.get("required"), list):
        joined["required"] = [*left["required"], *right["required"]]
    for key, strictest in (("minimum", max), ("maximum", min), ("minLength", max),
                           ("maxLength", min), ("minItems", max), ("maxItems", min)):  # fmt: skip
        if _is_number(left.get(key)) and _is_number(right.get(key)):
            joined[key] = strictest(left[key], right[key])
    return joined


def _limits(schema: Schema, whole: bool) -> tuple[float, float]:
    """Smallest and greatest number allowed, exclusive limits drawn in."""
    low, high = -math.inf, math.inf
    if _is_number(schema.get("minimum")):
        low = schema["minimum"]
    if _is_number(schema.get("maximum")):
        high = schema["maximum"]
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if whole:
        if _is_number(above):
            low = max(low, math.floor(above) + 1)
        if _is_number(below):
            high = min(high, math.ceil(below) - 1)
        return (math.ceil(low) if math.isfinite(low) else low), high
    open_low = _is_number(above) and above >= low
    open_high = _is_number(below) and below <= high
    low = float(above) if _is_number(above) and open_low else low
    high = float(below) if _is_number(below) and open_high else high
    if (open_low or open_high) and math.isfinite(low) and math.isfinite(high):
        low = high = (low + high) / 2
    elif open_low:
        low += 1
    elif open_high:
        high -= 1
    return low, high


def _example(pattern: str, least: int, most: int) -> str:
    try:
        matcher = re.compile(pattern) if len(pattern) <= _LONGEST_PATTERN else None
    except (re.error, RecursionError, OverflowError):
        matcher = None
    for example in _EXAMPLES if matcher else ():
        if least <= len(example) <= most and matcher and matcher.search(example):
            return example
    return "a" * max(least, min(1, most))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any, default: int) -> int:
    return int(value) if _is_number(value) and value >= 0 else int(default)


def written(value: Any) -> str:
    """JSON text, as a model would write it."""
    return json.dumps(value, ensure_ascii=False)
