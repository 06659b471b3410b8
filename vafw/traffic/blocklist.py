"""Which host names are blocked: sets of names, each standing for itself and everything below it.

Reads the four ways in which such lists are written: hosts files (``0.0.0.0 ads.example``), plain names, the
``||ads.example^`` of ad blockers, and response policy zones (``ads.example CNAME .``). What speaks of anything else
than a whole host is refused rather than half understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*", re.ASCII)
_LOCAL_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback"}
)
"""Names that a hosts file maps for the machine's own sake."""


def host_name(text: str) -> str:
    """A host name in lower case without its last dot; ValueError says what was expected."""
    name = text.strip().rstrip(".").lower()
    if not name.isascii():
        name = name.encode("idna").decode("ascii")
    if not _NAME.fullmatch(name) or _is_address(name):
        raise ValueError(f"a name must be letters, digits, hyphens and dots, such as ads.example, not {text!r}")
    return name


def names_in_line(line: str) -> tuple[str, ...]:
    """The names that one line of a list blocks, none for a remark; ValueError says what was expected."""
    entry = line.split("#", 1)[0].strip()
    if not entry or entry.startswith(("!", "[", ";", "$", "@")):
        return ()
    if entry.startswith("||"):
        if not entry.endswith("^"):
            raise ValueError(f"a filter must name a whole host, such as ||ads.example^, not {entry!r}")
        return (host_name(entry[2:-1]),)
    words = entry.split()
    if "CNAME" in words or {"SOA", "NS"}.intersection(words):
        return _names_in_zone_line(words, entry)
    if _is_address(words[0]):
        return tuple(host_name(word) for word in words[1:] if word.lower() not in _LOCAL_NAMES)
    if len(words) > 1:
        raise ValueError(f"a line must hold one name, or an address and names, not {entry!r}")
    return (host_name(words[0]),)


def _names_in_zone_line(words: list[str], entry: str) -> tuple[str, ...]:
    """The name that a line of a response policy zone blocks: ``NAME [TTL] [IN] CNAME .``, below it or not."""
    if {"SOA", "NS"}.intersection(words):
        return ()
    if words[-2:] != ["CNAME", "."]:
        raise ValueError(f"a policy zone must say that a name does not exist (CNAME .), not {entry!r}")
    return (host_name(words[0].removeprefix("*.")),)


def names_in(lines: Iterable[str]) -> tuple[str, ...]:
    """The names that a list blocks, in order, each once; ValueError begins with the line's number."""
    found: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        try:
            found |= dict.fromkeys(names_in_line(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return tuple(found)


@dataclass(frozen=True, slots=True)
class BlockList:
    """Names to block and exceptions from that."""

    blocked: frozenset[str]
    """Names blocked with everything below them."""
    allowed: frozenset[str] = field(default=frozenset())
    """Names that pass with everything below them, whatever is blocked above or below."""

    def blocking(self, name: str) -> str | None:
        """The entry that blocks `name` (lower case, no last dot): itself or a parent; None: it is not blocked."""
        found: str | None = None
        rest = name
        while rest:
            if rest in self.allowed:
                return None
            if found is None and rest in self.blocked:
                found = rest
            _, _, rest = rest.partition(".")
        return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
