"""The path as the header space sees it: each appliance between the wire and the user, with the rules it enforces."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface

from vafw.document.load import DocumentSet
from vafw.document.sections import VpnSection
from vafw.document.topology import Routing
from vafw.plan.roster import USER_OS, VmUse, by_name
from vafw.plan.rules import compile_rules
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nat import OwnAddresses
from vafw.traffic.proof import Proof
from vafw.traffic.reason import State
from vafw.traffic.rule import RULE_STATES, Action, Rule, Ruleset, Selector
from vafw.traffic.space.path import Hop


def path_hops(documents: DocumentSet) -> tuple[Hop, ...]:
    """The appliances of the path, from the wire inwards."""
    return hops_named(documents, documents.topology.model.path)


def hops_named(documents: DocumentSet, names: Sequence[str]) -> tuple[Hop, ...]:
    """Those of the names that are appliances, in the order given, as a packet from the wire would meet them."""
    uses = by_name(documents)
    ruleset = compile_rules(documents)
    return tuple(
        Hop(name, _enforced(documents, uses[name], ruleset), *_outer(uses[name]))
        for name in names
        if name in uses and name != USER_OS
    )


def _enforced(documents: DocumentSet, use: VmUse, ruleset: Ruleset) -> Ruleset | None:
    """What a hop decides by: the policy's rules, a VPN's kill switch, or nothing."""
    if use.enforces("traffic"):
        return ruleset
    section = documents.topology.model.appliances[use.name].vpn
    return kill_switch(section) if section is not None and use.enforces("vpn") else None


def kill_switch(section: VpnSection) -> Ruleset:
    """A tunnel as rules: packets to and from what lies behind a peer are carried, and no others are."""
    behind = AddressSet.of(network for peer in section.peers for network in peer.allowed)
    outward, inward = (Selector(INSIDE, AddressSet.everything()),), (Selector(OUTSIDE, behind),)
    anything = (Selector(None, AddressSet.everything()),)
    states = State.NEW, State.ESTABLISHED, State.RELATED
    return Ruleset(
        (
            Rule("(into the tunnel)", outward, (Selector(None, behind),), (), Action.ACCEPT, states=states),
            Rule("(out of the tunnel)", inward, anything, (), Action.ACCEPT, states=states),
            Rule("(kill switch)", anything, anything, (), Action.DROP, states=RULE_STATES),
        ),
        Action.DROP,
    )


def _outer(use: VmUse) -> tuple[dict[int, int], tuple[dict[int, int], ...]]:
    """The address of each IP version that a router hides others behind: its first one outside, of each uplink."""
    if use.router is None or not use.enforces("traffic"):
        return {}, ()
    own = own_addresses_of(use.router)
    return dict(own.outer), tuple(map(dict, own.further))


def own_addresses_of(routing: Routing) -> OwnAddresses:
    """What rules have to know of a router's addresses: the first outside of each family hides the others."""
    outer, *further = (
        _first_of_each_version(side) for side in (routing.outside, *(each.outside for each in routing.uplinks))
    )
    sides = (routing.outside, routing.inside, *(each.outside for each in routing.uplinks))
    own = frozenset((each.version, int(each)) for side in sides for each in side)
    return OwnAddresses(outer, own, tuple(further))


def _first_of_each_version(side: Sequence[IPv4Interface | IPv6Interface]) -> dict[int, int]:
    return {each.version: int(each) for each in reversed(side)}


def path_proof(documents: DocumentSet) -> Proof:
    """The path, to be asked questions."""
    return Proof(path_hops(documents))
