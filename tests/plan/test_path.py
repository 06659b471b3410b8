from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vafw.plan.path import Joint, shortest_way, ways_past, ways_round

USER, NIC, SPARE_NIC = "user-os", "nic", "nic-2"
INSIDE_OUT = ("dns", "ids", "firewall")
BESIDE = ("mirror", "console", "vpn")
VMS = (USER, *INSIDE_OUT, *BESIDE)
PATH_JOINTS = tuple(Joint(*ends) for ends in pairwise((USER, *INSIDE_OUT, NIC)))

links = st.lists(
    st.tuples(st.sampled_from(VMS), st.sampled_from(VMS)).map(lambda ends: Joint(*ends, "x", "y")), max_size=8
)
spare_owners = st.lists(st.sampled_from(VMS[1:]).map(lambda owner: Joint(owner, SPARE_NIC)), max_size=2)


def simple_ways(joints: tuple[Joint, ...], here: str, seen: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every way from `here` to a network function that comes to nothing twice, by trying all of them."""
    if here in (NIC, SPARE_NIC):
        yield seen
        return
    for joint in joints:
        step = joint.from_(here)
        if step is not None and step.vertex not in seen:
            yield from simple_ways(joints, step.vertex, (*seen, step.vertex))


def passes_all_in_order(way: tuple[str, ...]) -> bool:
    return tuple(vertex for vertex in way if vertex in INSIDE_OUT) == INSIDE_OUT


@given(links, spare_owners)
def test_a_way_round_is_found_exactly_where_trying_every_way_finds_one(extra: list[Joint], spare: list[Joint]) -> None:
    joints = (*PATH_JOINTS, *extra, *spare)
    exhaustive = any(not passes_all_in_order(way) for way in simple_ways(joints, USER, (USER,)))
    assert bool(ways_round(joints, USER, (NIC, SPARE_NIC), INSIDE_OUT)) == exhaustive


@given(links, spare_owners)
def test_every_way_that_is_found_is_a_way_and_misses_an_appliance(extra: list[Joint], spare: list[Joint]) -> None:
    joints = (*PATH_JOINTS, *extra, *spare)
    real = set(simple_ways(joints, USER, (USER,)))
    for way in ways_round(joints, USER, (NIC, SPARE_NIC), INSIDE_OUT):
        assert way.vertices in real
        assert not set(INSIDE_OUT) <= set(way.vertices)


@given(links, spare_owners, st.sampled_from(INSIDE_OUT))
def test_the_ways_past_an_appliance_are_all_that_miss_it(extra: list[Joint], spare: list[Joint], missed: str) -> None:
    joints = (*PATH_JOINTS, *extra, *spare)
    real = {way for way in simple_ways(joints, USER, (USER,)) if missed not in way}
    assert {way.vertices for way in ways_past(joints, USER, (NIC, SPARE_NIC), missed)} == real


@given(st.permutations(range(len(PATH_JOINTS))))
def test_the_path_alone_has_no_way_round(order: list[int]) -> None:
    assert ways_round([PATH_JOINTS[index] for index in order], USER, (NIC,), INSIDE_OUT) == ()


def test_a_way_is_written_with_the_ports_it_arrives_at() -> None:
    joints = (*PATH_JOINTS, Joint("mirror", USER, "feed", "spare"), Joint("firewall", "mirror", "tap", "capture"))
    (way,) = ways_round(joints, USER, (NIC,), INSIDE_OUT)
    assert str(way) == "user-os -> mirror.feed -> firewall.tap -> nic"


def test_of_two_ways_the_shorter_is_given() -> None:
    long = (Joint(USER, "vpn"), Joint("vpn", "console"), Joint("console", NIC))
    short = (Joint(USER, "mirror"), Joint("mirror", NIC))
    way = shortest_way((*long, *short), USER, (NIC,))
    assert way is not None
    assert way.vertices == (USER, "mirror", NIC)


def test_where_nothing_leads_to_the_wire_there_is_no_way() -> None:
    assert shortest_way(PATH_JOINTS, USER, (NIC,), avoiding=("ids",)) is None
