"""The outcomes of a comparison as an SVG picture: exits by reason, TLB misses, memory references, a bar a technique.

Legible on light and dark pages; positions are whole numbers, so the same outcomes always give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from vafw.provider.model.comparison.run import Outcome

_WIDTH: Final = 860
_NAMES: Final = 160
_BAR: Final = 18
_ROW: Final = 28
_TITLE: Final = 34
_LETTER: Final = 7
"""Estimated width of a letter, in pixels."""
_NUMBERS: Final = 120
_COLOURS: Final = (
    "#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#dc2626",
    "#a16207", "#4f46e5", "#be185d", "#0f766e", "#9333ea", "#ca8a04", "#475569", "#f97316", "#9ca3af",
)  # fmt: skip
"""One a reason; the last for all that are left."""
_STYLE: Final = """
  text { font-family: ui-sans-serif, system-ui, sans-serif; font-size: 12px; fill: #374151; }
  .title { font-size: 14px; font-weight: 600; fill: #111827; }
  .bar { fill: #2563eb; }
  .light { fill: #93c5fd; }
  @media (prefers-color-scheme: dark) { text { fill: #d1d5db; } .title { fill: #f9fafb; } }
"""


def svg(name: str, outcomes: Sequence[Outcome]) -> str:
    """The picture, as text."""
    body: list[str] = []
    top = 8
    panels = (
        ("VM exits", [each.exits_in_all for each in outcomes]),
        ("TLB misses", [each.count.tlb_misses for each in outcomes]),
        ("memory references of walks (light: without cached guest-physical mappings)", [
            max(each.count.uncached, each.count.references) for each in outcomes
        ]),
    )  # fmt: skip
    reasons = reasons_of(outcomes)
    for number, (title, lengths) in enumerate(panels):
        body.append(f'<text class="title" x="12" y="{top + 18}">{escape(title)}</text>')
        top += _TITLE
        scale = (_WIDTH - _NAMES - _NUMBERS) / max(*lengths, 1)
        for outcome, length in zip(outcomes, lengths, strict=True):
            body.append(f'<text x="12" y="{top + 14}">{escape(outcome.technique)}</text>')
            body += _bar(number, outcome, reasons, top, scale)
            end = _NAMES + int(length * scale) + 6
            few = outcome.count.references
            shown = f"{few:,} / {length:,}" if number == 2 and few != length else f"{length:,}"
            body.append(f'<text x="{end}" y="{top + 14}">{shown}</text>')
            top += _ROW
        if number == 0:
            legend, top = _legend(reasons, top)
            body += legend
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top + 8}" '
        f'viewBox="0 0 {_WIDTH} {top + 8}" role="img">'
    )
    title = f"<title>{escape(name)}: five ways of virtualizing the same workload</title>"
    return "\n".join([head, title, f"<style>{_STYLE}</style>", *body, "</svg>"]) + "\n"


def reasons_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Every reason of an exit, the most frequent first."""
    reasons = dict.fromkeys(reason for each in outcomes for reason in each.exits)
    return sorted(reasons, key=lambda one: -max(each.exits.get(one, 0) for each in outcomes))


def _bar(panel: int, outcome: Outcome, reasons: Sequence[str], top: int, scale: float) -> Iterator[str]:
    """One technique's bar: a stretch a reason, or references over what they would be without caches."""
    if panel == 0:
        done = 0
        for number, reason in enumerate(reasons):
            count = outcome.exits.get(reason, 0)
            if count:
                left, right = int(done * scale), int((done + count) * scale)
                yield _rectangle(left, right - left, top, f'fill="{_COLOURS[min(number, len(_COLOURS) - 1)]}"', reason)
                done += count
    elif panel == 1:
        yield _rectangle(0, int(outcome.count.tlb_misses * scale), top, 'class="bar"', "TLB misses")
    else:
        yield _rectangle(0, int(outcome.count.uncached * scale), top, 'class="light"', "without caches")
        yield _rectangle(0, int(outcome.count.references * scale), top, 'class="bar"', "references")


def _rectangle(left: int, width: int, top: int, look: str, about: str) -> str:
    return (
        f'<rect x="{_NAMES + left}" y="{top}" width="{max(width, 1)}" height="{_BAR}" {look}>'
        f"<title>{escape(about)}</title></rect>"
    )


def _legend(reasons: Sequence[str], top: int) -> tuple[list[str], int]:
    """A square and a name for each reason, wrapped at the picture's width."""
    parts, left = [], _NAMES
    for number, reason in enumerate(reasons):
        width = 22 + _LETTER * len(reason)
        if left + width > _WIDTH:
            left, top = _NAMES, top + 18
        colour = _COLOURS[min(number, len(_COLOURS) - 1)]
        parts.append(f'<rect x="{left}" y="{top}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + 14}" y="{top + 10}">{escape(reason.lower().replace("_", " "))}</text>')
        left += width
    return parts, top + 28
