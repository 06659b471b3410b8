"""DNS as a stub resolver speaks it (RFC 1035, section 4): one question out, one answer in, over UDP.

Only addresses are read from an answer. The hard part is compression: a pointer must lead backwards, so that no answer,
however made, keeps the reader busy; what cannot be read is None, never an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct, error
from typing import Final, TypeAlias

Address: TypeAlias = "IPv4Address | IPv6Address"

A: Final = 1
AAAA: Final = 28
"""Types of record (RFC 1035, section 3.2.2; RFC 3596)."""
INTERNET: Final = 1
RECURSION_DESIRED: Final = 0x0100
RESPONSE: Final = 0x8000
NO_ERROR: Final = 0
NAME_ERROR: Final = 3
"""Response codes: the rest (server failure, refused) all mean that the resolver would not say."""

_HEADER: Final = Struct("!HHHHHH")
_RECORD: Final = Struct("!HHIH")
_MOST_LABELS: Final = 128


@dataclass(frozen=True, slots=True)
class Message:
    """A query or a response, as far as a stub resolver reads it."""

    number: int
    """The id that a response repeats."""
    is_response: bool
    code: int
    """Response code; 3 is NXDOMAIN."""
    name: str
    """The name asked for, lower case, without the last dot."""
    kind: int
    """The type of record asked for."""
    addresses: tuple[Address, ...]


def question(number: int, name: str, kind: int) -> bytes:
    """A query for the records of one type; ValueError where the name cannot be one."""
    labels = [each.encode("ascii", "replace") for each in name.rstrip(".").split(".")]
    if not name.isascii() or not all(0 < len(each) < 64 for each in labels) or len(name) > 253:
        raise ValueError(f"a name must be labels of 1 to 63 ASCII characters, 253 in all, not {name!r}")
    encoded = b"".join(bytes((len(each),)) + each for each in labels) + b"\0"
    head = _HEADER.pack(number, RECURSION_DESIRED, 1, 0, 0, 0)
    return head + encoded + kind.to_bytes(2, "big") + INTERNET.to_bytes(2, "big")


def read(data: bytes) -> Message | None:
    """The message in a datagram; None where there is none."""
    try:
        number, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
        if questions != 1:
            return None
        name, at = _name(data, _HEADER.size)
        kind = int.from_bytes(data[at : at + 2], "big")
        addresses = _addresses(data, at + 4, answers)
    except (IndexError, ValueError, error):
        return None
    return Message(number, bool(flags & RESPONSE), flags & 0xF, name, kind, addresses)


def _addresses(data: bytes, at: int, answers: int) -> tuple[Address, ...]:
    found: list[Address] = []
    for _ in range(answers):
        _, at = _name(data, at)
        kind, _, _, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        content = data[at : at + length]
        at += length
        if kind == A and len(content) == 4:
            found.append(IPv4Address(content))
        elif kind == AAAA and len(content) == 16:
            found.append(IPv6Address(content))
    return tuple(found)


def _name(data: bytes, at: int) -> tuple[str, int]:
    """The name at `at`, and where what follows it begins."""
    labels: list[str] = []
    after = 0
    while length := data[at]:
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | data[at + 1]
            if target >= at:
                raise ValueError("a compressed name must point backwards")
            after, at = after or at + 2, target
            continue
        if len(labels) == _MOST_LABELS or length > 63:
            raise ValueError("a name must be at most 128 labels of at most 63 bytes")
        labels.append(data[at + 1 : at + 1 + length].decode("ascii", "backslashreplace").lower())
        at += 1 + length
    return ".".join(labels), after or at + 1
