"""Reads the question of a DNS message and makes the answer that says the name does not exist.

Only header and question are read (RFC 1035, section 4.1), through dnslib; what follows them is of no use to a filter.
`read_question` never raises on bytes: what it cannot read it calls malformed, with the reason.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dnslib import QTYPE, DNSBuffer, DNSError, DNSHeader, DNSQuestion

PORT: Final = 53
HEADER: Final = 12
NAME_ERROR: Final = 3
"""RCODE 3, "Name Error", which everyone calls NXDOMAIN."""

_ANSWER_BIT: Final = 0x8000
_RECURSION_AVAILABLE: Final = 0x0080
_KEPT_FLAGS: Final = 0x7910
"""OPCODE, RD and CD of the query stand again in its answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a query asks."""

    identifier: int
    """The message's id, which its answer must carry."""
    flags: int
    """The second 16 bits of the header."""
    name: str
    """The name asked for, lower case, without a last dot; a dot inside a label is written ``\\.``."""
    kind: str
    """The type asked for: ``A``, ``AAAA``, ..."""
    section: bytes
    """The question section as it stands in the message."""


@dataclass(frozen=True, slots=True)
class MalformedMessage:
    """Bytes that are no query."""

    reason: str


def read_question(message: bytes) -> Question | MalformedMessage:
    """The question of a query."""
    if len(message) < HEADER:
        return MalformedMessage("shorter than a DNS header")
    identifier, flags, questions = struct.unpack_from("!HHH", message)
    if flags & _ANSWER_BIT:
        return MalformedMessage("an answer where a query belongs")
    if questions != 1:
        return MalformedMessage(f"a query must ask one question, not {questions}")
    try:
        buffer = DNSBuffer(message)
        DNSHeader.parse(buffer)
        question = DNSQuestion.parse(buffer)
    except (DNSError, ValueError, IndexError, struct.error) as error:
        return MalformedMessage(f"the question cannot be read: {error}")
    name = ".".join(_text(label) for label in question.qname.label)
    return Question(identifier, flags, name, str(QTYPE[question.qtype]), message[HEADER : buffer.offset])


def name_error(question: Question) -> bytes:
    """The answer that the name does not exist."""
    flags = _ANSWER_BIT | _RECURSION_AVAILABLE | (question.flags & _KEPT_FLAGS) | NAME_ERROR
    return struct.pack("!HHHHHH", question.identifier, flags, 1, 0, 0, 0) + question.section


def framed(message: bytes) -> bytes:
    """A message as it travels over TCP: behind its length (RFC 1035, section 4.2.2)."""
    return len(message).to_bytes(2, "big") + message


def messages_in(stream: bytes) -> Iterator[bytes]:
    """The whole messages at the start of a TCP stream; a message that is not all there yet is left out."""
    at = 0
    while at + 2 <= len(stream):
        length = int.from_bytes(stream[at : at + 2], "big")
        if at + 2 + length > len(stream):
            return
        yield stream[at + 2 : at + 2 + length]
        at += 2 + length


def _text(label: bytes) -> str:
    return label.lower().decode("latin-1").replace("\\", "\\\\").replace(".", "\\.")
