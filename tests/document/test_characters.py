"""Which characters a document may contain, by YAML's own list of printable ones."""

from __future__ import annotations

import pytest

from vafw.document.characters import refused_characters, refused_indentation
from vafw.document.source import Source


@pytest.mark.parametrize("around", ["{}", "\N{LATIN SMALL LETTER E WITH ACUTE} {}"], ids=["ASCII", "other letters"])
@pytest.mark.parametrize("code", range(128))
def test_of_ascii_what_is_printed_and_ends_of_lines_may_stand_there(code: int, around: str) -> None:
    found = refused_characters(Source.of_text(around.format(chr(code))))
    assert (found is None) == (chr(code) in "\t\n\r" or chr(code).isprintable())


def test_a_tab_is_refused_only_where_it_indents() -> None:
    assert refused_indentation(Source.of_text("a:\tb\nc: 'd\te'\n")) is None
    found = refused_indentation(Source.of_text("a:\n  \tb: c\n"))
    assert found is not None
    assert (found.span.line, found.span.column) == (2, 3)
