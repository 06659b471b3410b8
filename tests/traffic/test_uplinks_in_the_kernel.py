"""Two uplinks in a Linux router under the compiled text, beside the engine: who leaves by which, as whom, and back.

    ends: inside0 ── in0 :router: out0 ── outside0   the first uplink
                                  out1 ── outside1   the second

Random rules that mark, accept and drop; every packet is put to both, and must come out of the same card with the same
source, or of none. The routes are those that `vafw.traffic.nftables.uplinks` asks for.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from time import monotonic

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.traffic.kernel_router import (
    ENDS,
    ROUTER,
    KernelRouter,
    build_namespaces,
    in_router,
    inside_namespace,
    mac,
    missing,
    packet_socket,
    remove,
    run,
)
from vafw.traffic import build
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.engine import Engine
from vafw.traffic.frame import IPV4
from vafw.traffic.nat import Nat, OwnAddresses, PortForward
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.nftables.uplinks import uplink_mark
from vafw.traffic.routed import Link
from vafw.traffic.rule import UDP, Action, Rule, Ruleset, Selector, ServiceMatch
from vafw.traffic.uplinks import Uplinks

pytestmark = pytest.mark.root

OWN = tuple(int(ip_address(each)) for each in ("198.18.2.1", "198.18.3.1"))
"""The router's address at each uplink."""
USER, SERVER = int(ip_address("10.1.0.2")), int(ip_address("203.0.113.9"))
NEIGHBOUR = int(ip_address("198.18.3.77"))
"""A host of the second uplink's own network."""
FORWARD = PortForward("game", UDP, (9000, 9000), 4, USER, 9000)
NAT = Nat(AddressSet.from_texts(["10.1.0.0/24"]), (FORWARD,))
OWN_ADDRESSES = OwnAddresses({4: OWN[0]}, frozenset((4, each) for each in OWN), ({4: OWN[1]},))
EVERYWHERE = (Selector(None, AddressSet.everything()),)
MARK = 7
PORTS = range(1, 7)

services = st.sampled_from([(), *((ServiceMatch(UDP, ((port, port + 1),)),) for port in PORTS)])
rules = st.lists(
    st.tuples(services, st.sampled_from([Action.ACCEPT, Action.DROP, Action.LOG, MARK, MARK, 9])), max_size=7
)


def ruleset(drawn: list[tuple[tuple[ServiceMatch, ...], Action | int]]) -> Ruleset:
    """The drawn rules, and behind them one that accepts what is led to the user."""
    listed = [
        Rule(f"r{at}", EVERYWHERE, EVERYWHERE, service, Action.MARK, mark=action)
        if isinstance(action, int)
        else Rule(f"r{at}", EVERYWHERE, EVERYWHERE, service, action)
        for at, (service, action) in enumerate(drawn)
    ]
    game = Rule("game", EVERYWHERE, EVERYWHERE, (ServiceMatch(UDP, ((9000, 9000),)),), Action.ACCEPT)
    return Ruleset((*listed, game), Action.DROP, nat=NAT)


@dataclass
class Bench:
    """The router with three cards, to be fed at any of them."""

    sockets: dict[str, socket.socket]
    macs: dict[str, tuple[bytes, bytes]]
    """By card: the router's, and the far end's."""

    def feed(self, card: str, packet: bytes) -> list[tuple[str, bytes]]:
        """Where an IPv4 packet came out, and as what; it has gone through when the call that sends it returns."""
        self.take()
        self.sockets[card].send(b"".join(self.macs[card]) + IPV4.to_bytes(2, "big") + packet)
        return [each for each in self.take() if each[0] != card]

    def take(self) -> list[tuple[str, bytes]]:
        """Everything that waits at the far ends."""
        return [(card, frame) for card, waiting in self.sockets.items() for frame in drained(waiting)]


