"""What passes a whole path: every hop's rules, through address translation, as one set of packets.

A packet is written as the user's side sees it: the source it has inside, the destination it ends up at. In this view
translation changes nothing, and the hops' sets simply meet. Only what stands between a translating hop and the wire
sees other addresses; its set is *pulled back*: a packet passes there if what it has become there does.

    user ── hop ── router ── hop ── wire
            inner view     │ outer view: masqueraded sources leave as the router's own address, a forwarded port of
                           │ that address is what the host inside is reached by
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nat import Nat, PortForward
from vafw.traffic.rule import Action, Packet, Ruleset
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.layout import DESTINATION, PORT, PROTOCOL, SOURCE, address_field
from vafw.traffic.space.outcome import Outcome, meeting
from vafw.traffic.space.space import Space


@dataclass(frozen=True, slots=True)
class Hop:
    """An appliance of the path."""

    name: str
    ruleset: Ruleset | None = None
    """The rules that it enforces; None: it passes every packet on, as far as headers say."""
    outer: Mapping[int, int] = field(default_factory=dict)
    """Its own address towards the wire by IP version, where it translates."""
    further: tuple[Mapping[int, int], ...] = ()
    """The same of each uplink besides the first. Such a hop begins the path: no other looks at it from outside."""

    @property
    def nat(self) -> Nat:
        """What it translates."""
        return self.ruleset.nat if self.ruleset is not None else Nat()


def path_passing(space: Space, hops: Sequence[Hop]) -> Outcome:
    """The packets that get from one end to the other; `hops` from the wire inwards."""
    return path_meeting(space, hops, Action.ACCEPT)


def path_meeting(space: Space, hops: Sequence[Hop], action: Action) -> Outcome:
    """The packets that pass every hop (accept), or of which some hop disposes in this way."""
    joined: Outcome | None = None
    for at, hop in enumerate(hops):
        if hop.ruleset is None:
            continue
        inner = hops[at + 1 :]
        found = meeting(space, hop.ruleset, action)
        seen = Outcome(
            _pulled_back(space, found.may, inner, either=True), _pulled_back(space, found.surely, inner, either=False)
        )
        if joined is None:
            joined = seen
        elif action is Action.ACCEPT:
            joined = Outcome(joined.may & seen.may, joined.surely & seen.surely)
        else:
            joined = Outcome(joined.may | seen.may, joined.surely | seen.surely)
    if joined is None:
        nothing = action is not Action.ACCEPT
        return Outcome(space.nothing, space.nothing) if nothing else Outcome(space.packets, space.packets)
    return joined


def outer_view(hops: Sequence[Hop], packet: Packet) -> Packet:
    """A packet as the wire sees it: what leaves when it comes from the inside, what must arrive when it goes there."""
    for hop in reversed(hops):
        packet = translated(hop, packet)
    return packet


def translated(hop: Hop, packet: Packet, uplink: int = 0) -> Packet:
    """The packet on the outer side of the hop, at that uplink, given as it is on the inner side."""
    outer = (hop.outer, *hop.further)[uplink].get(packet.version)
    if outer is None:
        return packet
    if packet.side == INSIDE:
        hidden = hop.nat.masquerade.contains(packet.version, packet.source)
        return replace(packet, source=outer) if hidden else packet
    for forward in hop.nat.forwards:
        port = _outer_port(forward, packet)
        if port is not None:
            return replace(packet, destination=outer, port=port)
    return packet


def inner_view(hops: Sequence[Hop], packet: Packet) -> Packet:
    """A packet from the wire as the user's side sees it, once its destination was translated."""
    for hop in hops:
        outers = {each.get(packet.version) for each in (hop.outer, *hop.further)}
        if packet.side == OUTSIDE and packet.destination in outers:
            target = hop.nat.forwarded(packet.version, packet.protocol, packet.port)
            if target is not None:
                packet = replace(packet, destination=target[0], port=target[1])
    return packet


def _outer_port(forward: PortForward, packet: Packet) -> int | None:
    """The port of the outer address that leads to the packet's destination; None where this forward does not."""
    port = packet.port - forward.to_port + forward.ports[0]
    led = forward.target(packet.version, packet.protocol, port)
    return port if led == (packet.destination, packet.port) else None


def _pulled_back(space: Space, passing: Diagram, inner: Sequence[Hop], *, either: bool) -> Diagram:
    """The packets, as the innermost side sees them, that are in the set once the inner hops have translated them.

    A host that a port leads to can be reached in two ways, by that port and by its own address: one of them is enough
    (`either`), or both must be in the set.
    """
    for hop in inner:
        if hop.outer and hop.nat != Nat():
            passing = _past(space, passing, hop, either=either)
    return passing


def _past(space: Space, outside: Diagram, hop: Hop, *, either: bool) -> Diagram:
    """The packets on the inner side of a hop whose translation lies in the set `outside` of it."""
    from_inside, from_outside = space.side(INSIDE) & outside, space.side(OUTSIDE) & outside
    for version, address in hop.outer.items():
        sources = AddressSet(hop.nat.masquerade.v4, ()) if version == 4 else AddressSet((), hop.nat.masquerade.v6)
        mine = space.side(INSIDE) & space.addresses(SOURCE, sources)
        source = address_field(SOURCE, version)
        became = space.version(version) & space.among(source, ((address, address),)) & from_inside
        from_inside = (from_inside & ~mine) | (mine & space.diagrams.forget(became, source.variables))
    for forward in reversed(hop.nat.forwards):
        outer = hop.outer.get(forward.version)
        if outer is not None:
            led = _led(space, space.side(OUTSIDE) & outside, forward, outer)
            to_host = space.side(OUTSIDE) & _to_host(space, forward)
            met = (from_outside | led) if either else (from_outside & led)
            from_outside = (from_outside & ~to_host) | (to_host & met)
    return from_inside | from_outside


def _to_host(space: Space, forward: PortForward) -> Diagram:
    """Packets to the ports of the host that the forward leads to."""
    low, high = forward.ports
    return _to(space, forward, forward.host, (forward.to_port, forward.to_port + high - low))


def _led(space: Space, outside: Diagram, forward: PortForward, outer: int) -> Diagram:
    """Packets to the host that come from packets of the set `outside`, by a port of the outer address."""
    free = [*address_field(DESTINATION, forward.version).variables, *PORT.variables]
    found = []
    for offset in range(forward.ports[1] - forward.ports[0] + 1):
        port, to_port = forward.ports[0] + offset, forward.to_port + offset
        before = space.diagrams.forget(outside & _to(space, forward, outer, (port, port)), free)
        found.append(before & _to(space, forward, forward.host, (to_port, to_port)))
    return space.union(found)


def _to(space: Space, forward: PortForward, address: int, ports: tuple[int, int]) -> Diagram:
    """Packets of the forward's protocol to an address and a range of ports."""
    destination = space.among(address_field(DESTINATION, forward.version), ((address, address),))
    protocol = space.among(PROTOCOL, ((forward.protocol, forward.protocol),))
    return space.version(forward.version) & destination & protocol & space.among(PORT, (ports,))
