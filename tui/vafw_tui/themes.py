"""The themes that vafw adds to Textual's own: a calm dark one, a light one, and one of high contrast."""

from __future__ import annotations

import os
from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="vafw-dark",
    primary="#7aa2d6",
    secondary="#8c9bb0",
    accent="#f2b84b",
    foreground="#dfe4ea",
    background="#12161c",
    surface="#181d25",
    panel="#222935",
    success="#7fc48a",
    warning="#e6b450",
    error="#ec7a72",
    dark=True,
)
LIGHT: Final = Theme(
    name="vafw-light",
    primary="#1f5fa8",
    secondary="#5b6b80",
    accent="#9a5b00",
    foreground="#1b2129",
    background="#f7f8fa",
    surface="#eef1f5",
    panel="#dfe5ec",
    success="#1f7a33",
    warning="#8a5a00",
    error="#b3261e",
    dark=False,
)
HIGH_CONTRAST: Final = Theme(
    name="vafw-high-contrast",
    primary="#ffffff",
    secondary="#ffffff",
    accent="#ffff00",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    success="#00ff00",
    warning="#ffff00",
    error="#ff6060",
    dark=True,
    variables={
        "text-muted": "#ffffff",
        "foreground-muted": "#ffffff",
        "text-success": "#00ff00",
        "text-warning": "#ffff00",
        "text-error": "#ff8080",
        "text-accent": "#ffff00",
        "border": "#ffffff",
        "footer-key-foreground": "#ffff00",
    },
)
THEMES: Final = (DARK, LIGHT, HIGH_CONTRAST)

THEME_VARIABLE: Final = "VAFW_THEME"
"""Environment variable with the theme to begin with; any of Textual's is known too, `textual-ansi` has 16 colours."""
REDUCED_MOTION_VARIABLE: Final = "VAFW_REDUCED_MOTION"
"""Environment variable that, set to anything but 0, keeps everything from moving by itself."""


def reduced_motion() -> bool:
    """Whether a person asked for no animation."""
    return os.environ.get(REDUCED_MOTION_VARIABLE, "0") not in ("", "0")
