"""Signatures of an intrusion detection: a small, exact part of Suricata's rule language, over one packet at a time.

    alert tcp $HOME_NET any -> $EXTERNAL_NET 23 (msg:"telnet"; content:"login|3a|"; nocase; sid:1000001;)

Taken are: the header whole (protocol, addresses, ports, lists, negation, both arrows), `msg`, `content` with parts in
hexadecimal, negation and `nocase`, `sid`, and the keywords that only describe (`rev`, `classtype`, `reference`,
`priority`, `metadata`). Any other keyword is refused: a signature that is half understood would miss what it names.
Streams are not put together, so a text that is cut in two by TCP is not seen; that is what the real program is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vafw.traffic.address_set import MAX_V4, MAX_V6, AddressSet, Ranges, complement, in_ranges, normalise
from vafw.traffic.packet import ICMP, ICMPV6, TCP, UDP

if TYPE_CHECKING:
    from vafw.traffic.frame import Frame

_HEADER: Final = re.compile(
    r"(?P<action>alert|drop|pass) (?P<protocol>\w+) (?P<source>\S+) (?P<sport>\S+) (?P<arrow>->|<>) "
    r"(?P<destination>\S+) (?P<dport>\S+) \((?P<options>.*)\)"
)
_OPTION: Final = re.compile(r'\s*(?P<key>[a-z_]+)(?::\s*(?P<value>"(?:[^"\\]|\\.)*"|!"(?:[^"\\]|\\.)*"|[^;]*))?;')
_DESCRIBING: Final = frozenset({"rev", "classtype", "reference", "priority", "metadata"})
_PROTOCOLS: Final[Mapping[str, frozenset[int]]] = {
    "tcp": frozenset({TCP}),
    "udp": frozenset({UDP}),
    "icmp": frozenset({ICMP, ICMPV6}),
    "ip": frozenset(),
}
EVERY_PORT: Final[Ranges] = ((0, 0xFFFF),)


@dataclass(frozen=True, slots=True)
class Content:
    """A text that the payload must hold, or must not."""

    text: bytes
    ignores_case: bool = False
    negated: bool = False

    def holds(self, payload: bytes, lowered: bytes) -> bool:
        """Whether the payload is as this wants it; `lowered` is the payload in lower case."""
        found = self.text.lower() in lowered if self.ignores_case else self.text in payload
        return found is not self.negated


@dataclass(frozen=True, slots=True)
class Signature:
    """One rule."""

    action: str
    """alert, drop or pass."""
    sid: int
    message: str
    protocols: frozenset[int]
    """IP protocols; empty: every one."""
    sources: AddressSet
    source_ports: Ranges
    destinations: AddressSet
    destination_ports: Ranges
    both_ways: bool
    contents: tuple[Content, ...]

    def matches(self, frame: bytes, packet: Frame) -> bool:
        """Whether the packet is one of these."""
        if self.protocols and packet.protocol not in self.protocols:
            return False
        source = (packet.source, packet.source_port)
        destination = (packet.destination, packet.destination_port)
        if not self._joins(packet.version, source, destination) and not (
            self.both_ways and self._joins(packet.version, destination, source)
        ):
            return False
        if not self.contents:
            return True
        payload = frame[packet.payload or packet.transport : packet.end]
        lowered = payload.lower()
        return all(each.holds(payload, lowered) for each in self.contents)

    def _joins(self, version: int, one: tuple[int, int], other: tuple[int, int]) -> bool:
        return (
            self.sources.contains(version, one[0])
            and self.destinations.contains(version, other[0])
            and in_ranges(self.source_ports, one[1])
            and in_ranges(self.destination_ports, other[1])
        )


def read_signature(line: str, home: AddressSet) -> Signature:
    """Read one rule; `home` is what ``$HOME_NET`` stands for. ValueError says what is not understood."""
    found = _HEADER.fullmatch(line.strip())
    if found is None:
        raise ValueError(
            f"a signature must be ACTION PROTOCOL SOURCE PORT -> DESTINATION PORT (...), not {line[:60]!r}"
        )
    if found["protocol"] not in _PROTOCOLS:
        raise ValueError(f"a signature's protocol must be tcp, udp, icmp or ip, not {found['protocol']!r}")
    message, sid, contents = _options(found["options"])
    return Signature(
        found["action"], sid, message, _PROTOCOLS[found["protocol"]],
        _addresses(found["source"], home), _ports(found["sport"]),
        _addresses(found["destination"], home), _ports(found["dport"]),
        found["arrow"] == "<>", contents,
    )  # fmt: skip


def _options(text: str) -> tuple[str, int, tuple[Content, ...]]:
    message, sid, at = "", 0, 0
    contents: list[Content] = []
    while text[at:].strip():
        found = _OPTION.match(text, at)
        if found is None:
            raise ValueError(f"options must be KEY:VALUE; or KEY;, not {text[at : at + 40]!r}")
        key, value, at = found["key"], found["value"] or "", found.end()
        if key == "msg":
            message = value.strip('"')
        elif key == "sid" and value.isdecimal():
            sid = int(value)
        elif key == "content":
            contents.append(Content(_bytes(value.removeprefix("!").strip('"')), negated=value.startswith("!")))
        elif key == "nocase" and contents:
            contents[-1] = Content(contents[-1].text, True, contents[-1].negated)
        elif key not in _DESCRIBING:
            raise ValueError(f"a signature must use keywords that are known here, not {key!r}")
    if not sid:
        raise ValueError("a signature must have a sid")
    return message, sid, tuple(contents)


def _bytes(text: str) -> bytes:
    parts = text.split("|")
    if len(parts) % 2 == 0:
        raise ValueError(f"hexadecimal parts of a content must stand between two bars, not {text!r}")
    return b"".join(
        bytes.fromhex(part) if at % 2 else re.sub(r"\\(.)", r"\1", part).encode() for at, part in enumerate(parts)
    )


def _addresses(text: str, home: AddressSet) -> AddressSet:
    if text.startswith("!"):
        return _addresses(text[1:], home).complement()
    if text.startswith("["):
        inner = [each.strip() for each in text.strip("[]").split(",")]
        found = AddressSet.nothing()
        for each in (each for each in inner if not each.startswith("!")):
            found = found.union(_addresses(each, home))
        for each in (each for each in inner if each.startswith("!")):
            found = (AddressSet(((0, MAX_V4),), ((0, MAX_V6),)) if found.is_empty else found).intersection(
                _addresses(each, home)
            )
        return found
    known = {"any": AddressSet.everything(), "$HOME_NET": home, "$EXTERNAL_NET": home.complement()}
    return known[text] if text in known else AddressSet.from_texts([text])


def _ports(text: str) -> Ranges:
    if text.startswith("!"):
        return complement(_ports(text[1:]), 0xFFFF)
    if text == "any":
        return EVERY_PORT
    return normalise(_spans(text.strip("[]").split(",")))


def _spans(texts: list[str]) -> Iterator[tuple[int, int]]:
    for text in texts:
        low, colon, high = text.strip().partition(":")
        first, last = int(low or 0), int(high or 0xFFFF) if colon else int(low)
        if not 0 <= first <= last <= 0xFFFF:
            raise ValueError(f"ports must lie within 0 and 65535, not {text!r}")
        yield first, last
