"""One policy and some traffic through the kernel and through the engine; every difference as a line.

Compared are, packet by packet, whether it passes and the bytes it leaves with (one hop less), translated or not; and at
the end, rule by rule, how many packets each rule counted. Fragments, which the kernel puts together and the engine does
not, are `test_against_nftables`' to compare.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from time import monotonic, time

from tests.traffic.far_end import FarEnd
from tests.traffic.kernel_router import KernelRouter
from tests.traffic.random_policy import MARKER
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.engine import Decision, Engine
from vafw.traffic.frame import Frame, Malformed, parse
from vafw.traffic.nat import OwnAddresses
from vafw.traffic.nftables.rendering import Layout, nftables_text
from vafw.traffic.packet_tuple import inverted, tuple_of
from vafw.traffic.rule import ICMPV6, Action, Ruleset, State
from vafw.traffic.translation import Translator, hop_taken

OUTER = {4: int(ip_address("198.18.2.1")), 6: int(ip_address("fd00:1234:2::1"))}
INNER = {4: int(ip_address("198.18.1.1")), 6: int(ip_address("fd00:1234:1::1"))}
OWN = OwnAddresses(OUTER, frozenset((*OUTER.items(), *INNER.items())))
"""The addresses of the router of `kernel_router`."""
NAMED = re.compile(r"counter rule-([a-z0-9-]+) \{\s*packets (\d+)")
INLINE = re.compile(r'counter packets (\d+) bytes \d+ (?:[^"\n]* )?comment "([a-z0-9-]+)"')


@dataclass
class Comparison:
    """What came of it."""

    packets: int = 0
    passed: int = 0
    translated: int = 0
    rules: set[str] = field(default_factory=set)
    found: list[str] = field(default_factory=list)


def compare(
    router: KernelRouter, ruleset: Ruleset, traffic: Iterable[tuple[str, bytes]], layout: Layout = "auto"
) -> Comparison:
    """Load the policy, feed the traffic to both, and say where they differ."""
    router.load(nftables_text(ruleset, inside="in0", outside="out0", own=OWN, layout=layout))
    engine = Engine(ruleset, own=OWN, wall_offset_s=time() - monotonic())
    far_end = FarEnd(ruleset.nat, OUTER)
    result = Comparison()
    for number, (side, meant) in enumerate(traffic):
        frame = far_end.speaks(meant) if side == OUTSIDE else meant
        if not is_comparable(frame) or needs_another_port(engine, frame, side):
            continue
        decision = engine.decide(frame, side, monotonic())
        seen = [each[14:] for each in router.feed(side, frame)]
        result.packets += 1
        result.found += (f"{number} from {side}: {each}" for each in differences(frame, decision, seen))
        if decision.action is Action.ACCEPT:
            result.passed += 1
            result.translated += decision.sent is not None
            if side == INSIDE and seen:
                far_end.saw(frame, seen[0])
    counted = {name: count.packets for name, count in engine.counts.items()}
    result.rules = {name for name, packets in counted.items() if packets and not name.startswith("(")}
    result.found += different_counts(ruleset, counted, kernel_counts(router.listing()))
    return result


def differences(frame: bytes, decision: Decision, seen: list[bytes]) -> Iterator[str]:
    """Whether one packet came out exactly as the engine says, or not at all."""
    if decision.action is not Action.ACCEPT:
        if seen:
            yield f"kernel passes, engine {decision}: {frame.hex()}"
        return
    sent = decision.sent or frame
    packet = parse(sent)
    assert isinstance(packet, Frame)
    expected = hop_taken(sent, packet)[14 : packet.end]
    if seen != [expected]:
        came = [each.hex() for each in seen]
        yield f"engine {decision.rule} sends {expected.hex()}, kernel {came}: {frame.hex()}"


def is_comparable(frame: bytes) -> bool:
    """Whether a router forwards such a packet at all: unicast, with hops left, no neighbour discovery, no fragment."""
    packet = parse(frame)
    if isinstance(packet, Malformed):
        return True
    groups = 0xE0 << 24 if packet.version == 4 else 0xFF << 120
    link_local = packet.version == 6 and packet.destination >> 118 == 0xFE80 >> 6
    neighbour = packet.protocol == ICMPV6 and 130 <= packet.icmp_type <= 137
    unicast = packet.destination < groups and not link_local and not neighbour
    return bool(packet.version and not packet.vlans and packet.hop_limit > 1 and unicast and not packet.is_fragment)


def needs_another_port(engine: Engine, frame: bytes, side: str) -> bool:
    """Whether a new connection would find its answers' tuple taken: which port is free, each chooses for itself."""
    packet = parse(frame)
    if isinstance(packet, Malformed) or engine.connections.is_taken(tuple_of(packet)):
        return False
    translator = Translator(engine.ruleset.nat, [OUTER])
    led = translator.destination(tuple_of(packet), side)
    hidden = translator.source(led, side, lambda _: False)
    answers = inverted(hidden) if hidden is not None else None
    return answers is not None and engine.connections.is_taken(answers)


def kernel_counts(listing: str) -> Counter[str]:
    """Packets by rule, from named counters, statements and elements."""
    found: Counter[str] = Counter()
    for name, packets in NAMED.findall(listing):
        found[name] += int(packets)
    for packets, name in INLINE.findall(listing):
        found[name] += int(packets)
    return found


def different_counts(ruleset: Ruleset, engine: dict[str, int], kernel: Counter[str]) -> Iterator[str]:
    """Rules that did not count alike; what is invalid each side decides on where it first sees it."""
    forwards = {each.name for each in ruleset.nat.forwards}
    for rule in ruleset.rules:
        if rule.name == MARKER.name or State.INVALID in rule.states or rule.name in forwards:
            continue
        if engine.get(rule.name, 0) != kernel[rule.name]:
            yield f"rule {rule.name}: engine counts {engine.get(rule.name, 0)}, kernel {kernel[rule.name]}"
