"""Sequence numbers of TCP: 32 bits that wrap round (RFC 9293, section 3.4)."""

from __future__ import annotations


def ahead(number: int, of: int) -> int:
    """How far a sequence number is ahead of another; less than zero where it is behind."""
    return (number - of + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def after(number: int, length: int) -> int:
    """The sequence number so many bytes later."""
    return number + length & 0xFFFFFFFF
