"""What is wrong with a document, as data: a code, a sentence, the place, further places, and what to do about it.

Whoever finds something wrong makes a `Diagnostic` and goes on looking; whoever has looked at everything raises
`DocumentInvalid` with all of them. How one looks on paper is `rendering`'s business; which codes there are, `codes`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from vafw.document.source import Span
from vafw.errors import InvalidDocument
from vafw.trace import Value


class Severity(StrEnum):
    """How bad it is; an error keeps the documents from being used."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Label:
    """A further place that a diagnostic speaks of, and what is to be seen there."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong."""

    code: str
    """Its code, such as ``VAFW-T031``; `codes.CODES` explains it."""
    message: str
    """One sentence: "X must be Y, not Z"."""
    span: Span
    """The place to correct."""
    label: str = ""
    """What stands beside the caret."""
    related: tuple[Label, ...] = ()
    """Further places: where the other one was declared."""
    notes: tuple[str, ...] = ()
    """Further facts, such as ``counter-example: ...``."""
    hint: str | None = None
    """What to do about it."""
    severity: Severity = Severity.ERROR

    def to_json(self) -> dict[str, Value]:
        """The form that ``--json`` carries."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            **_place(self.span),
            "message": self.message,
            "label": self.label,
            "related": [{**_place(each.span), "message": each.text} for each in self.related],
            "notes": list(self.notes),
            "hint": self.hint,
        }


class DocumentInvalid(InvalidDocument):
    """Documents are wrong; carries everything that was found, sorted by file and position."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = in_order(diagnostics)
        first = self.diagnostics[0]
        more = f" (and {len(self.diagnostics) - 1} more)" if len(self.diagnostics) > 1 else ""
        super().__init__(f"{first.span}: {first.message}{more}", hint=first.hint)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """By file, line and column; each only once."""
    return tuple(sorted(dict.fromkeys(diagnostics), key=lambda each: (*each.span.position, each.code)))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that `word` was probably meant to be."""
    names = list(known)
    folded = {name.lower().replace("_", "-"): name for name in reversed(names)}
    if (same := folded.get(word.lower().replace("_", "-"))) is not None:
        return same
    import difflib  # deferred: only something wrong needs it

    found = difflib.get_close_matches(word[:80], names, n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """The hint for an unknown name: the nearest one, else all of them (or `otherwise`)."""
    names = list(known)
    if (name := nearest(word, names)) is not None:
        return f"did you mean '{name}'?"
    if otherwise is not None or not names:
        return otherwise
    return f"there is {'only ' if len(names) == 1 else ''}{', '.join(names)}"


def shown(text: str, limit: int = 60) -> str:
    """Text from a document inside a message: in quotes, anything that could deceive escaped, cut where it is long."""
    safe = ascii(text[:limit])
    return safe if len(text) <= limit else f"{safe[:-1]}...{safe[-1]}"


def _place(span: Span) -> dict[str, Value]:
    return {
        "file": str(span.source.path),
        "line": span.line,
        "col": span.column,
        "endLine": span.end_line,
        "endCol": span.end_column,
    }
