"""The kernel's tracked connections: looked at, and forgotten where the rules would not accept them any more.

Spoken over netlink (netlink(7), subsystem ctnetlink of Linux' nfnetlink_conntrack.h), as no tool for it is in a guest.
Numbers in netlink's headers are the processor's, those inside attributes are big-endian.

A connection is kept if its first packet, as the kernel remembers it, is one that the engine would accept under the new
rules: the same question that the model asks. What cannot be judged is forgotten: a connection whose side is not known
unless both sides would do, all of them where a rule speaks of VLANs, which the kernel does not remember.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.conntrack import Connection
from vafw.traffic.engine import Engine
from vafw.traffic.nat import OwnAddresses
from vafw.traffic.packet import ICMP, ICMPV6, TCP, UDP
from vafw.traffic.packet_tuple import Tuple, inverted
from vafw.traffic.rule import Ruleset

_NETFILTER: Final = 12
"""NETLINK_NETFILTER."""
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
"""Message types of ctnetlink."""
_REQUEST, _ACKNOWLEDGE, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_HEADER: Final = struct.Struct("=IHHII")
_FAMILY: Final = struct.Struct("=BBH")
_ATTRIBUTE: Final = struct.Struct("=HH")
_NESTED: Final = 0x8000
_ORIGINAL, _REPLY, _ID = 1, 2, 12
"""CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ID."""
_ADDRESSES, _PROTOCOL = 1, 2
"""CTA_TUPLE_IP, CTA_TUPLE_PROTO."""
_ENDS: Final = {socket.AF_INET: (4, 1, 2), socket.AF_INET6: (6, 3, 4)}
"""IP version, and the attributes of source and destination."""
_PORTS: Final = {TCP: (2, 3), UDP: (2, 3)}
_ECHO: Final = {ICMP: (4, 5, 6), ICMPV6: (7, 8, 9)}
"""Attributes of both ports; of identifier, type and code."""
_CHUNK: Final = 1 << 16
_BUSY_S: Final = 10.0
"""How long a connection may go on being the old flow table's, which the kernel empties in its own time."""
_PAUSE_S: Final = 0.02

SideOf = Callable[[tuple[int, int]], str]


@dataclass(frozen=True, slots=True)
class Tracked:
    """One connection of the kernel's."""

    family: int
    """AF_INET or AF_INET6."""
    original: Tuple | None
    """Tuple of its first packet; None where it is of a kind that is not understood here."""
    reply: Tuple | None
    """Tuple of the answers."""
    name: bytes
    """The attributes by which the kernel finds it."""


def tracked_connections() -> list[Tracked]:
    """All that there are."""
    with _Line() as line:
        return line.connections()


def forget_denied(ruleset: Ruleset, *, own: OwnAddresses | None = None, side_of: SideOf | None) -> int:
    """Forget every connection that `ruleset` would not accept; how many there were. OSError where one stays.

    `side_of` tells the side of an address; None: `ruleset.inside` does.
    """
    engine = Engine(ruleset, own=own)
    judged = not any(rule.vlans for rule in ruleset.rules)
    with _Line() as line:
        denied = [each for each in line.connections() if not (judged and _is_kept(engine, each, side_of))]
        for each in denied:
            line.forget(each)
    return len(denied)


def forget_ending_at(own: Collection[tuple[int, int]]) -> int:
    """Forget every connection that one of these addresses is an end of, as it was sent or answered; how many."""
    with _Line() as line:
        ending = [each for each in line.connections() if _ends(each) & frozenset(own)]
        for each in ending:
            line.forget(each)
    return len(ending)


def _ends(connection: Tracked) -> frozenset[tuple[int, int]]:
    """Where its packets go, and where their answers do."""
    return frozenset((each[1] >> 8, each[3]) for each in (connection.original, connection.reply) if each is not None)


def _is_kept(engine: Engine, tracked: Tracked, side_of: SideOf | None) -> bool:
    original, reply = tracked.original, tracked.reply
    if original is None or reply is None:
        return False
    if _is_loopback(original):
        return True
    translated = reply if reply != inverted(original) else None
    sides = _sides(engine.ruleset, (original[1] >> 8, original[2]), side_of)
    return all(engine.would_accept(Connection(original, side, 0.0, 0.0, reply=translated)) for side in sides)


