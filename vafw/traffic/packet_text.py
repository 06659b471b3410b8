"""A packet as people write it: ``tcp 10.0.0.2:40000 -> 1.2.3.4:443 new``.

    PROTOCOL SOURCE[:PORT] -> DESTINATION[:PORT] [STATE] [type N] [vlan N] [inside|outside]

IPv6 addresses stand in brackets where a port follows. The protocol is tcp, udp, icmp, icmpv6 or a number; the state is
new where none is written, an ICMP type echo request. The side may be left out: then who asks says which it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.reason import State
from vafw.traffic.rule import ICMP, ICMPV6, PROTOCOL_NAMES, TCP, UDP, Packet, suits

FORM: Final = "PROTOCOL SOURCE[:PORT] -> DESTINATION[:PORT] [STATE]"
EXAMPLE: Final = "tcp 10.0.0.2:40000 -> 1.2.3.4:443 new"
ECHO_REQUEST: Final = {ICMP: 8, ICMPV6: 128}
_PROTOCOLS: Final = {name: number for number, name in PROTOCOL_NAMES.items()}
_STATES: Final = {state.value: state for state in (State.NEW, State.ESTABLISHED, State.RELATED, State.INVALID)}
_END: Final = re.compile(
    r"\[(?P<six>[0-9a-fA-F:.]+)\](?::(?P<six_port>\d+))?|(?P<four>[0-9.]+)(?::(?P<four_port>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A packet somebody asks about."""

    packet: Packet
    source_port: int | None = None
    """Port it comes from; no rule asks for it."""
    side_given: bool = False
    """Whether the text says where it comes in."""

    def __str__(self) -> str:
        packet = self.packet
        name = PROTOCOL_NAMES.get(packet.protocol, str(packet.protocol))
        has_ports = packet.protocol in (TCP, UDP)
        source = end_text(packet.version, packet.source, self.source_port)
        destination = end_text(packet.version, packet.destination, packet.port if has_ports else None)
        extra = f" type {packet.icmp_type}" if packet.protocol in ECHO_REQUEST else ""
        extra += f" vlan {packet.vlan}" if packet.vlan else ""
        return f"{name} {source} -> {destination} {packet.state}{extra} {packet.side}"


def parse_packet(text: str) -> Asked:
    """Read a packet; ValueError says what must stand where."""
    words = text.split()
    if len(words) < 4 or words[2] not in ("->", "→"):
        raise ValueError(f"a packet must be written as {FORM}, such as '{EXAMPLE}', not {text!r}")
    protocol = _protocol(words[0])
    version, source, source_port = _parsed_end(words[1], protocol)
    other, destination, port = _parsed_end(words[3], protocol)
    if version != other:
        raise ValueError(f"both addresses of a packet must be of one family, not {words[1]} and {words[3]}")
    if not suits(protocol, version):
        raise ValueError(f"{words[0]} must have addresses of IPv{10 - version}, not {words[1]}")
    if protocol in (TCP, UDP) and port is None:
        raise ValueError(f"a destination of {words[0]} must have a port, as in {words[3]}:443")
    given = _rest(words[4:], protocol)
    packet = Packet(
        given.side or INSIDE,
        version,
        source,
        destination,
        protocol,
        port or 0,
        given.icmp_type,
        given.vlan,
        given.state,
    )
    return Asked(packet, source_port, given.side is not None)


@dataclass(slots=True)
class _Rest:
    icmp_type: int
    state: State = State.NEW
    vlan: int = 0
    side: str | None = None


def _rest(words: list[str], protocol: int) -> _Rest:
    found = _Rest(ECHO_REQUEST.get(protocol, 0))
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word in _STATES:
            found.state = _STATES[word]
        elif word in (INSIDE, OUTSIDE):
            found.side = word
        elif word == "type" and protocol in ECHO_REQUEST:
            found.icmp_type = _number(waiting, "an ICMP type", 255)
        elif word == "vlan":
            found.vlan = _number(waiting, "a VLAN", 4094)
        else:
            wanted = ", ".join([*_STATES, INSIDE, OUTSIDE, "vlan N"])
            raise ValueError(f"after the destination must stand one of {wanted}, not {word!r}")
    return found


def _number(words: list[str], what: str, highest: int) -> int:
    word = words.pop(0) if words else "nothing"
    if not word.isdecimal() or int(word) > highest:
        raise ValueError(f"{what} must be a number up to {highest}, not {word}")
    return int(word)


def _protocol(word: str) -> int:
    if word in _PROTOCOLS:
        return _PROTOCOLS[word]
    if word.isdecimal() and int(word) <= 255:
        return int(word)
    raise ValueError(f"a protocol must be {', '.join(_PROTOCOLS)} or a number up to 255, not {word!r}")


def _parsed_end(word: str, protocol: int) -> tuple[int, int, int | None]:
    found = _END.fullmatch(word)
    try:
        if found is None:
            address, port = ip_address(word), None
        else:
            address, port = ip_address(found["six"] or found["four"]), found["six_port"] or found["four_port"]
    except ValueError as error:
        raise ValueError(
            f"an end of a packet must look like 10.0.0.2:40000 or [2001:db8::2]:40000, not {word!r}"
        ) from error
    if port is not None and (protocol not in (TCP, UDP) or int(port) > 0xFFFF):
        raise ValueError(f"a port must be up to 65535 and of tcp or udp, not as in {word!r}")
    return address.version, int(address), None if port is None else int(port)


def end_text(version: int, address: int, port: int | None) -> str:
    """One end of a packet, as `parse_packet` reads it."""
    if version == 4:
        return f"{IPv4Address(address)}" + ("" if port is None else f":{port}")
    return f"{IPv6Address(address)}" if port is None else f"[{IPv6Address(address)}]:{port}"
