"""The packet that is shown: of the set, the same each time, and one that a station could send."""

from __future__ import annotations

from random import Random

import pytest

from tests.traffic.space.random_rules import overlapping_ruleset, small_world
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE
from vafw.traffic.rule import Selector, ServiceMatch
from vafw.traffic.space.layout import DESTINATION, SOURCE
from vafw.traffic.space.outcome import passing
from vafw.traffic.space.space import Space, new_space
from vafw.traffic.space.witness import witness


@pytest.fixture(scope="module")
def space() -> Space:
    return new_space()


def test_nothing_has_no_packet(space: Space) -> None:
    assert witness(space, space.nothing) is None


def test_of_everything_a_web_server_of_the_documentation_is_shown(space: Space) -> None:
    assert str(witness(space, space.everything)) == "tcp/1 from 198.51.100.1 (inside) to 203.0.113.1"


def test_of_one_packet_that_packet_is_shown(space: Space) -> None:
    for packet in small_world()[::7]:
        assert witness(space, space.packet(packet)) == packet


@pytest.mark.parametrize("seed", range(30))
def test_the_packet_that_is_shown_lies_in_the_set(space: Space, seed: int) -> None:
    passed = passing(space, overlapping_ruleset(Random(seed), 10)).may
    shown = witness(space, passed)
    assert shown is not None
    assert space.within(space.packet(shown), passed)
    assert witness(space, passed) == shown


def test_loopback_and_multicast_are_shown_only_where_there_is_nothing_else(space: Space) -> None:
    odd = AddressSet.from_texts(["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4"])
    mixed = odd.union(AddressSet.from_texts(["203.0.114.0/24"]))
    inside = space.side(INSIDE) & space.version(4)
    shown = witness(space, inside & space.addresses(SOURCE, mixed) & space.addresses(DESTINATION, odd))
    assert str(shown) == "tcp/1 from 203.0.114.1 (inside) to 0.0.0.1"


def test_a_range_of_ports_takes_as_many_nodes_as_it_has_bits(space: Space) -> None:
    wide = space.services((ServiceMatch(6, ((1025, 65534),)),))
    assert space.diagrams.size(wide) < 2 * 16 + 8 + 2


def test_a_zone_on_one_side_and_one_on_either_make_one_set(space: Space) -> None:
    everything = AddressSet.everything()
    only_inside = space.between((Selector(INSIDE, everything),), (Selector(None, everything),))
    assert only_inside == space.side(INSIDE)
