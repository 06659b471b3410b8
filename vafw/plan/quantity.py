"""Amounts of memory as documents write them, for sentences and pictures."""

from __future__ import annotations

from typing import Final

_UNITS: Final = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def size(bytes_: int) -> str:
    """Bytes in the largest unit that divides them: ``256 MiB``."""
    for unit, worth in _UNITS:
        if bytes_ and bytes_ % worth == 0:
            return f"{bytes_ // worth} {unit}"
    return f"{bytes_} bytes"
