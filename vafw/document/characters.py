"""Characters that a document may not contain: those that nobody sees, and those that show another order than is read.

The check is made before parsing, so that what a person sees in an editor is what is parsed.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from vafw.document.diagnostic import Diagnostic
from vafw.document.source import Source

_REFUSED: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # not printable by YAML 1.2.2, 5.1
    "|[\xad\u061c\u115f\u1160\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]"  # unseen
    "|[\U000e0000-\U000e007f]"  # tag characters
)
_REFUSED_ASCII: Final = re.compile("[^\t\n\r\x20-\x7e]")
"""The same for text without other letters, five times as fast; nearly every document is."""
_TAB_INDENT: Final = re.compile(r"^ *\t", re.MULTILINE)
_NAMES: Final = {"\0": "NUL", "\ufeff": "a byte order mark"}


def refused_characters(source: Source) -> Diagnostic | None:
    """The first character of `source` that may not stand there."""
    found = (_REFUSED_ASCII if source.text.isascii() else _REFUSED).search(source.text)
    if found is None:
        return None
    return Diagnostic(
        "VAFW-Y002",
        f"the text must not contain {_called(found[0])} (U+{ord(found[0]):04X})",
        source.span(found.start(), found.end()),
        "here",
        hint="delete it; where a value needs it, write it as an escape in double quotes",
    )


def refused_indentation(source: Source) -> Diagnostic | None:
    """The first line of `source` that is indented with a tab."""
    found = _TAB_INDENT.search(source.text) if "\t" in source.text else None
    if found is None:
        return None
    return Diagnostic(
        "VAFW-Y003",
        "a line must be indented with spaces, not with a tab",
        source.span(found.end() - 1, found.end()),
        "the tab",
        hint="replace the tab with two spaces",
    )


def visible(text: str) -> str:
    """`text` with every refused character written as an escape."""
    return _REFUSED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def foreign_letter(text: str) -> str | None:
    """Says which character of a name is not ASCII, for a name that only looks right."""
    for character in text:
        if not character.isascii():
            return f"{character.encode('unicode_escape').decode()} is {unicodedata.name(character, 'unnamed')}"
    return None


def _called(character: str) -> str:
    name = _NAMES.get(character) or unicodedata.name(character, "").lower()
    return name or "a control character"