def drained(waiting: socket.socket) -> Iterator[bytes]:
    waiting.setblocking(False)
    try:
        while True:
            frame, address = waiting.recvfrom(65536)
            if address[2] != socket.PACKET_OUTGOING and frame[12:14] == b"\x08\x00":
                yield frame[14:]
    except BlockingIOError:
        return


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    if why := missing():
        pytest.skip(why)
    remove()
    with ExitStack() as stack:
        stack.callback(remove)
        build_namespaces(("10.1.0.0/24",))
        run("ip", "-n", ENDS, "link", "add", "outside1", "type", "veth", "peer", "name", "out1", "netns", ROUTER)
        in_router("sysctl", "-qw", "net.ipv4.conf.out1.rp_filter=0")
        run("ip", "netns", "exec", ENDS, "sysctl", "-qw", "net.ipv6.conf.outside1.disable_ipv6=1")
        run("ip", "-n", ENDS, "link", "set", "outside1", "arp", "off", "up")
        for command in (
            "address add 198.18.3.1/24 dev out1",
            "link set out1 up",
            f"neigh add 198.18.3.2 lladdr {mac(ENDS, 'outside1').hex(':')} dev out1 nud permanent",
            f"neigh add 198.18.3.77 lladdr {mac(ENDS, 'outside1').hex(':')} dev out1 nud permanent",
            "rule add pref 100 lookup main suppress_prefixlength 0",
            f"rule add pref 200 fwmark {uplink_mark(1)} lookup 102",
            "route add default via 198.18.3.2 dev out1 table 102",
        ):
            in_router("ip", *command.split())
        cards = {INSIDE: ("inside0", "in0"), "outside": ("outside0", "out0"), "outside-2": ("outside1", "out1")}
        with inside_namespace(ENDS):
            sockets = {card: stack.enter_context(packet_socket(end)) for card, (end, _) in cards.items()}
        yield Bench(sockets, {card: (mac(ROUTER, port), mac(ENDS, end)) for card, (end, port) in cards.items()})


def udp(source: int, source_port: int, destination: int, port: int) -> bytes:
    segment = build.udp(source, destination, source_port, port, b"hello")
    return build.ipv4(source, destination, UDP, segment)


def ends(packet: bytes) -> tuple[int, int, int, int]:
    """Source, its port, destination, its port."""
    read = int.from_bytes
    return read(packet[12:16]), read(packet[20:22]), read(packet[16:20]), read(packet[22:24])


def link(network: str, gateway: str, *marks: int) -> Link:
    return Link(bytes(6), (ip_interface(network),), ((4, int(ip_address(gateway))),), frozenset(marks))


def engine_for(rules_: Ruleset) -> Engine:
    uplinks = Uplinks([link("198.18.2.1/24", "198.18.2.2"), link("198.18.3.1/24", "198.18.3.2", MARK)])
    return Engine(rules_, own=OWN_ADDRESSES, choose_uplink=uplinks.choose)


def load(bench: Bench, rules_: Ruleset) -> None:
    text = nftables_text(rules_, inside="in0", outside="out0", own=OWN_ADDRESSES, further={"out1": (MARK,)})
    KernelRouter(bench.sockets, bench.macs).load(text)


def decided(engine: Engine, side: str, packet: bytes, uplink: int = 0) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Where the engine's packet comes out, and as what."""
    decision = engine.decide(bytes(12) + IPV4.to_bytes(2, "big") + packet, side, monotonic(), uplink)
    if decision.action is not Action.ACCEPT:
        return []
    card = ("outside", "outside-2")[decision.uplink] if side == INSIDE else INSIDE
    return [(card, ends((decision.sent or bytes(14) + packet)[14:]))]


def seen(bench: Bench, card: str, packet: bytes) -> list[tuple[str, tuple[int, int, int, int]]]:
    return [(where, ends(found)) for where, found in bench.feed(card, packet)]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(drawn=rules, ports=st.lists(st.sampled_from(PORTS), min_size=1, max_size=4, unique=True))
def test_kernel_and_engine_choose_alike(
    bench: Bench, drawn: list[tuple[tuple[ServiceMatch, ...], Action | int]], ports: list[int]
) -> None:
    rules_ = ruleset(drawn)
    load(bench, rules_)
    engine = engine_for(rules_)
    for port in ports:
        for destination in (SERVER, NEIGHBOUR):
            asked = udp(USER, 40000 + port, destination, port)
            there = decided(engine, INSIDE, asked)
            assert seen(bench, INSIDE, asked) == there
            for card, (source, source_port, _, _) in there:
                answer = udp(destination, port, source, source_port)
                back = decided(engine, OUTSIDE, answer, ("outside", "outside-2").index(card))
                assert seen(bench, card, answer) == back
                assert len(back) == 1, "an answer to what was let out"
                again = udp(USER, 40000 + port, destination, port)
                assert seen(bench, INSIDE, again) == decided(engine, INSIDE, again) == there


@pytest.mark.parametrize(("card", "uplink"), [("outside", 0), ("outside-2", 1)])
def test_a_forwarded_port_is_answered_by_the_uplink_it_was_knocked_at(bench: Bench, card: str, uplink: int) -> None:
    rules_ = ruleset([])
    load(bench, rules_)
    engine = engine_for(rules_)
    knock = udp(SERVER, 5555, OWN[uplink], 9000)
    inwards = decided(engine, OUTSIDE, knock, uplink)
    assert seen(bench, card, knock) == inwards == [(INSIDE, (SERVER, 5555, USER, 9000))]
    answer = udp(USER, 9000, SERVER, 5555)
    assert seen(bench, INSIDE, answer) == decided(engine, INSIDE, answer) == [(card, (OWN[uplink], 9000, SERVER, 5555))]
