"""A diagnostic as a person reads it: lines of styled pieces, which a face colours, or plain text.

    error[VAFW-D001]: 'polcy' is not a key of a topology
      --> office/topology.yaml:6:1
       |
     6 | polcy: policy.yaml
       | ^^^^^ unknown key
       = hint: did you mean 'policy'?   (vafw explain VAFW-D001)

Only ASCII is added to what stands in the file; what could deceive or move the cursor is shown as an escape.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from vafw.document.characters import visible
from vafw.document.diagnostic import Diagnostic, Label
from vafw.document.source import Span

WIDTH: Final = 120
"""Columns of a source line that are shown; a longer one is cut around the caret."""


class Role(StrEnum):
    """What a piece of a line is, for a face that has colours."""

    SEVERITY = "severity"
    MESSAGE = "message"
    GUTTER = "gutter"
    PLACE = "place"
    SOURCE = "source"
    CARET = "caret"
    RELATED = "related"
    NOTE = "note"
    HINT = "hint"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of one role."""

    text: str
    role: Role


Line: TypeAlias = tuple[Piece, ...]


def render(diagnostics: Iterable[Diagnostic]) -> str:
    """Diagnostics as plain text, a blank line between them."""
    blocks = ("\n".join("".join(piece.text for piece in line) for line in lines(each)) for each in diagnostics)
    return "\n\n".join(blocks)


def lines(diagnostic: Diagnostic) -> tuple[Line, ...]:
    """One diagnostic as styled lines."""
    spans = [diagnostic.span, *(each.span for each in diagnostic.related)]
    gutter = len(str(max(span.line for span in spans)))
    head: Line = (
        Piece(f"{diagnostic.severity}[{diagnostic.code}]", Role.SEVERITY),
        Piece(f": {visible(diagnostic.message)}", Role.MESSAGE),
    )
    return (
        head,
        *_excerpt(Label(diagnostic.span, diagnostic.label), gutter, Role.CARET, "-->"),
        *_others(diagnostic, gutter),
        *(_aside(gutter, "note" if ":" not in note else "", note, Role.NOTE) for note in diagnostic.notes),
        _aside(gutter, "hint", _advice(diagnostic), Role.HINT),
    )


def _others(diagnostic: Diagnostic, gutter: int) -> Iterable[Line]:
    """The further places, each with its own line of source; the file only where it is another one."""
    here = diagnostic.span.source
    for label in diagnostic.related:
        arrow = "::>" if label.span.source is not here else ""
        yield from _excerpt(label, gutter, Role.RELATED, arrow)
        here = label.span.source


def _excerpt(label: Label, gutter: int, role: Role, arrow: str) -> Iterable[Line]:
    """The place and the source line with a caret under it; nothing but the place where there is no text."""
    span = label.span
    pad = " " * gutter
    if arrow:
        yield Piece(f"{pad}{arrow} ", Role.GUTTER), Piece(visible(str(span)), Role.PLACE)
    if not span.source.text:
        if label.text:
            yield Piece(f"{pad} = ", Role.GUTTER), Piece(visible(label.text), role)
        return
    if arrow:
        yield (Piece(f"{pad} |", Role.GUTTER),)
    before, marked, after = _cut(span)
    yield Piece(f"{span.line:>{gutter}} | ", Role.GUTTER), Piece((before + marked + after).rstrip(), Role.SOURCE)
    caret = ("^" if role is Role.CARET else "-") * max(1, _columns(marked))
    under = Piece(f"{' ' * _columns(before)}{caret} {visible(label.text)}".rstrip(), role)
    yield Piece(f"{pad} | ", Role.GUTTER), under


def _cut(span: Span) -> tuple[str, str, str]:
    """The first line of a span in three parts: before, inside, after; cut to `WIDTH` and made visible."""
    text = span.source.lines[span.line - 1]
    start = span.column - 1
    end = span.end_column - 1 if span.end_line == span.line else len(text.rstrip())
    first = max(0, start - WIDTH // 2) if len(text) > WIDTH else 0
    last = min(len(text), first + WIDTH)
    before, marked, after = text[first:start], text[start : min(end, last)], text[min(max(start, end), last) : last]
    before, marked, after = (visible(part).replace("\t", " ") for part in (before, marked, after))
    return ("..." if first else "") + before, marked, after + ("..." if last < len(text) else "")


def _columns(text: str) -> int:
    """Terminal columns that `text` takes: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def _aside(gutter: int, word: str, text: str, role: Role) -> Line:
    return (
        Piece(f"{' ' * gutter} = ", Role.GUTTER),
        Piece(f"{word}: {visible(text)}" if word else visible(text), role),
    )


def _advice(diagnostic: Diagnostic) -> str:
    explain = f"vafw explain {diagnostic.code}"
    return f"{diagnostic.hint}   ({explain})" if diagnostic.hint else explain
