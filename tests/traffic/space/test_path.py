"""What passes a path with translation, against leading every packet of a small world through it one by one."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from tests.traffic.space.random_rules import small_ruleset, small_world, without_conditions
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nat import Nat, PortForward
from vafw.traffic.reason import State
from vafw.traffic.rule import TCP, Action, Packet, Rule, Ruleset, Selector
from vafw.traffic.space.path import Hop, inner_view, outer_view, path_passing
from vafw.traffic.space.space import Space, new_space

ROUTER = {4: 2, 6: 2}
"""The router's outer address in the small world."""
NAT = Nat(
    AddressSet(((0, 1),), ((1, 1),)),
    (PortForward("web", TCP, (1, 2), 4, 0, 1), PortForward("six", TCP, (2, 2), 6, 1, 0 + 1)),
)
ANY = (Selector(None, AddressSet.everything()),)
WORLD = tuple(
    each
    for each in small_world()
    if each.state is State.NEW and each.vlan == 0 and not (each.side == OUTSIDE and each.destination == 2)
)
"""Packets as the user's side sees them; what is for the router itself passes to nobody."""


@pytest.fixture(scope="module")
def space() -> Space:
    return new_space()


def plain(ruleset: Ruleset) -> Ruleset:
    """The rules without those that hold at times only."""
    ruleset = without_conditions(ruleset)
    return replace(ruleset, rules=tuple(each for each in ruleset.rules if not each.is_conditional))


def accepts(ruleset: Ruleset, packet: Packet) -> bool:
    if packet.side == INSIDE and ruleset.inside and not ruleset.inside.contains(packet.version, packet.source):
        return False
    rule = ruleset.first_match(packet)
    return (rule.action if rule else ruleset.default) is Action.ACCEPT


def passes(inner: Ruleset, router: Ruleset, outer: Ruleset, packet: Packet) -> set[bool]:
    """Whether a packet gets through; one from outside comes by a port of the router that leads there, or as it is."""
    if not (accepts(inner, packet) and accepts(router, packet)):
        return {False}
    forms = {by_hand(packet)} if packet.side == INSIDE else {by_hand(packet), packet}
    return {accepts(outer, each) for each in forms}


def by_hand(packet: Packet) -> Packet:
    """The packet on the outer side of the router, from the definition of the translation."""
    if packet.side == INSIDE:
        return replace(packet, source=2) if NAT.masquerade.contains(packet.version, packet.source) else packet
    for port in range(4):
        if NAT.forwarded(packet.version, packet.protocol, port) == (packet.destination, packet.port):
            return replace(packet, destination=2, port=port)
    return packet


@pytest.mark.parametrize("seed", range(40))
def test_a_path_passes_what_every_hop_passes_after_translation(space: Space, seed: int) -> None:
    random = Random(seed)
    inner, router, outer = (plain(small_ruleset(random)) for _ in range(3))
    if seed % 4:  # else hardly anything reaches the hop before the router
        inner = router = Ruleset((Rule("all", ANY, ANY, (), Action.ACCEPT),), Action.DROP)
    router, outer = replace(router, nat=NAT), replace(outer, inside=None)
    hops = [Hop("outer", outer), Hop("ids"), Hop("router", router, ROUTER), Hop("inner", inner)]
    found = path_passing(space, hops)
    led = [(space.packet(each), passes(inner, router, outer, each)) for each in WORLD]
    world = space.union([each for each, _ in led])
    assert found.may & world == space.union([each for each, passed in led if True in passed])
    assert found.surely & world == space.union([each for each, passed in led if passed == {True}])


@pytest.mark.parametrize("packet", WORLD[::5], ids=str)
def test_a_packet_on_the_wire_is_the_one_that_the_translation_makes(packet: Packet) -> None:
    hops = [Hop("router", replace(Ruleset((), Action.DROP), nat=NAT), ROUTER), Hop("inner")]
    assert outer_view(hops, packet) == by_hand(packet)
    back = inner_view(hops, outer_view(hops, packet))
    assert packet.side == INSIDE or back == packet


def test_a_path_without_rules_passes_everything(space: Space) -> None:
    assert path_passing(space, [Hop("ids"), Hop("dns")]).surely == space.packets


def test_a_rule_about_the_hidden_source_beyond_a_router_matches_nothing_from_inside(space: Space) -> None:
    inner = AddressSet(((0, 1),), ())
    hidden = Ruleset((Rule("them", (Selector(INSIDE, inner),), ANY, (), Action.ACCEPT),), Action.DROP)
    everything = Ruleset((Rule("all", ANY, ANY, (), Action.ACCEPT),), Action.DROP, nat=NAT)
    hops = [Hop("outer", hidden), Hop("router", everything, ROUTER)]
    from_them = space.side(INSIDE) & space.between((Selector(None, inner),), ANY) & space.states([State.NEW])
    assert space.is_empty(path_passing(space, hops).may & from_them)
