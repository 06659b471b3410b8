"""Random lists of rules, and the same list in everyone's form: ours, nftables' through aerleon, z3's, and as documents.

Peers are imported where they are asked, so that one that is missing costs one row of `policy.py` and no more.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

from vafw.traffic.address_set import AddressSet
from vafw.traffic.rule import TCP, UDP, Action, Rule, Ruleset, Selector, ServiceMatch

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Flow:
    """One five-tuple rule, before anyone's own form."""

    source: tuple[int, int]
    destination: tuple[int, int]
    """Address and length of the prefix."""
    protocol: int
    ports: tuple[int, int]
    accept: bool


def flows(count: int) -> list[Flow]:
    """Rules as large lists have them: named objects used again, mostly specific, some wide, one in twenty covered."""
    random = Random(count)
    sources = [prefix(random, (16, 20, 24, 24, 32)) for _ in range(max(10, count // 4))]
    destinations = [prefix(random, (8, 16, 24, 32, 32)) for _ in range(max(10, count // 4))]
    services = [service(random) for _ in range(max(10, count // 25))]
    found: list[Flow] = []
    for _ in range(count):
        accept = random.random() < 0.6
        if found and random.random() < 0.05:
            found.append(replace(random.choice(found), accept=accept))
        else:
            ends = random.choice(sources), random.choice(destinations)
            found.append(Flow(*ends, *random.choice(services), accept))
    return found


def service(random: Random) -> tuple[int, tuple[int, int]]:
    low = random.choice((22, 53, 80, 443, random.randrange(1024, 65000)))
    ports = (low, min(low + random.choice((0, 0, 0, 1, 100, 1000)), 65535))
    return random.choice((TCP, TCP, UDP)), ports


def prefix(random: Random, lengths: Sequence[int]) -> tuple[int, int]:
    length = random.choice(lengths)
    return (random.randrange(1, 223) << 24 | random.getrandbits(24)) >> (32 - length) << (32 - length), length


def ours(given: Sequence[Flow]) -> Ruleset:
    def selector(end: tuple[int, int]) -> tuple[Selector]:
        return (Selector(None, AddressSet(((end[0], end[0] | (1 << 32 - end[1]) - 1),), ())),)

    return Ruleset(
        tuple(
            Rule(
                f"r{at}",
                selector(each.source),
                selector(each.destination),
                (ServiceMatch(each.protocol, (each.ports,)),),
                Action.ACCEPT if each.accept else Action.DROP,
            )
            for at, each in enumerate(given)
        ),
        Action.DROP,
    )


def asked_of_z3(given: Sequence[Flow], asked: Flow, *, sliced: bool) -> bool:
    """Whether some new packet of `asked` passes; one formula for the list, prefixes as ranges or as slices of bits."""
    import z3  # deferred: a peer

    source, destination, port, protocol = (
        z3.BitVec(name, bits) for name, bits in (("s", 32), ("d", 32), ("p", 16), ("t", 8))
    )

    def within(field: Any, low: int, high: int) -> Any:
        return z3.And(z3.UGE(field, low), z3.ULE(field, high))

    def network(field: Any, address: int, length: int) -> Any:
        if sliced:
            return z3.Extract(31, 32 - length, field) == address >> (32 - length)
        return within(field, address, address | (1 << 32 - length) - 1)

    def matches(flow: Flow) -> Any:
        what = protocol == flow.protocol if sliced else within(protocol, flow.protocol, flow.protocol)
        ends = network(source, *flow.source), network(destination, *flow.destination)
        return z3.And(*ends, what, within(port, *flow.ports))

    passes: Any = z3.BoolVal(False)
    for flow in reversed(given):
        passes = z3.If(matches(flow), z3.BoolVal(flow.accept), passes)
    solver = z3.SolverFor("QF_BV")
    solver.add(matches(asked), passes)
    return bool(solver.check() == z3.sat)


@dataclass(frozen=True)
class Named:
    """The objects of a list by name, as both documents define them."""

    ends: dict[tuple[int, int], str]
    services: dict[tuple[int, tuple[int, int]], str]

    @classmethod
    def of(cls, given: Sequence[Flow]) -> Named:
        ends = dict.fromkeys(end for each in given for end in (each.source, each.destination))
        services = dict.fromkeys((each.protocol, each.ports) for each in given)
        return cls(
            {end: f"n{at}" for at, end in enumerate(ends)}, {service: f"s{at}" for at, service in enumerate(services)}
        )


def written_ports(ports: tuple[int, int]) -> str:
    return f"{ports[0]}" if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def aerleon_policy(given: Sequence[Flow]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Definitions and policy in aerleon's words."""
    named = Named.of(given)
    networks = {
        name.upper(): {"values": [{"address": f"{ip_address(address)}/{length}"}]}
        for (address, length), name in named.ends.items()
    }
    services = {
        name.upper(): [{"protocol": "tcp" if protocol == TCP else "udp", "port": written_ports(ports)}]
        for (protocol, ports), name in named.services.items()
    }
    terms = [
        {
            "name": f"r{at}",
            "source-address": named.ends[each.source].upper(),
            "destination-address": named.ends[each.destination].upper(),
            "protocol": "tcp" if each.protocol == TCP else "udp",
            "destination-port": named.services[each.protocol, each.ports].upper(),
            "action": "accept" if each.accept else "deny",
        }
        for at, each in enumerate(given)
    ]
    header = {"targets": {"nftables": "inet forward"}}
    policy = {"filename": "big", "filters": [{"header": header, "terms": terms}]}
    return {"networks": networks, "services": services}, policy


def aerleon_text(given: Sequence[Flow]) -> str:
    from aerleon import api  # deferred: a peer
    from aerleon.lib import naming

    definitions, policy = aerleon_policy(given)
    names = naming.Naming()
    names.ParseDefinitionsObject(definitions, "")
    return str(next(iter(api.Generate([policy], names).values())))


def written_for_us(folder: Path, given: Sequence[Flow]) -> Path:
    """The shipped topology with these rules for its policy."""
    shutil.copytree(ROOT / "policies" / "office-laptop", folder)
    named = Named.of(given)
    zones = [f"    {name}: [{ip_address(address)}/{length}]" for (address, length), name in named.ends.items()]
    services = [
        f"    {name}: {{protocol: {'tcp' if protocol == TCP else 'udp'}, ports: [{written_ports(ports)}]}}"
        for (protocol, ports), name in named.services.items()
    ]
    rules = [
        f"    - {{name: r{at}, from: {named.ends[each.source]}, to: {named.ends[each.destination]}, "
        f"service: {named.services[each.protocol, each.ports]}, action: {'accept' if each.accept else 'drop'}}}"
        for at, each in enumerate(given)
    ]
    text = ["vafw: 1", "kind: policy", "name: big", "traffic:", "  default: drop", "  zones:", *zones]
    text += ["  services:", *services, "  rules:", *rules, ""]
    (folder / "policy.yaml").write_text("\n".join(text))
    return folder


def written_for_aerleon(folder: Path, given: Sequence[Flow]) -> list[str]:
    """Files for aclgen, and its arguments."""
    import yaml  # deferred: writes a peer's files

    definitions, policy = aerleon_policy(given)
    for name in ("def", "pol", "out"):
        (folder / name).mkdir(parents=True)
    (folder / "def" / "all.yaml").write_text(yaml.dump(definitions, Dumper=yaml.CSafeDumper))
    (folder / "pol" / "big.yaml").write_text(yaml.dump({"filters": policy["filters"]}, Dumper=yaml.CSafeDumper))
    return [
        "--base_directory", str(folder),
        "--definitions_directory", str(folder / "def"),
        "--output_directory", str(folder / "out"),
    ]  # fmt: skip
