"""Rewrites the addresses and ports of packets, and chooses what a connection's are to become.

A connection that is translated has two tuples that are not each other's answer: `original`, as its first packet came,
and `reply`, as the answers come. A packet of one direction leaves as the inverse of the other direction's tuple; that
is all there is to it, and what `leaves_as` says. Checksums are changed by what changed (RFC 1624), so that a packet
whose own was wrong stays wrong.

The hard part is the ICMP error: what it quotes is a packet as the far side saw it, and must read as the near side sent
it. After Linux, the error's own source becomes the firewall's where the direction's sources are translated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Final

from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.build import checksum
from vafw.traffic.conntrack import Connection
from vafw.traffic.frame import Frame
from vafw.traffic.nat import Nat
from vafw.traffic.packet import ICMP, ICMPV6, TCP, UDP
from vafw.traffic.packet_tuple import Tuple, inverted
from vafw.traffic.quotation import quotation
from vafw.traffic.tcp_state import REPLY

_CHECKSUM_AT: Final = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}
"""Offset of the checksum in the transport's header."""
_REDIRECT: Final = 5
"""ICMP type (RFC 792)."""
_PORT: Final = Struct("!H")
_LOWEST_FREE_PORT: Final = 1024
_SEARCH: Final = 4096
"""Ports tried at most for a connection whose own is taken."""


class Translator:
    """What new connections are translated to."""

    def __init__(self, nat: Nat, outers: Sequence[Mapping[int, int]]) -> None:
        """`outers` are the firewall's own addresses outside: for each uplink one by IP version."""
        self._nat = nat
        self._outers = tuple(map(dict, outers))

    def destination(self, key: Tuple, side: str, uplink: int = 0) -> Tuple:
        """The tuple with the host that a port forward leads to; as it is where none is meant."""
        vlans, network, source, destination, first, second = key
        version, protocol = network >> 8, network & 0xFF
        if side != OUTSIDE or self._outers[uplink].get(version) != destination:
            return key
        to = self._nat.forwarded(version, protocol, second)
        return key if to is None else (vlans, network, source, to[0], first, to[1])

    def source(self, key: Tuple, side: str, is_taken: Callable[[Tuple], bool], uplink: int = 0) -> Tuple | None:
        """The tuple with the uplink's own address as source where it is masqueraded; None: no port is free."""
        vlans, network, source, destination, first, second = key
        version = network >> 8
        outer = self._outers[uplink].get(version)
        if side != INSIDE or outer is None or not self._nat.masquerade.contains(version, source):
            return key
        for port in _candidates(first):
            hidden = (vlans, network, outer, destination, port, second)
            answers = inverted(hidden)
            if answers is None or not is_taken(answers):
                return hidden
            if not first and network & 0xFF not in (TCP, UDP, ICMP, ICMPV6):
                return None  # no ports by which two connections could be told apart
        return None


def _candidates(port: int) -> list[int]:
    span = 0x10000 - _LOWEST_FREE_PORT
    return [port, *((port + step) % span + _LOWEST_FREE_PORT for step in range(_SEARCH))]


def translated(frame: bytes, packet: Frame, connection: Connection, direction: int, *, is_error: bool = False) -> bytes:
    """The frame of a translated connection as it leaves; `is_error`: an ICMP error about it, going in its direction."""
    assert connection.reply is not None
    original, reply = connection.original, connection.reply
    is_reply = direction == REPLY
    if not is_error:
        return rewritten(frame, packet, leaves_as(original, reply, is_reply=is_reply))
    quoted_as = original if is_reply else reply
    hides_source = leaves_as(original, reply, is_reply=is_reply)[2] != (reply if is_reply else original)[2]
    return requoted(frame, packet, quoted_as, quoted_as[3] if hides_source else packet.source)


def leaves_as(original: Tuple, reply: Tuple, *, is_reply: bool) -> Tuple:
    """The tuple that a packet of one direction leaves with."""
    found = inverted(original if is_reply else reply)
    assert found is not None, "only what can be answered is translated"
    return found


