"""A policy's traffic part as a `Ruleset`: zones become selectors, service names become ports.

Nothing is guessed: a name that means nothing is a diagnostic of `checks.rules`; compiling documents that have not been
checked ends in a KeyError. What `internet` is stands in `special_purpose`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from vafw.document.load import DocumentSet
from vafw.document.traffic import PacketPattern, PortForwarding, ServiceDefinition, TimeWindow, Translation
from vafw.plan.roster import USER_OS, VmUse, appliance_uses, proxies_of, user_os
from vafw.plan.special_purpose import NAMEABLE, PUBLIC
from vafw.traffic.address_set import AddressSet, normalise
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.condition import Limit, Schedule, parse_time
from vafw.traffic.host_name import name_pattern
from vafw.traffic.nat import Nat, PortForward
from vafw.traffic.packet import ICMP, ICMPV6, TCP, UDP, UNTAGGED, ServiceMatch
from vafw.traffic.proof import Pattern
from vafw.traffic.reason import State
from vafw.traffic.rule import RULE_STATES, Action, Rule, Ruleset, Selector
from vafw.traffic.services import SERVICES

RFC1918: Final = AddressSet.of(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""Address Allocation for Private Internets, section 3."""
PROTOCOLS: Final = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmpv6": ICMPV6}


def zones(documents: DocumentSet) -> Mapping[str, tuple[Selector, ...]]:
    """Every zone that a rule of this policy may name.

    An appliance that declares no address is none: a rule that names it would match everything or nothing. A proxy is
    on the user's side, as the user is; the addresses of others may be those of a server that they only guard.
    """
    appliances = {
        use.name: (Selector(INSIDE if use.enforces("proxy") else None, own_addresses(use)),)
        for use in appliance_uses(documents)
        if use.addresses
    }
    user = user_os(documents)
    return {
        **{name: own_zone(members) for name, members in documents.policy.model.traffic.zones.items()},
        **appliances,
        "any": (Selector(None, AddressSet.everything()),),
        USER_OS: (Selector(INSIDE, own_addresses(user) if user.addresses else AddressSet.everything()),),
        "internet": (Selector(OUTSIDE, PUBLIC),),
        "rfc1918": (Selector(None, RFC1918),),
    }


def own_zone(members: Iterable[str]) -> tuple[Selector, ...]:
    """What a policy's own zone means: its networks and ranges, and its host names."""
    return _own_zone(tuple(members))


@lru_cache(maxsize=1 << 14)  # every check and the compiler ask for all zones of a policy
def _own_zone(members: tuple[str, ...]) -> tuple[Selector, ...]:
    names = tuple(each for each in members if is_host_name(each))
    networks = AddressSet.from_texts(each for each in members if not is_host_name(each))
    literal = (Selector(None, networks),) if not networks.is_empty or not names else ()
    return (*literal, named(names)) if names else literal


def named(names: tuple[str, ...]) -> Selector:
    """Whatever these host names stand for, outside and no address of a local network: answers are not to be trusted."""
    return Selector(OUTSIDE, NAMEABLE, names)


def is_host_name(text: str) -> bool:
    """Whether a zone's member, or what stands for a zone in a rule, is a host name."""
    try:
        name_pattern(text)
    except ValueError:
        return False
    return True


def own_addresses(use: VmUse) -> AddressSet:
    """The addresses that a VM speaks for, without the networks they lie in."""
    return AddressSet.of(ip_network(each.ip) for each in use.addresses)


def services(documents: DocumentSet) -> Mapping[str, tuple[ServiceMatch, ...]]:
    """Every service that a rule may name: the shipped ones, and the policy's own, which take their place."""
    own = documents.policy.model.traffic.services
    return {**SERVICES, **{name: (service_match(each),) for name, each in own.items()}}


def service_match(service: ServiceDefinition) -> ServiceMatch:
    """The packets that a policy's own service means."""
    return ServiceMatch(PROTOCOLS[service.protocol], tuple(map(port_range, service.ports)), service.types)


