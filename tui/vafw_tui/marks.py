"""A state as symbol, word and style: never by colour alone. Styles are the theme's names, so that themes may differ."""

from __future__ import annotations

import locale
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Mark:
    """How a state is shown."""

    symbol: str
    style: str
    word: str

    @property
    def text(self) -> str:
        """Symbol and word."""
        return f"{self.symbol} {self.word}"


_GOOD, _BUSY, _BAD, _QUIET = "$text-success", "$text-warning", "$text-error", "$foreground-muted"

_MARKS: Final = {
    "healthy": ("●", "*", _GOOD),
    "running": ("◐", "o", _BUSY),
    "starting": ("◐", "o", _BUSY),
    "up": ("●", "*", _GOOD),
    "done": ("✓", "+", _GOOD),
    "open": ("✓", "+", _GOOD),
    "affirming": ("✓", "+", _GOOD),
    "accept": ("→", ">", _GOOD),
    "same": ("✓", "+", _GOOD),
    "failed": ("✗", "x", _BAD),
    "refused": ("✗", "x", _BAD),
    "closed": ("✗", "x", _BAD),
    "error": ("✗", "x", _BAD),
    "contraindicated": ("✗", "x", _BAD),
    "drop": ("✗", "x", _BAD),
    "reject": ("↩", "<", _BAD),
    "differs": ("≠", "!", _BAD),
    "warning": ("!", "!", _BUSY),
    "quarantined": ("!", "!", _BUSY),
    "stopped": ("○", "-", _QUIET),
    "defined": ("○", "-", _QUIET),
    "none": ("○", "-", _QUIET),
}


def mark(state: str, word: str = "") -> Mark:
    """The mark of a state; a dot for a word that has none."""
    symbol, plain, style = _MARKS.get(state, ("·", ".", ""))
    return Mark(symbol if speaks_unicode() else plain, style, word or state)


def speaks_unicode() -> bool:
    """Whether the terminal's encoding has more than ASCII."""
    return "utf" in locale.getpreferredencoding(False).lower().replace("-", "")
