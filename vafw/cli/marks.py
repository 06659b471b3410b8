"""A state as symbol, word and colour: never by colour alone."""

from __future__ import annotations

from typing import Final

MARKS: Final = {
    "healthy": ("●", "green"),
    "running": ("●", "yellow"),
    "starting": ("●", "yellow"),
    "failed": ("✗", "red"),
    "stopped": ("○", "dim"),
    "defined": ("○", "dim"),
    "affirming": ("✓", "green"),
    "warning": ("!", "yellow"),
    "contraindicated": ("✗", "red"),
    "up": ("●", "green"),
    "refused": ("✗", "red"),
    "quarantined": ("!", "yellow"),
    "open": ("✓", "green"),
    "closed": ("✗", "red"),
    "accept": ("→", "green"),
    "drop": ("✗", "red"),
    "reject": ("✗", "red"),
    "allowed": ("→", "green"),
    "blocked": ("✗", "red"),
    "passed": ("→", "green"),
    "answered": ("↩", "cyan"),
    "dropped": ("✗", "red"),
    "rejected": ("✗", "red"),
}


def mark(state: str) -> tuple[str, str]:
    """Symbol and style of a state; a dot without colour for a word that has none."""
    return MARKS.get(state, ("·", ""))