def port_range(port: str | int) -> tuple[int, int]:
    """Both ends of ``443`` or ``8000-8080``, inclusive."""
    low, _, high = str(port).partition("-")
    return int(low), int(high or low)


def compile_rules(documents: DocumentSet) -> Ruleset:
    """The rules that a firewall of this topology enforces; KeyError where a name stands for nothing."""
    traffic = documents.policy.model.traffic
    known_zones, known_services = zones(documents), services(documents)
    user = user_os(documents)
    return Ruleset(
        tuple(
            Rule(
                name=rule.name,
                sources=selectors(rule.from_, known_zones),
                destinations=selectors(rule.to, known_zones),
                services=matches(rule.service, known_services),
                action=Action(rule.action),
                log=rule.log,
                states=_in_order(rule.state),
                limit=None if rule.limit is None else Limit.parse(rule.limit),
                schedule=None if rule.when is None else schedule(rule.when),
                vlans=normalise(map(vlan_range, rule.vlan)),
                mark=rule.mark,
            )
            for rule in traffic.rules
        ),
        Action(traffic.default),
        inside=_inside(documents) if user.addresses else None,
        nat=translation(traffic.nat, known_zones),
        offload=traffic.offload,
    )


@lru_cache(maxsize=64)
def _in_order(states: tuple[str, ...]) -> tuple[State, ...]:
    return tuple(state for state in RULE_STATES if state in states)


def _inside(documents: DocumentSet) -> AddressSet:
    """Who may send from the inside: the user, and every proxy, which lets nobody else send from its addresses."""
    allowed = own_addresses(user_os(documents))
    for proxy in proxies_of(documents):
        allowed = allowed.union(own_addresses(proxy))
    return allowed


def schedule(window: TimeWindow) -> Schedule:
    """A rule's window of time."""
    return Schedule(window.days, parse_time(window.from_), parse_time(window.until))


def vlan_range(vlan: str | int) -> tuple[int, int]:
    """Both ends of ``10`` or ``10-19``, inclusive; 0 for ``untagged``."""
    return (UNTAGGED, UNTAGGED) if vlan == "untagged" else port_range(vlan)


def translation(nat: Translation, known: Mapping[str, tuple[Selector, ...]]) -> Nat:
    """The policy's address translation."""
    hidden = AddressSet.nothing()
    for selector in selectors(nat.masquerade, known):
        hidden = hidden.union(selector.addresses)
    return Nat(hidden, tuple(map(port_forward, nat.forward)))


def port_forward(forwarding: PortForwarding) -> PortForward:
    """One port forward."""
    host, ports = ip_address(forwarding.to), port_range(forwarding.port)
    to_port = forwarding.to_port or ports[0]
    return PortForward(forwarding.name, PROTOCOLS[forwarding.protocol], ports, host.version, int(host), to_port)


def compile_pattern(documents: DocumentSet, pattern: PacketPattern) -> Pattern:
    """The packets that a proof speaks of; KeyError where a name stands for nothing."""
    known = zones(documents)
    return Pattern(
        selectors(pattern.from_, known),
        selectors(pattern.to, known),
        matches(pattern.service, services(documents)),
        tuple(State(each) for each in pattern.state),
    )


def selectors(names: Iterable[str], known: Mapping[str, tuple[Selector, ...]]) -> tuple[Selector, ...]:
    """The zones of these names; a host name is one of its own."""
    names = tuple(names)
    if len(names) == 1 and names[0] in known:  # nearly always
        return known[names[0]]
    return tuple(
        each for name in names for each in (known[name] if name in known or "." not in name else (named((name,)),))
    )


def matches(names: Iterable[str], known: Mapping[str, tuple[ServiceMatch, ...]]) -> tuple[ServiceMatch, ...]:
    """The packets of all these services."""
    return tuple(match for name in names for match in known[name])
