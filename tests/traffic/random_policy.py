"""Random policies over the hosts of `random_traffic`, with everything in them that a rule can say."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.traffic.kernel_router import MARKER_PORT
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.condition import DAYS, Limit, Schedule
from vafw.traffic.nat import Nat, PortForward
from vafw.traffic.packet import ICMP, ICMPV6, TCP, UDP, ServiceMatch
from vafw.traffic.rule import Action, Rule, Ruleset, Selector, State

EVERYTHING = AddressSet.everything()
MARKER = Rule(
    "marker",
    (Selector(None, EVERYTHING),),
    (Selector(None, EVERYTHING),),
    (ServiceMatch(UDP, ((MARKER_PORT, MARKER_PORT),)),),
    Action.ACCEPT,
)
"""What the router's markers need; first in every policy."""

ZONES = [
    EVERYTHING,
    *(
        AddressSet.from_texts(texts)
        for texts in (
            ["10.1.0.0/24", "2001:db8:1::/64"],
            ["10.1.0.2"],
            ["10.1.0.3-10.1.0.99", "2001:db8:1::3"],
            ["203.0.113.0/24", "2001:db8:ffff::/48"],
            ["203.0.113.5", "192.168.0.0/16", "fd00::/8"],
            ["2001:db8::/32"],
            ["0.0.0.0/0"],
        )
    ),
]
selectors = st.builds(Selector, st.sampled_from([None, None, INSIDE, OUTSIDE]), st.sampled_from(ZONES))
port_ranges = st.sampled_from([(22, 22), (53, 53), (80, 80), (443, 443), (1000, 9000), (0, 65535), (8080, 8080)])
services = st.one_of(
    st.builds(ServiceMatch, st.sampled_from([TCP, TCP, UDP]), st.lists(port_ranges, max_size=2).map(tuple)),
    st.builds(ServiceMatch, st.just(ICMP), st.just(()), st.sampled_from([(), (8,), (13,), (8, 13)])),
    st.builds(ServiceMatch, st.just(ICMPV6), st.just(()), st.sampled_from([(), (128,)])),
    st.builds(ServiceMatch, st.sampled_from([50, 47, 89])),
)
final_actions = st.sampled_from([Action.ACCEPT, Action.ACCEPT, Action.ACCEPT, Action.DROP, Action.REJECT])
states = st.sampled_from([(State.NEW,)] * 12 + [(State.NEW, State.ESTABLISHED), (State.ESTABLISHED,), (State.RELATED,)])
limits = st.sampled_from([None] * 8 + [Limit(2, "day", 3), Limit(1, "week", 1)])
"""Limits that gain nothing while a test lasts, so that no clock has to agree to the microsecond."""
schedules = st.sampled_from(
    [None] * 8
    + [Schedule(DAYS[:3]), Schedule(DAYS[3:]), Schedule(DAYS, 0, 43200), Schedule(DAYS, 43200, 86400)]
    + [Schedule(DAYS[at : at + 2], 75600, 75600 - 10800 * at) for at in range(6)]  # over midnight
)


@st.composite
def rules(draw: st.DrawFn, name: str) -> Rule:
    sources = tuple(draw(st.lists(selectors, min_size=1, max_size=2)))
    destinations = tuple(draw(st.lists(selectors, min_size=1, max_size=2)))
    wanted = tuple(draw(st.lists(services, max_size=2)))
    kind = draw(st.sampled_from(["final"] * 8 + ["log", "mark", "invalid"]))
    if kind == "invalid":
        return Rule(name, sources, destinations, wanted, Action.DROP, states=(State.INVALID,))
    if kind == "mark":
        return Rule(name, sources, destinations, wanted, Action.MARK, mark=7, states=draw(states))
    action = Action.LOG if kind == "log" else draw(final_actions)
    return Rule(
        name, sources, destinations, wanted, action,
        states=draw(states), limit=draw(limits), schedule=draw(schedules),
    )  # fmt: skip


@st.composite
def translations(draw: st.DrawFn) -> Nat:
    hidden = draw(st.sampled_from([AddressSet.nothing(), *ZONES[1:4], ZONES[6]]))
    forwards = [
        PortForward("ssh", TCP, (2222, 2222), 4, int.from_bytes(bytes([10, 1, 0, 2]), "big"), 22),
        PortForward("web", TCP, (80, 80), 4, int.from_bytes(bytes([10, 1, 0, 3]), "big"), 80),
        PortForward("names", UDP, (5300, 5310), 4, int.from_bytes(bytes([10, 1, 0, 77]), "big"), 53),
        PortForward("six", TCP, (8000, 8443), 6, 0x20010DB8000100000000000000000002, 8000),
    ]
    return Nat(hidden, tuple(draw(st.lists(st.sampled_from(forwards), max_size=3, unique=True))))


@st.composite
def policies(draw: st.DrawFn) -> Ruleset:
    count = draw(st.integers(0, 10))
    made = tuple(draw(rules(f"r{number}")) for number in range(count))
    inside = draw(st.sampled_from([None, None, ZONES[1]]))
    default = draw(st.sampled_from([Action.DROP, Action.REJECT]))
    nat = draw(st.one_of(st.just(Nat()), translations()))
    return Ruleset((MARKER, *made), default, inside, nat)
