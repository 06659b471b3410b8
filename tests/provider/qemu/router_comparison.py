"""One frame after the other through a router's kernel and the model's program; every difference as a line.

Compared are the frames that leave on the other side, byte by byte with their MAC addresses, and the answers that go
back: resets and echo replies must be there and mean the same; ICMP errors the kernel may withhold (`icmp_ratelimit`)
and sends from its own address, quoting the packet with a hop taken, but none may come that the program does not send.
At the end, how many packets each rule counted. Left out are fragments, which the kernel puts together and the program
does not, and neighbour discovery, which each does in its own time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic, time
from typing import TypeAlias

from tests.provider.qemu.guest_router import HOST_MACS, GuestRouter, answered
from tests.traffic.differential import needs_another_port
from tests.traffic.far_end import FarEnd
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite
from vafw.traffic.engine import Engine
from vafw.traffic.frame import ARP, Frame, parse
from vafw.traffic.packet import ICMP, ICMPV6, TCP
from vafw.traffic.routed import Links
from vafw.traffic.rule import Ruleset, State
from vafw_appliances.firewall.guest import Firewall
from vafw_appliances.firewall.router import Router

ROUTER_MAC = bytes.fromhex("020000000002")
"""What stands for it in traffic that is made beforehand."""
Meaning: TypeAlias = tuple[object, ...]
_ECHO_REPLIES = {(ICMP, 0), (ICMPV6, 129)}


@dataclass
class Comparison:
    """What came of it."""

    packets: int = 0
    passed: int = 0
    answered: int = 0
    withheld: int = 0
    """ICMP errors that the kernel did not send."""
    found: list[str] = field(default_factory=list)


class Program:
    """The model's program, with the same hosts on both sides."""

    def __init__(self, ruleset: Ruleset, links: Links) -> None:
        self.engine = Engine(ruleset, own=links.own_addresses(), wall_offset_s=time() - monotonic())
        self._firewall = Firewall(self.engine, Router(links))

    def feed(self, side: str, frame: bytes) -> dict[str, list[bytes]]:
        """The frames that leave, by side, but for questions after neighbours, which are answered."""
        seen: dict[str, list[bytes]] = {OUTSIDE: [], INSIDE: []}
        coming = [(side, frame)]
        while coming:
            for port, each in self._firewall.handle(*coming.pop(0), monotonic()).emit:
                answer = answered(each, HOST_MACS[port])
                if answer is not None:
                    coming.append((port, answer))
                else:
                    seen[port].append(each)
        return seen


def compare(guest: GuestRouter, ruleset: Ruleset, traffic: Iterable[tuple[str, bytes]]) -> Comparison:
    """Load the policy, feed the traffic to both, and say where they differ."""
    assert guest.configure(Ruleset(ruleset.rules[:1], ruleset.default)).healthy  # which ends every other connection
    health = guest.configure(ruleset)
    assert health.healthy, health.reason
    links = Links.from_config(guest.router)
    program, result = Program(ruleset, links), Comparison()
    far_end = FarEnd(ruleset.nat, dict(links.own_addresses().outer))
    for number, (side, meant) in enumerate(traffic):
        frame = far_end.speaks(meant) if side == OUTSIDE else meant
        packet = parse(frame)
        if isinstance(packet, Frame) and not is_comparable(packet):
            continue
        if needs_another_port(program.engine, frame, side):
            continue
        sent = (guest.macs[side] if frame[:6] == ROUTER_MAC else frame[:6]) + HOST_MACS[side] + frame[12:]
        expected, seen = program.feed(side, sent), guest.feed(side, sent)
        result.packets += 1
        result.found += (f"{number} from {side}: {each}: {sent.hex()}" for each in differences(side, expected, seen))
        result.passed += bool(seen[opposite(side)])
        result.answered += bool(seen[side])
        result.withheld += len(expected[side]) - len(seen[side])
        if side == INSIDE and seen[OUTSIDE]:
            far_end.saw(frame, seen[OUTSIDE][0][14:])
    result.found += different_counts(ruleset, program.engine, guest.report()["rules"])
    return result


def is_comparable(packet: Frame) -> bool:
    """No fragment, no neighbour discovery or listener report, no tag, and no ARP."""
    discovery = packet.protocol == ICMPV6 and 130 <= packet.icmp_type <= 137
    return not (packet.is_fragment or discovery or packet.vlans or packet.ethertype == ARP)


def differences(side: str, expected: Mapping[str, list[bytes]], seen: Mapping[str, list[bytes]]) -> Iterator[str]:
    """Where what left is not what the program says."""
    other = opposite(side)
    passed = [_without_padding(each) for each in expected[other]]
    if seen[other] != passed:
        yield f"program sends {[each.hex() for each in passed]}, kernel {[each.hex() for each in seen[other]]}"
    meant, came = ([_meaning(each) for each in answers[side]] for answers in (expected, seen))
    if [each for each in came if each not in meant] or [each for each in meant if each[0] and each not in came]:
        yield f"program answers {meant}, kernel {came}"


def different_counts(ruleset: Ruleset, engine: Engine, kernel: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Rules that did not count alike, but for the first, which lets the markers pass."""
    for rule in ruleset.rules[1:]:
        counted = engine.counts[rule.name].packets, kernel[rule.name]["packets"]
        if State.INVALID not in rule.states and counted[0] != counted[1]:
            yield f"rule {rule.name}: program counts {counted[0]}, kernel {counted[1]}"


def _without_padding(frame: bytes) -> bytes:
    packet = parse(frame)
    return frame[: packet.end] if isinstance(packet, Frame) else frame


def _meaning(frame: bytes) -> Meaning:
    """An answer without what each end chooses for itself; the first value says whether it must be there."""
    packet = parse(frame)
    assert isinstance(packet, Frame), frame.hex()
    macs, ends = frame[:12], (packet.source, packet.destination)
    if packet.protocol == TCP:
        numbers = packet.source_port, packet.destination_port, packet.flags, packet.sequence, packet.acknowledgement
        return (True, macs, ends, numbers)
    body = frame[packet.transport + 4 : packet.end]
    if (packet.protocol, packet.icmp_type) in _ECHO_REPLIES:
        return (True, macs, ends, body)
    quoted = body[4:12] + body[16:32] if packet.version == 4 else body[4:11] + body[12:32]  # but for its hop limit
    return (False, macs, packet.destination, packet.icmp_type, packet.icmp_code, quoted)
