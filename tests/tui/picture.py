"""A screen as an SVG picture that is the same on every machine: no fonts from elsewhere, no identifiers made anew.

A text begins where its first letter is and ends with its last, for outside of browsers few programs keep the spaces
around it.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any, Final

from textual.app import App

_FONTS: Final = re.compile(r"\s*@font-face \{.*?\}\n", re.DOTALL)
_IDENTIFIER: Final = re.compile(r"terminal-\d+")
_TEXT: Final = re.compile(r'<text class="([^"]*)" x="([^"]*)" y="([^"]*)" textLength="[^"]*"[^>]*>([^<]*)</text>')
_SPACE: Final = "&#160;"
_COLUMN: Final = 12.2
"""Width of a column in the picture."""


def picture(app: App[Any]) -> str:
    """What the terminal shows now."""
    svg = app.export_screenshot(simplify=True)
    svg = _IDENTIFIER.sub("terminal", _FONTS.sub("", svg))
    svg = svg.replace("Fira Code, monospace", "DejaVu Sans Mono, monospace")
    lines = _TEXT.sub(_placed, svg).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip()) + "\n"


def _placed(found: re.Match[str]) -> str:
    kind, left, top, text = found.groups()
    words = text.replace(_SPACE, " ").replace("\n", " ")
    begun = words.lstrip(" ")
    x = float(left) + _COLUMN * (len(words) - len(begun))
    shown = begun.rstrip(" ")
    length = _COLUMN * len(unescape(shown))
    place = f'x="{x:.1f}" y="{top}" textLength="{length:.1f}"'
    return f'<text class="{kind}" {place}>{shown.replace(" ", _SPACE)}</text>\n' if shown else ""
