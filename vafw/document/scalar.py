"""What a scalar means: the core schema of YAML 1.2 (YAML 1.2.2, section 10.3.2), and nothing besides.

So `NO` and `on` are text, `12:34:56` is text, `1_000` is text, `0o17` is fifteen and `017` seventeen. PyYAML's own
resolver follows YAML 1.1, where `NO` is false and `12:34:56` is 45296; it is not used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

WORDS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", "")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
"""Plain scalars that are no text."""
DECIMAL: Final = re.compile(r"[-+]?[0-9]+")
OCTAL: Final = re.compile(r"0o[0-7]+")
HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
INFINITY: Final = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)")
NOT_A_NUMBER: Final = re.compile(r"\.nan|\.NaN|\.NAN")

LONGEST_NUMBER: Final = 64
"""Characters that a number may have; what is longer is no measure of anything here, and slow to convert."""

TAGS: Final = "tag:yaml.org,2002:"
_TAGGED: Final[dict[str, tuple[type, ...]]] = {
    f"{TAGS}null": (type(None),),
    f"{TAGS}bool": (bool,),
    f"{TAGS}int": (int,),
    f"{TAGS}float": (float, int),
}


class Unresolvable(Exception):
    """A scalar has no value under the core schema; the message is a sentence."""


def plain_value(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar; Unresolvable where it is a number out of bounds."""
    if text in WORDS:
        return WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    return _number_or_text(text)


def tagged_value(text: str, tag: str) -> Scalar:
    """The value of a scalar with an explicit tag (``!``, ``!!str``, ``!!int`` ...); Unresolvable for other tags."""
    if tag in ("!", f"{TAGS}str"):
        return text
    if tag not in _TAGGED:
        raise Unresolvable(f"the tag {tag_text(tag)} is not known; documents here need no tags")
    value = plain_value(text)
    if type(value) not in _TAGGED[tag]:
        raise Unresolvable(f"the tag {tag_text(tag)} does not fit the value")
    return value


def tag_text(tag: str) -> str:
    """A tag as a person writes it."""
    written = f"!!{tag.removeprefix(TAGS)}" if tag.startswith(TAGS) else tag
    return written if len(written) <= 60 else f"{written[:57]}..."


def _number_or_text(text: str) -> Scalar:
    base = 10 if DECIMAL.fullmatch(text) else 8 if OCTAL.fullmatch(text) else 16 if HEXADECIMAL.fullmatch(text) else 0
    if base == 0 and not FLOAT.fullmatch(text):
        return _special_float(text)
    if len(text) > LONGEST_NUMBER:
        raise Unresolvable(f"a number must have at most {LONGEST_NUMBER} characters, not {len(text)}")
    if base:
        return int(text if base == 10 else text[2:], base)
    value = float(text)
    if math.isinf(value):
        raise Unresolvable(f"the number {text} is too large")
    return value


def _special_float(text: str) -> Scalar:
    if INFINITY.fullmatch(text):
        return -math.inf if text.startswith("-") else math.inf
    return math.nan if NOT_A_NUMBER.fullmatch(text) else text
