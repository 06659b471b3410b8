"""Diagnostics of documents on standard error, with colour on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from vafw.cli.output import paint
from vafw.document.diagnostic import Diagnostic, Severity
from vafw.document.rendering import Role, lines

_STYLES: Final = {
    Role.SEVERITY: "bold red",
    Role.MESSAGE: "bold",
    Role.GUTTER: "cyan",
    Role.PLACE: "cyan",
    Role.CARET: "bold red",
    Role.RELATED: "bold cyan",
    Role.HINT: "green",
}


def print_diagnostics(diagnostics: Sequence[Diagnostic]) -> None:
    """Print each diagnostic with its places, then a line that counts them."""
    for diagnostic in diagnostics:
        for line in lines(diagnostic):
            text = "".join(
                paint(piece.text, _STYLES[piece.role]) if piece.role in _STYLES else piece.text for piece in line
            )
            print(text, file=sys.stderr)
        print(file=sys.stderr)
    errors = sum(each.severity is Severity.ERROR for each in diagnostics)
    warnings = len(diagnostics) - errors
    print(
        ", ".join(_count(number, noun) for number, noun in ((errors, "error"), (warnings, "warning")) if number),
        file=sys.stderr,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
