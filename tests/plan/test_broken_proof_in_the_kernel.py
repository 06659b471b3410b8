"""A proof that one changed character of a policy breaks is refuted by a packet that really passes the kernel's rules.

The counter-example is sent through a Linux router under the compiled ruleset: before the change it does not come out,
after it does, as the proof says each time.
"""

from __future__ import annotations

import pytest

from tests.plan.conftest import FOLDER as DESK
from tests.plan.conftest import Desk
from tests.traffic.kernel_router import MARKER_PORT, is_forwarded, kernel_router, missing
from vafw.document.load import DocumentSet
from vafw.plan.checks.proofs import answers
from vafw.plan.hops import path_proof
from vafw.plan.rules import compile_pattern, compile_rules
from vafw.traffic import build
from vafw.traffic.address_set import AddressSet
from vafw.traffic.frame import IPV4, IPV6, SYN
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.rule import TCP, UDP, Action, Packet, Rule, Ruleset, Selector, ServiceMatch

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

ADDRESSES = [("addresses: [10.0.0.2/24]", 'addresses: [10.1.0.2/24, 10.1.0.250/24, "2001:db8:1::2/64"]')]
"""The user's, and the one that the router's marker packets come from."""
RULES = """\
  zones: {site-1: [198.51.100.0/24, "2001:db8:51::/48"], site-2: [203.0.113.0/25], half: [192.0.2.0/24]}
  services: {vault: {protocol: tcp, ports: [8200-8299]}, clock: {protocol: udp, ports: [123]}}
  rules:
    - {name: no-site, from: user-os, to: site-1, action: drop}
    - {name: no-half, from: user-os, to: half, action: reject}
    - {name: no-vault, from: user-os, to: any, service: vault, action: drop}
    - {name: no-six, from: user-os, to: any, service: clock, action: drop}
    - {name: out, from: user-os, to: any, action: accept}
  prove:
    - never: {from: user-os, to: site-1}
    - never: {from: user-os, to: upper, service: https}
    - never: {from: user-os, to: site-2, service: vault-door}
    - never: {from: user-os, to: any, service: clock-port}
"""
ZONES = RULES.replace("half: [", "upper: [192.0.2.128/25], half: [").replace(
    "clock: {", "vault-door: {protocol: tcp, ports: [8290]}, clock-port: {protocol: udp, ports: [123]}, clock: {"
)
MARKER = Rule(
    "marker",
    (Selector(None, AddressSet.everything()),),
    (Selector(None, AddressSet.everything()),),
    (ServiceMatch(UDP, ((MARKER_PORT, MARKER_PORT),)),),
    Action.ACCEPT,
)


def documents(desk: Desk, before: str = "", after: str = "") -> DocumentSet:
    begin, end = "  rules:\n", "devices:"
    text = (DESK / "policy.yaml").read_text()
    old = text[text.index(begin) : text.index(end)]
    assert before in ZONES
    return desk(topology=ADDRESSES, policy=[(old, ZONES.replace(before, after))])


def frame_of(packet: Packet) -> bytes:
    ends = (packet.source, packet.destination)
    if packet.protocol == TCP:
        segment = build.tcp(*ends, 40000, packet.port, sequence=1, flags=SYN)
    else:
        segment = build.udp(*ends, 40000, packet.port, b"question")
    datagram = (build.ipv4 if packet.version == 4 else build.ipv6)(*ends, packet.protocol, segment)
    return build.ethernet(bytes(6), bytes(6), IPV4 if packet.version == 4 else IPV6, datagram)


def passes_the_kernel(made: DocumentSet, packet: Packet) -> bool:
    ruleset = compile_rules(made)
    marked = Ruleset((MARKER, *ruleset.rules), ruleset.default, ruleset.inside)
    text = nftables_text(marked, inside="in0", outside="out0")
    frame = frame_of(packet)
    with kernel_router(text, inside=("10.1.0.2/32", "2001:db8:1::2/128")) as router:
        seen = [each[14:] for each in router.feed(packet.side, frame)]
    return any(is_forwarded(each, frame[14:]) for each in seen)


@pytest.mark.parametrize(
    ("clause", "before", "after"),
    [
        (0, "to: site-1, action", "to: site-2, action"),
        (1, "half: [192.0.2.0/24]", "half: [192.0.2.0/25]"),
        (2, "8200-8299", "8200-8289"),
        (3, "protocol: udp, ports: [123]}}", "protocol: udp, ports: [124]}}"),
    ],
    ids=["another-zone", "a-shorter-prefix", "a-smaller-range", "another-port"],
)
def test_the_packet_that_refutes_a_proof_passes_the_kernel(desk: Desk, clause: int, before: str, after: str) -> None:
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1
    good, broken = documents(desk), documents(desk, before, after)
    assert [each.refuted for each in answers(good)] == [()] * 4
    assert [each.index for each in answers(broken) if each.refuted] == [clause]
    pattern = broken.policy.model.traffic.prove[clause].never
    assert pattern is not None
    found = path_proof(broken).counterexample(compile_pattern(broken, pattern))
    assert found is not None
    assert not passes_the_kernel(good, found.packet)
    assert passes_the_kernel(broken, found.packet)
