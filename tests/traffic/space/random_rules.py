"""Random rules: over a world small enough to be walked through, and over the real one, overlapping as people's do."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from random import Random

from vafw.traffic.address_set import AddressSet, Ranges, normalise
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.condition import Limit
from vafw.traffic.reason import State
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP, Action, Packet, Rule, Ruleset, Selector, ServiceMatch

ADDRESSES = 3
SERVICES = [(TCP, 0, 0), (TCP, 1, 0), (TCP, 2, 0), (UDP, 1, 0), (ICMP, 0, 8), (ICMPV6, 0, 128), (47, 0, 0)]
STATES = (State.NEW, State.ESTABLISHED, State.INVALID)
FINAL = (Action.ACCEPT, Action.DROP, Action.REJECT)


@cache
def small_world() -> tuple[Packet, ...]:
    """Every packet of the small world."""
    return tuple(
        Packet(side, version, source, destination, *service, vlan, state)
        for side, version, source, destination, service, vlan, state in product(
            (INSIDE, OUTSIDE), (4, 6), range(ADDRESSES), range(ADDRESSES), SERVICES, (0, 7), STATES
        )
        if service[0] != (ICMPV6 if version == 4 else ICMP)
    )


def small_ruleset(random: Random) -> Ruleset:
    """A few rules that speak of the small world."""
    rules = tuple(small_rule(random, f"r{number}") for number in range(random.randrange(6)))
    inside = None if random.random() < 0.7 else _small_addresses(random)
    return Ruleset(rules, random.choice((Action.DROP, Action.REJECT)), inside)


def small_rule(random: Random, name: str) -> Rule:
    """A rule of any kind."""
    states = tuple(each for each in STATES if random.random() < 0.3) or (State.NEW,)
    action = random.choice((*FINAL, Action.ACCEPT, Action.LOG))
    if State.INVALID in states and action in (Action.ACCEPT, Action.REJECT):
        action = Action.DROP
    return Rule(
        name,
        _small_selectors(random),
        _small_selectors(random),
        tuple(_small_service(random) for _ in range(random.choice((0, 0, 1, 2)))),
        action,
        states=states,
        limit=Limit(1, "second") if random.random() < 0.1 else None,
        vlans=((7, 7),) if random.random() < 0.1 else (),
    )


def _small_selectors(random: Random) -> tuple[Selector, ...]:
    return tuple(
        Selector(
            random.choice((None, None, INSIDE, OUTSIDE)),
            _small_addresses(random),
            ("a.example",) if random.random() < 0.1 else (),
        )
        for _ in range(random.choice((1, 1, 2)))
    )


def _small_addresses(random: Random) -> AddressSet:
    return AddressSet(_small_ranges(random), _small_ranges(random))


def _small_ranges(random: Random) -> Ranges:
    ends = [sorted((random.randrange(ADDRESSES), random.randrange(ADDRESSES))) for _ in range(random.choice((0, 1, 1)))]
    return normalise((low, high) for low, high in ends)


def _small_service(random: Random) -> ServiceMatch:
    low, high = sorted((random.randrange(3), random.randrange(3)))
    return random.choice(
        (
            ServiceMatch(TCP, ((low, high),)),
            ServiceMatch(UDP, ((low, high),)),
            ServiceMatch(ICMP, icmp_types=random.choice(((), (8,)))),
            ServiceMatch(ICMPV6),
            ServiceMatch(47),
        )
    )


def overlapping_ruleset(random: Random, rules: int) -> Ruleset:
    """Rules over real addresses: nested prefixes, odd ranges, anything; many of them overlap."""
    prefixes = [_network(random) for _ in range(max(2, rules // 4))]
    return Ruleset(
        tuple(
            Rule(
                f"r{number}",
                (Selector(random.choice((None, INSIDE)), _within(random, random.choice(prefixes))),),
                (Selector(None, _within(random, random.choice(prefixes))),),
                tuple(_service(random) for _ in range(random.choice((0, 1, 1, 2)))),
                random.choice(FINAL),
            )
            for number in range(rules)
        ),
        Action.DROP,
    )


def boxes_ruleset(random: Random, rules: int, inside: AddressSet | None) -> Ruleset:
    """Rules of one network, to one network, with one stretch of ports, most of them, from few that nest and cross."""
    made = tuple(_box_rule(random, f"r{number}") for number in range(rules))
    return Ruleset(made, random.choice((Action.DROP, Action.REJECT)), inside)


def _box_rule(random: Random, name: str) -> Rule:
    source, destination = (AddressSet.from_texts([each]) for each in random.choices(random.choice(_NESTED), k=2))
    return Rule(
        name,
        (Selector(random.choice((*[None] * 8, INSIDE)), source),),
        (Selector(None, destination),),
        tuple(
            ServiceMatch(random.choice((TCP, UDP)), (random.choice(_PORTS),))
            for _ in range(random.choice((1, 1, 1, 2)))
        ),
        random.choice((*FINAL, Action.ACCEPT, Action.LOG)),
        random.random() < 0.1,
        limit=Limit(1, "second") if random.random() < 0.05 else None,
    )


_PORTS = ((80, 80), (443, 443), (0, 65535), (22, 500), (100, 443))
_NESTED = (
    ("10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "10.1.2.0-10.1.9.9", "192.0.2.0/24", "0.0.0.0/0"),
    ("10.1.5.0-10.200.0.0", "10.1.9.9-10.2.0.0", "10.0.0.0/8", "10.1.5.6"),
    ("fd00::/8", "fd00::-fd00::ffff", "fd00::8000-fd00::1:0", "::/0"),
)


def without_conditions(ruleset: Ruleset) -> Ruleset:
    """The ruleset whose rules hold at all times."""
    return replace(ruleset, rules=tuple(replace(rule, limit=None) for rule in ruleset.rules))


def _network(random: Random) -> tuple[int, int, int]:
    version = random.choice((4, 4, 6))
    bits = 32 if version == 4 else 128
    length = random.choice((8, 16, 20)) if version == 4 else random.choice((32, 48))
    return version, random.getrandbits(length) << (bits - length), bits - length


def _within(random: Random, network: tuple[int, int, int]) -> AddressSet:
    version, base, free = network
    kind = random.random()
    if kind < 0.15:
        return AddressSet.everything()
    if kind < 0.6:
        left = random.randrange(free + 1)
        low = base + (random.getrandbits(free) >> left << left)
        span = (low, low + (1 << left) - 1)
    else:
        ends = sorted((random.getrandbits(free), random.getrandbits(free)))
        span = (base + ends[0], base + ends[1])
    return AddressSet((span,), ()) if version == 4 else AddressSet((), (span,))


def _service(random: Random) -> ServiceMatch:
    low = random.choice((22, 53, 80, 443, 1024, random.randrange(65536)))
    high = random.choice((low, low, min(low + 100, 65535), 65535))
    if random.random() < 0.1:
        return ServiceMatch(*random.choice(((ICMP, (), (8,)), (ICMPV6, (), (128,)), (47,))))
    return ServiceMatch(random.choice((TCP, TCP, UDP)), ((low, high),))
