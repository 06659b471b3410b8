"""Counts what passed and what did not: packets and bytes for each rule, and for each of the latest flows.

For people and reports; no decision is taken from it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from vafw.trace import Value
from vafw.traffic.packet_tuple import Tuple
from vafw.traffic.rule import ICMP, ICMPV6, PROTOCOL_NAMES, Action

DEFAULT_LIMIT: Final = 4096
"""Flows kept at most; the one that began first is forgotten first."""

_Key: TypeAlias = tuple[Tuple, str, str]


@dataclass(slots=True)
class Count:
    """Packets and the bytes of their frames."""

    packets: int = 0
    bytes: int = 0


@dataclass(slots=True, eq=False)
class Flow:
    """Packets of one connection, or refused packets of one 5-tuple, and the rule that decided."""

    key: Tuple
    """Tuple of the first packet."""
    side: str
    """Port the first packet came in by."""
    rule: str
    action: Action
    packets: int
    bytes: int
    """Bytes of its frames, both directions."""
    first_s: float
    last_s: float

    def to_json(self) -> dict[str, Value]:
        """The flow as one JSON object."""
        vlans, network, source, destination, first, second = self.key
        address = IPv4Address if network >> 8 == 4 else IPv6Address
        protocol = network & 0xFF
        shown: dict[str, Value] = {
            "from": self.side,
            "source": str(address(source)),
            "destination": str(address(destination)),
            "protocol": PROTOCOL_NAMES.get(protocol, str(protocol)),
            "rule": self.rule,
            "outcome": self.action.value,
            "packets": self.packets,
            "bytes": self.bytes,
            "first-s": round(self.first_s, 6),
            "last-s": round(self.last_s, 6),
        }
        if protocol in (ICMP, ICMPV6):
            shown |= {"icmp-type": second >> 8}
        elif first or second:
            shown |= {"source-port": first, "destination-port": second}
        if vlans:
            shown["vlans"] = list(vlans)
        return shown


class FlowTable:
    """The latest flows."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._flows: OrderedDict[_Key, Flow] = OrderedDict()

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def __len__(self) -> int:
        return len(self._flows)

    def at(self, key: Tuple, side: str, rule: str, action: Action, now_s: float) -> Flow:
        """The flow of these packets, which begins now if it is not known."""
        found = self._flows.get((key, side, rule))
        if found is None:
            if len(self._flows) >= self._limit:
                self._flows.popitem(last=False)
            found = self._flows[key, side, rule] = Flow(key, side, rule, action, 0, 0, now_s, now_s)
        return found