def _sides(ruleset: Ruleset, source: tuple[int, int], side_of: SideOf | None) -> tuple[str, ...]:
    """Where a connection from this source may have begun."""
    if side_of is not None:
        return (side_of(source),)
    if ruleset.inside is None:
        return INSIDE, OUTSIDE
    return (INSIDE,) if ruleset.inside.contains(*source) else (OUTSIDE,)


def _is_loopback(original: Tuple) -> bool:
    """Whether it is between this guest and itself, which no rule of a policy is about."""
    return all(each >> 24 == 127 for each in original[2:4]) if original[1] >> 8 == 4 else original[2:4] == (1, 1)


class _Line:
    """A line to the kernel's tracker."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
        self._number = 0

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def connections(self) -> list[Tracked]:
        """All that there are."""
        self._ask(_GET, _REQUEST | _DUMP, socket.AF_UNSPEC, b"")
        found: list[Tracked] = []
        while True:
            for kind, body in _messages(self._socket.recv(_CHUNK)):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise _error(body, "the tracked connections cannot be listed")
                found.append(tracked(body))

    def forget(self, connection: Tracked) -> None:
        """Forget one; it may have ended by itself. OSError where the kernel keeps it."""
        patience_s = time.monotonic() + _BUSY_S
        while True:
            self._ask(_DELETE, _REQUEST | _ACKNOWLEDGE, connection.family, connection.name)
            ((_, body),) = _messages(self._socket.recv(_CHUNK))
            error = _error(body, "a tracked connection cannot be forgotten")
            if error.errno in (0, errno.ENOENT):
                return
            if error.errno != errno.EBUSY or time.monotonic() > patience_s:
                raise error
            time.sleep(_PAUSE_S)

    def _ask(self, kind: int, flags: int, family: int, attributes: bytes) -> None:
        self._number += 1
        length = _HEADER.size + _FAMILY.size + len(attributes)
        header = _HEADER.pack(length, kind, flags, self._number, 0)
        self._socket.send(header + _FAMILY.pack(family, 0, 0) + attributes)


def tracked(body: bytes) -> Tracked:
    """One connection out of a message's body: its family and its attributes."""
    family = body[0]
    attributes = dict(_attributes(body[_FAMILY.size :]))
    name = _packed(_ORIGINAL | _NESTED, attributes[_ORIGINAL]) + _packed(_ID, attributes[_ID])
    original, reply = (_tuple(family, attributes.get(kind, b"")) for kind in (_ORIGINAL, _REPLY))
    return Tracked(family, original, reply, name)


def _tuple(family: int, data: bytes) -> Tuple | None:
    parts = {kind: dict(_attributes(value)) for kind, value in _attributes(data) if kind in (_ADDRESSES, _PROTOCOL)}
    try:
        version, source, destination = _ENDS[socket.AddressFamily(family)]
        ends = parts[_ADDRESSES][source], parts[_ADDRESSES][destination]
        protocol, more = parts[_PROTOCOL][1][0], parts[_PROTOCOL]
        first, second = _ports(protocol, more)
    except (KeyError, ValueError, IndexError):
        return None
    low, high = (int.from_bytes(each, "big") for each in ends)
    return (), version << 8 | protocol, low, high, first, second


def _ports(protocol: int, more: dict[int, bytes]) -> tuple[int, int]:
    """The last two numbers of a tuple."""
    if protocol in _PORTS:
        source, destination = _PORTS[protocol]
        return int.from_bytes(more[source], "big"), int.from_bytes(more[destination], "big")
    if protocol in _ECHO:
        identifier, kind, code = _ECHO[protocol]
        return int.from_bytes(more[identifier], "big"), more[kind][0] << 8 | more[code][0]
    return 0, 0


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each message."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute."""
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind & ~_NESTED, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _packed(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return (_ATTRIBUTE.pack(length, kind) + value).ljust(_aligned(length), b"\0")


def _aligned(length: int) -> int:
    return length + 3 & ~3


def _error(body: bytes, what: str) -> OSError:
    number = -struct.unpack_from("=i", body)[0]
    return OSError(number, f"{what}: {os.strerror(number)}")
