"""Which way to the wire a new connection takes, and which ways are up."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vafw.traffic.routed import Host, Link
from vafw.traffic.uplinks import GONE_AFTER_S, Uplinks


def host(text: str) -> Host:
    address = ip_address(text)
    return address.version, int(address)


def link(network: str, gateway: str | None, *marks: int) -> Link:
    gateways = (host(gateway),) if gateway else ()
    return Link(bytes(6), (ip_interface(network),), gateways, frozenset(marks))


FIRST = link("10.0.0.2/24", "10.0.0.1")
SECOND = link("10.1.0.2/24", "10.1.0.1", 7)
THIRD = link("10.2.0.2/24", "10.2.0.1", 8)
SIX = link("2001:db8:c::2/64", "2001:db8:c::1")
INTERNET = host("198.51.100.10")


def test_the_first_is_taken_unless_a_mark_leads_to_another() -> None:
    uplinks = Uplinks([FIRST, SECOND, THIRD])
    assert [uplinks.choose(INTERNET, mark) for mark in (0, 7, 8, 9)] == [0, 1, 2, 0]


def test_a_host_of_an_uplinks_own_network_is_reached_by_it_whatever_the_mark_and_though_it_is_down() -> None:
    uplinks = Uplinks([FIRST, SECOND])
    uplinks.begin(0.0)
    assert uplinks.gone(GONE_AFTER_S + 0.1) == (0, 1)
    assert uplinks.choose(host("10.1.0.77"), 0) == 1
    assert uplinks.choose(host("10.0.0.77"), 7) == 0


def test_an_uplink_without_an_address_of_the_family_is_passed_over() -> None:
    uplinks = Uplinks([FIRST, SIX])
    assert uplinks.choose(host("2001:db8:b::10"), 0) == 1
    assert uplinks.choose(INTERNET, 0) == 0


def test_the_next_one_stands_in_for_one_that_is_silent_until_it_speaks_again() -> None:
    uplinks = Uplinks([FIRST, SECOND])
    uplinks.begin(100.0)
    for now_s in (101.0, 102.0, 103.0, 104.0):
        uplinks.heard(1, host("10.1.0.1"), now_s)
    assert uplinks.gone(103.5) == ()
    assert uplinks.gone(103.6) == (0,)
    assert uplinks.gone(103.7) == (), "it is said once"
    assert uplinks.choose(INTERNET, 0) == 1
    assert uplinks.heard(0, host("10.0.0.1"), 110.0)
    assert not uplinks.heard(0, host("10.0.0.1"), 111.0), "that too"
    assert uplinks.choose(INTERNET, 0) == 0


def test_where_none_is_up_the_first_that_leads_there_is_tried() -> None:
    uplinks = Uplinks([FIRST, SECOND])
    uplinks.begin(0.0)
    uplinks.gone(60.0)
    assert uplinks.choose(INTERNET, 7) == 0


def test_a_neighbour_that_is_no_next_hop_keeps_no_uplink_up() -> None:
    uplinks = Uplinks([FIRST, SECOND])
    uplinks.begin(0.0)
    uplinks.heard(0, host("10.0.0.77"), 3.0)
    assert uplinks.gone(3.6) == (0, 1)


def test_an_uplink_without_a_next_hop_is_never_asked_and_stays_up() -> None:
    uplinks = Uplinks([FIRST, link("10.1.0.2/24", None)])
    uplinks.begin(0.0)
    assert list(uplinks.questions()) == [(0, host("10.0.0.1"))]
    assert uplinks.gone(60.0) == (0,)


@given(marks=st.lists(st.sets(st.integers(1, 4)), min_size=1, max_size=4), mark=st.integers(0, 5))
def test_the_choice_is_always_one_that_leads_there(marks: list[set[int]], mark: int) -> None:
    links = [link(f"10.{at}.0.2/24", f"10.{at}.0.1", *each) for at, each in enumerate(marks)]
    chosen = Uplinks(links).choose(INTERNET, mark)
    taking = [at for at, each in enumerate(marks) if mark in each]
    assert chosen == (taking[0] if taking else 0)


class Lives(RuleBasedStateMachine):
    """Next hops that answer when they like, beside a list of when each was last heard."""

    def __init__(self) -> None:
        super().__init__()
        self.links = [FIRST, SECOND, THIRD]
        self.uplinks = Uplinks(self.links)
        self.uplinks.begin(0.0)
        self.now_s = 0.0
        self.heard_s = [0.0, 0.0, 0.0]
        self.up = [True, True, True]

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 3.5, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        lost = [at for at in range(3) if self.up[at] and self.now_s - self.heard_s[at] > GONE_AFTER_S]
        assert list(self.uplinks.gone(self.now_s)) == lost
        for at in lost:
            self.up[at] = False

    @rule(at=st.integers(0, 2))
    def a_next_hop_answers(self, at: int) -> None:
        assert self.uplinks.heard(at, self.links[at].gateways[0], self.now_s) == (not self.up[at])
        self.heard_s[at], self.up[at] = self.now_s, True

    @invariant()
    def the_choice_is_the_first_that_is_up(self) -> None:
        for mark, preferred in ((0, None), (7, 1), (8, 2)):
            order = [each for each in (preferred, 0, 1, 2) if each is not None and self.up[each]]
            assert self.uplinks.choose(INTERNET, mark) == (order[0] if order else 0)


TestLives = Lives.TestCase
