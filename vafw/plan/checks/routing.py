"""Routers: only a firewall or VPN of the path is one, once, with addresses that both sides can use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from itertools import combinations
from typing import TypeAlias

from vafw.document.diagnostic import Diagnostic, Label
from vafw.document.load import DocumentSet
from vafw.document.topology import Routing
from vafw.plan.checks.place import span_at
from vafw.plan.roster import USER_OS, appliance_uses, gateway_of, user_os

Interface: TypeAlias = "IPv4Interface | IPv6Interface"


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to the wire, and where the topology says so."""

    outside: tuple[Interface, ...]
    gateway: tuple[str, ...]
    place: tuple[str | int, ...]


def _ways(routing: Routing, place: tuple[str | int, ...]) -> tuple[_Way, ...]:
    """The router's ways to the wire, the path's own first."""
    further = (_Way(each.outside, each.gateway, (*place, "uplinks", at)) for at, each in enumerate(routing.uplinks))
    return (_Way(routing.outside, routing.gateway, place), *further)


def _overlapping(one: Interface, others: tuple[Interface, ...]) -> Interface | None:
    """The first of the others whose network shares an address with that of `one`."""
    same = (each for each in others if each.version == one.version)
    return next((each for each in same if each.network.overlaps(one.network)), None)


def routers_are_of_the_path(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Only an appliance that enforces the rules or a tunnel may route, and one of the path alone."""
    router = gateway_of(documents)
    for use in appliance_uses(documents):
        if use.router is None or use.manifest is None or (router is not None and use.name == router.name):
            continue
        yield Diagnostic(
            "VAFW-T080",
            f"a router must be the one firewall or VPN of the path that routes, and '{use.name}' is not",
            documents.topology.key_at(*use.place, "router"),
            related=(Label(span_at(documents.topology, "path"), "the path"),),
            hint="take router: out; other appliances pass frames on as they are",
        )


def routers_have_next_hops(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A gateway outside lies in one of the networks outside, and the user's gateway is the router."""
    router = gateway_of(documents)
    if router is None or router.router is None:
        return
    routing, place = router.router, (*router.place, "router")
    for way in _ways(router.router, place):
        for index, text in enumerate(way.gateway):
            if not any(ip_address(text) in each.network for each in way.outside):
                yield Diagnostic(
                    "VAFW-T081",
                    f"a gateway outside must lie in a network outside, and {text} does not",
                    span_at(documents.topology, *way.place, "gateway", index),
                    related=(Label(span_at(documents.topology, *way.place, "outside"), "the networks outside"),),
                    hint="name the router of the network that the wire leads to",
                )
    own = {str(each.ip) for each in routing.inside}
    for index, text in enumerate(documents.topology.model.user_os.gateway):
        if text not in own:
            yield Diagnostic(
                "VAFW-T082",
                f"the user's gateway must be the router's address inside, and {text} is not",
                span_at(documents.topology, USER_OS, "gateway", index),
                related=(Label(span_at(documents.topology, *place, "inside"), "its addresses inside"),),
                hint=f"write {', '.join(sorted(own))}" if own else "give the router an address inside",
            )


def routed_networks_are_apart(documents: DocumentSet) -> Iterator[Diagnostic]:
    """The networks of both sides share no address, and the user lives in one of the inside."""
    router = gateway_of(documents)
    if router is None or router.router is None:
        return
    routing, place = router.router, (*router.place, "router")
    ways = _ways(routing, place)
    for index, inner in enumerate(routing.inside):
        for way in ways:
            if (outer := _overlapping(inner, way.outside)) is not None:
                yield Diagnostic(
                    "VAFW-T083",
                    f"the networks of both sides must share no address, and {inner.network} and {outer.network} do",
                    span_at(documents.topology, *place, "inside", index),
                    related=(Label(span_at(documents.topology, *way.place, "outside"), "the networks outside"),),
                    hint="number the inside from another range, such as 192.168.77.0/24",
                )
    for one, other in combinations(ways, 2):
        for index, interface in enumerate(other.outside):
            if (outer := _overlapping(interface, one.outside)) is not None:
                yield Diagnostic(
                    "VAFW-T083",
                    f"the networks of two uplinks must share no address, and {interface.network} and {outer.network} "
                    "do",
                    span_at(documents.topology, *other.place, "outside", index),
                    "nobody could say by which of them a host there is reached",
                    related=(Label(span_at(documents.topology, *one.place, "outside"), "the networks of the other"),),
                    hint="have one of the two boxes number its network anew",
                )
    for index, interface in enumerate(user_os(documents).addresses):
        if not any(interface.ip in each.network for each in routing.inside):
            yield Diagnostic(
                "VAFW-T083",
                f"the user OS must live in a network of the inside, and {interface.ip} does not",
                span_at(documents.topology, USER_OS, "addresses", index),
                related=(Label(span_at(documents.topology, *place, "inside"), "the networks inside"),),
                hint="give it an address of the router's network inside",
            )
