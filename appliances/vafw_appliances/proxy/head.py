"""Heads of HTTP messages, as strictly as RFC 9112 lets a recipient be: whoever reads one must read the same as we do.

Lines end with CR LF and nothing else, a field name is a token with the colon right behind it, no line is continued, and
no octet is there that has no business in a head. What two programs could understand in two ways is refused; that is
where requests are smuggled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

Field: TypeAlias = "tuple[str, str]"
"""Name as it was written, and value without the blanks around it."""

LONGEST_HEAD: Final = 16 * 1024
"""Bytes of a head with its last empty line: twice what common servers take of a request."""
MOST_FIELDS: Final = 100
"""Fields of a head, as common servers have it."""
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
    }
)
"""Fields that are for the next hop alone (RFC 9110, section 7.6.1). Transfer-Encoding is not among them: bodies are
passed on in the framing that they came in."""
PRIVATE: Final = frozenset({"via", "forwarded", "x-forwarded-for"})
"""Fields that tell the origin who is behind the proxy."""
FRAMING: Final = frozenset({"content-length", "transfer-encoding", "host"})
"""Fields that nobody may have removed by naming them in Connection."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_LENGTH: Final = re.compile(r"[0-9]+")
MOST_DIGITS: Final = 15
"""Digits of a body's length: a thousand terabytes, and still exact in whatever counts with floating point."""


class MalformedHead(ValueError):
    """A head that could be read in more than one way, or in none."""


class TooLarge(ValueError):
    """A head that is longer than anybody needs."""


class BodyTooLarge(ValueError):
    """A body whose length has more digits than anybody needs."""


def head_length(data: bytes | bytearray) -> int | None:
    """Bytes of the head at the start of `data`, its last empty line included; None: there is more of it to come.

    MalformedHead as soon as a line ends in another way, TooLarge as soon as it is clear.
    """
    end = data.find(b"\r\n\r\n")
    head = data[: end + 4] if end >= 0 else data
    if head.count(b"\n") != head.count(b"\r\n") or head.count(b"\r") - head.endswith(b"\r") > head.count(b"\n"):
        raise MalformedHead("lines must end with CR LF")
    if len(head) > LONGEST_HEAD or (end < 0 and len(head) == LONGEST_HEAD):
        raise TooLarge(f"a head must have at most {LONGEST_HEAD} bytes")
    return end + 4 if end >= 0 else None


def lines_of(head: bytes | bytearray) -> tuple[str, tuple[Field, ...]]:
    """The first line of a whole head, and its fields."""
    first, *rest = head[:-4].decode("latin-1").split("\r\n")
    if len(rest) > MOST_FIELDS:
        raise TooLarge(f"a head must have at most {MOST_FIELDS} fields")
    return first, tuple(map(_field, rest))


def is_token(text: str) -> bool:
    """Whether it is a token (RFC 9110, section 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def _field(line: str) -> Field:
    name, colon, value = line.partition(":")
    if not colon or not is_token(name) or _VALUE.fullmatch(value) is None:
        raise MalformedHead("a field must be a name, a colon and a value of printable characters")
    return name, value.strip(" \t")


def values(fields: Iterable[Field], name: str) -> tuple[str, ...]:
    """The values of all fields of that name (lower case)."""
    return tuple(value for each, value in fields if each.lower() == name)


def members(fields: Iterable[Field], name: str) -> tuple[str, ...]:
    """The members of a list that may be spread over fields, lower case."""
    return tuple(part.strip(" \t").lower() for value in values(fields, name) for part in value.split(","))


def passed_on(fields: Iterable[Field], also: Iterable[str] = ()) -> tuple[Field, ...]:
    """The fields that go on to the next hop; those of the names `also` (lower case) do not either."""
    fields = tuple(fields)
    named = frozenset(members(fields, "connection"))
    if named & FRAMING:
        raise MalformedHead("Connection must not name a field that says where the message ends or goes")
    dropped = HOP_BY_HOP | PRIVATE | named | frozenset(also)
    return tuple(each for each in fields if each[0].lower() not in dropped)


def content_length(fields: Iterable[Field]) -> int | None:
    """What Content-Length says; None where there is none."""
    said = values(fields, "content-length")
    if not said:
        return None
    if len(said) > 1 or _LENGTH.fullmatch(said[0]) is None:
        raise MalformedHead("Content-Length must be there once, and be a number")
    if len(said[0]) > MOST_DIGITS:
        raise BodyTooLarge(f"a body's length must have at most {MOST_DIGITS} digits")
    return int(said[0])


def is_chunked(fields: Iterable[Field]) -> bool:
    """Whether the body comes in chunks; MalformedHead for every other coding, and where a length is said besides."""
    fields = tuple(fields)
    codings = members(fields, "transfer-encoding")
    if not codings:
        return False
    if codings != ("chunked",):
        raise MalformedHead("Transfer-Encoding must be chunked")
    if values(fields, "content-length"):
        raise MalformedHead("Content-Length and Transfer-Encoding must not both be there")
    return True


def head_text(first: str, fields: Iterable[Field]) -> bytes:
    """A head in octets."""
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1")
