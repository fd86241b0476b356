"""Simple arithmetic, worked out exactly by a small parser; never by evaluating code.

Understands + - * / parentheses, percentages and the words for them. Everything is bounded, so
nothing a caller writes can make it slow: 120 characters, 15 digits a number, 20 levels.
"""

import re
from fractions import Fraction

_LONGEST = 120
_DEEPEST = 20
_WORDS = (
    ("divided by", "/"),
    ("multiplied by", "*"),
    ("percent of", "% *"),
    ("per cent of", "% *"),
    ("% of", "% *"),
    ("percent", "%"),
    ("plus", "+"),
    ("minus", "-"),
    ("times", "*"),
    ("over", "/"),
    ("×", "*"),
    ("÷", "/"),
    ("−", "-"),
)
_TO_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
_SMALL = {word: str(number) for number, word in enumerate(_TO_TWENTY.split())} | {
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "hundred": "100",
    "thousand": "1000",
}
_TOKEN = re.compile(r"\s*(?:([0-9]{1,15}(?:\.[0-9]{1,15})?)|([-+*/()%x]))")


class _NotASum(Exception):
    pass


def work_out(text: str) -> str | None:
    """The value of `text` as it is written down; None if it is no sum (or divides by zero)."""
    if len(text) > _LONGEST:
        return None
    line = re.sub(r"(?<=[0-9]),(?=[0-9]{3}\b)", "", text.lower())
    for word, sign in _WORDS:
        line = line.replace(word, f" {sign} ")
    line = " ".join(_SMALL.get(word, word) for word in line.strip(" =?.").split())
    tokens = _tokens(line)
    if tokens is None or not any(token in "+-*/%" for token in tokens[1:]):
        return None
    try:
        value, at = _sum(tokens, 0, 0)
    except (_NotASum, ZeroDivisionError):
        return None
    return _written(value) if at == len(tokens) else None


def _tokens(line: str) -> list[str] | None:
    tokens, at = [], 0
    while at < len(line):
        found = _TOKEN.match(line, at)
        if found is None:
            return None
        tokens.append(found.group(1) or found.group(2).replace("x", "*"))
        at = found.end()
    return tokens


def _sum(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _product(tokens, at, depth)
    while at < len(tokens) and tokens[at] in "+-":
        right, end = _product(tokens, at + 1, depth)
        value = value + right if tokens[at] == "+" else value - right
        at = end
    return value, at


def _product(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _single(tokens, at, depth)
    while at < len(tokens) and tokens[at] in "*/":
        right, end = _single(tokens, at + 1, depth)
        value = value * right if tokens[at] == "*" else value / right
        at = end
    return value, at


def _single(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    if at >= len(tokens) or depth > _DEEPEST:
        raise _NotASum
    token = tokens[at]
    if token in "+-":
        value, at = _single(tokens, at + 1, depth + 1)
        return (-value if token == "-" else value), at
    if token == "(":
        value, at = _sum(tokens, at + 1, depth + 1)
        if at >= len(tokens) or tokens[at] != ")":
            raise _NotASum
    elif token[0].isdigit():
        value = Fraction(token)
    else:
        raise _NotASum
    at += 1
    while at < len(tokens) and tokens[at] == "%":
        value, at = value / 100, at + 1
    return value, at


def _written(value: Fraction) -> str:
    if value.denominator == 1:
        return f"{value.numerator:,}"
    rounded = round(value, 6)
    text = f"{float(rounded):,.6f}".rstrip("0").rstrip(".")
    return text if rounded == value else f"about {text}"