def rewritten(frame: bytes, packet: Frame, to: Tuple) -> bytes:
    """The frame with the addresses and ports (or ICMP identifier) of another tuple; later fragments have no ports."""
    out = bytearray(frame)
    _, _, source, destination, first, second = to
    change = _write_addresses(out, packet, source, destination)
    if packet.fragment_offset or packet.protocol not in _CHECKSUM_AT:
        return bytes(out)
    transport = packet.transport
    if packet.protocol in (TCP, UDP):
        change += _write_port(out, transport, first) + _write_port(out, transport + 2, second)
    else:
        identifier = _write_port(out, transport + 4, first)
        change = identifier + (change if packet.protocol == ICMPV6 else 0)
    at = transport + _CHECKSUM_AT[packet.protocol]
    if packet.protocol != UDP or out[at] or out[at + 1]:
        _adjust(out, at, change, never_zero=packet.protocol == UDP)
    return bytes(out)


def is_translatable(frame: bytes, error: Frame) -> bool:
    """Whether an ICMP error about a translated connection can be: a redirect speaks of routes that its receiver does
    not have, and a quotation with less than eight bytes of its transport is not one.
    """
    quoted = quotation(frame, error)
    if quoted is None or (error.version == 4 and error.icmp_type == _REDIRECT):
        return False
    return quoted.protocol not in _CHECKSUM_AT or error.end - error.transport - 8 - quoted.transport >= 8


def requoted(frame: bytes, error: Frame, quoted_as: Tuple, source: int) -> bytes:
    """An ICMP error with what it quotes rewritten to `quoted_as`, from `source` to the quoted packet's sender."""
    start = error.transport + 8
    inner = quotation(frame, error)
    assert inner is not None, "an error that quotes nothing is related to nothing"
    shifted = error.network
    body = frame[:shifted] + frame[start : error.end]
    quoted = Frame(
        error.ethertype, error.vlans, shifted, error.version, inner.source, inner.destination, inner.protocol,
        transport=shifted + inner.transport, end=len(body), fragment_offset=0,
    )  # fmt: skip
    room = quoted.end - quoted.transport
    if room < (
        20 if quoted.protocol == TCP else 8
    ):  # its checksum is cut off: only addresses and ports can be put right
        changed = _ports_only(body, quoted, quoted_as)
    else:
        changed = rewritten(body, quoted, quoted_as)
    out = bytearray(frame[:start] + changed[shifted:] + frame[error.end :])
    _write_addresses(out, error, source, quoted_as[2])
    at = error.transport + 2
    out[at : at + 2] = b"\0\0"
    pseudo = source + quoted_as[2] + ICMPV6 + error.end - error.transport if error.version == 6 else 0
    _PORT.pack_into(out, at, checksum(bytes(out[error.transport : error.end]), pseudo))
    return bytes(out)


def _ports_only(frame: bytes, packet: Frame, to: Tuple) -> bytes:
    out = bytearray(frame)
    _write_addresses(out, packet, to[2], to[3])
    if packet.protocol in (TCP, UDP):
        _write_port(out, packet.transport, to[4])
        _write_port(out, packet.transport + 2, to[5])
    return bytes(out)


def _write_addresses(out: bytearray, packet: Frame, source: int, destination: int) -> int:
    """Put both addresses in, with the checksum of an IPv4 header; the sum by which a checksum over them changes."""
    change = (source + destination - packet.source - packet.destination) % 0xFFFF
    if packet.version == 4:
        at = packet.network + 12
        out[at : at + 8] = source.to_bytes(4, "big") + destination.to_bytes(4, "big")
        _adjust(out, packet.network + 10, change)
    else:
        at = packet.network + 8
        out[at : at + 32] = source.to_bytes(16, "big") + destination.to_bytes(16, "big")
    return change


def _write_port(out: bytearray, at: int, port: int) -> int:
    old = out[at] << 8 | out[at + 1]
    _PORT.pack_into(out, at, port)
    return port - old


def _adjust(out: bytearray, at: int, change: int, *, never_zero: bool = False) -> None:
    """Change a checksum by the change of the sum it is over (RFC 1624, equation 3)."""
    if not change % 0xFFFF:
        return
    old = out[at] << 8 | out[at + 1]
    total = ((~old & 0xFFFF) + change) % 0xFFFF
    new = ~total & 0xFFFF
    _PORT.pack_into(out, at, 0xFFFF if never_zero and not new else new)


def hop_taken(frame: bytes, packet: Frame) -> bytes:
    """The frame with its time to live or hop limit one less."""
    out = bytearray(frame)
    if packet.version == 4:
        out[packet.network + 8] -= 1
        _adjust(out, packet.network + 10, -0x0100)
    else:
        out[packet.network + 7] -= 1
    return bytes(out)
