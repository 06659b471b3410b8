"""The hosts beyond a router that translates: they answer what they saw, not what was sent.

`random_traffic` writes conversations as both ends mean them. Where the kernel hides a source or leads a port, the far
end must speak to the address it sees. `FarEnd` watches what comes out of the kernel and rewrites the frames of a
conversation accordingly. That it rewrites with the code under test proves nothing and need not: kernel and engine are
given the same frame, and a frame that was rewritten wrongly is one more odd frame.
"""

from __future__ import annotations

from vafw.traffic.frame import Frame, Malformed, parse
from vafw.traffic.nat import Nat
from vafw.traffic.packet import ICMP, ICMPV6
from vafw.traffic.packet_tuple import Tuple, inverted, tuple_of
from vafw.traffic.quotation import quotation
from vafw.traffic.translation import requoted, rewritten


class FarEnd:
    """What the hosts outside have seen of the hosts inside."""

    def __init__(self, nat: Nat, outer: dict[int, int]) -> None:
        self._nat = nat
        self._outer = outer
        self._seen: dict[Tuple, Tuple] = {}
        """By the tuple that an inside host sent: the one that came out."""

    def saw(self, sent: bytes, came: bytes) -> None:
        """A frame went in inside, and this came out outside, without its Ethernet header."""
        inner, outer = parse(sent), parse(bytes(12) + sent[12:14] + came)
        if isinstance(inner, Frame) and isinstance(outer, Frame) and not inner.is_fragment:
            self._seen[tuple_of(inner)] = tuple_of(outer)

    def speaks(self, frame: bytes) -> bytes:
        """A frame that an outside host means for an inside one, as it sends it."""
        packet = parse(frame)
        if isinstance(packet, Malformed) or not packet.version or packet.is_fragment:
            return frame
        quoted = quotation(frame, packet) if packet.protocol in (ICMP, ICMPV6) else None
        if quoted is not None:
            meant = (
                (), packet.version << 8 | quoted.protocol, quoted.source, quoted.destination, quoted.first,
                quoted.second,
            )  # fmt: skip
            came = self._seen.get(meant)
            return frame if came is None else requoted(frame, packet, came, packet.source)
        backwards = inverted(tuple_of(packet))
        came = self._seen.get(backwards) if backwards is not None else None
        answer = inverted(came) if came is not None else None
        if answer is not None:
            return rewritten(frame, packet, answer)
        return self._to_a_forwarded_port(frame, packet)

    def _to_a_forwarded_port(self, frame: bytes, packet: Frame) -> bytes:
        outer = self._outer[packet.version]
        for forward in self._nat.forwards:
            low, high = forward.ports
            at = packet.destination_port - forward.to_port
            meant = (packet.version, packet.protocol, packet.destination)
            if meant == (forward.version, forward.protocol, forward.host) and 0 <= at <= high - low:
                vlans, network, source, _, first, _ = tuple_of(packet)
                return rewritten(frame, packet, (vlans, network, source, outer, first, low + at))
        return frame
