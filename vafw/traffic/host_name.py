"""Host names that a rule may speak of: one name, or ``*.example.com`` for every name below it.

A name stands for the addresses that DNS answers gave for it and that have not expired (`named_addresses`), nothing
else: no name is ever looked up by a firewall.
"""

from __future__ import annotations

import re
from typing import Final

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_PATTERN: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})+")
LONGEST: Final = 253
"""Characters of a name at most (RFC 1035, section 2.3.4)."""


def name_pattern(text: str) -> str:
    """A host name with at least one full stop, or one that begins with ``*.``; ValueError says what was expected."""
    lowered = text.lower().removesuffix(".")
    if not _PATTERN.fullmatch(lowered) or len(lowered) > LONGEST or lowered.rpartition(".")[2].isdecimal():
        raise ValueError(f"a host name must be like www.example.com or *.example.com, not {text!r}")
    return lowered


def covers(pattern: str, name: str) -> bool:
    """Whether a name (lower case, no full stop at its end) is meant: ``*.example.com`` means what lies below it."""
    return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1 if pattern[0] == "*" else name == pattern
