"""Why a gate is closed, in a few lines: what is to blame, where it shows, what was expected and found, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

Json = Mapping[str, Any]

_ROWS: Final = ("component", "event", "expected", "found")


def refusal(snapshot: Json) -> Iterator[tuple[str, str]]:
    """Rows of the closed gate of a snapshot: a word and what it says; nothing where the gate is open."""
    gate = snapshot["gate"]
    if not gate or gate["open"]:
        return
    yield from ((row, gate[row]) for row in _ROWS if row in gate)
    if others := _others(snapshot, gate):
        yield "likewise", others
    yield "what to do", gate["remedy"]


def _others(snapshot: Json, gate: Json) -> str:
    """Further claims that are not affirming."""
    claims = (snapshot["attestation"] or {"claims": ()})["claims"]
    return ", ".join(
        each["name"] for each in claims if each["tier"] != "affirming" and each["reason"] != gate["reason"]
    )
