"""A world small enough to be walked through: a few addresses, ports and protocols, and random rulesets over them."""

from __future__ import annotations

from itertools import product

from hypothesis import strategies as st

from vafw.traffic.address_set import AddressSet, normalise
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP, Action, Packet, Rule, Ruleset, Selector, ServiceMatch

SPACE = 6
ACTIONS = (Action.ACCEPT, Action.DROP, Action.REJECT, Action.LOG)
ADDRESSES = AddressSet(((0, SPACE - 1),), ((0, SPACE - 1),))
SERVICES = [
    *((protocol, port, 0) for protocol in (TCP, UDP) for port in (0, 1, 2, 3)),
    (ICMP, 0, 8), (ICMP, 0, 13), (ICMPV6, 0, 128), (ICMPV6, 0, 139), (47, 0, 0),
]  # fmt: skip
PACKETS = [
    Packet(side, version, source, destination, *service)
    for side, version, source, destination, service in product(
        (INSIDE, OUTSIDE), (4, 6), range(SPACE), range(SPACE), SERVICES
    )
    if service[0] != (ICMPV6 if version == 4 else ICMP)
]

spans = st.tuples(st.integers(0, SPACE - 1), st.integers(0, SPACE - 1)).map(lambda each: (min(each), max(each)))
address_sets = st.builds(
    lambda v4, v6: AddressSet(normalise(v4), normalise(v6)), st.lists(spans, max_size=2), st.lists(spans, max_size=2)
)
selectors = st.builds(Selector, st.sampled_from([None, INSIDE, OUTSIDE]), address_sets)
ports = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda each: (min(each), max(each))), max_size=2)
services = st.one_of(
    st.builds(ServiceMatch, st.sampled_from([TCP, UDP]), ports.map(tuple)),
    st.builds(ServiceMatch, st.just(ICMP), st.just(()), st.sampled_from([(), (8,), (13,)])),
    st.builds(ServiceMatch, st.just(ICMPV6), st.just(()), st.sampled_from([(), (128,), (139,)])),
    st.builds(ServiceMatch, st.just(47)),
)
few_selectors = st.lists(selectors, min_size=1, max_size=2).map(tuple)
few_services = st.lists(services, max_size=2).map(tuple)


@st.composite
def rulesets(draw: st.DrawFn) -> Ruleset:
    rules = [
        Rule(f"r{number}", draw(few_selectors), draw(few_selectors), draw(few_services), draw(st.sampled_from(ACTIONS)))
        for number in range(draw(st.integers(0, 4)))
    ]
    inside = draw(st.one_of(st.none(), address_sets))
    return Ruleset(tuple(rules), draw(st.sampled_from([Action.DROP, Action.REJECT])), inside)
