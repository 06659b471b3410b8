"""Policies of thousands of rules, each job beside its peer in the same run.

    python -m venv .venv-peers
    .venv-peers/bin/pip install -e . -r benchmarks/requirements.txt
    .venv-peers/bin/python benchmarks/policy.py [--rules N] [--rounds N] [--only ROW]

Peers have an environment of their own; one that is missing is said to be. Every figure is the median of interleaved
rounds; quote the ratios, never a single time.

    build      what passes, as diagrams, by OxiDD against CUDD (dd): the same rules and code       goal: 1.0 of CUDD
    question   "can any packet of S pass?": build and ask, against one query of z3                 goal: 1/50 of z3
    warm       the same question asked again
    compile    rules to nftables text, overlaps resolved, with shadow report, against aerleon      goal: 1/40
    process    the same from YAML to the end of the process, against aclgen                        goal: 1/6
    load       `nft -f` of our text against aerleon's, in a network namespace                      goal: 0.4
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

from vafw.traffic.address_set import AddressSet
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.rule import TCP, UDP, Action, Rule, Ruleset, Selector, ServiceMatch
from vafw.traffic.space.layout import VARIABLES
from vafw.traffic.space.outcome import passing
from vafw.traffic.space.scrutiny import scrutinise
from vafw.traffic.space.space import Space, new_space

ROOT = Path(__file__).parent.parent
LINE = "{:<10} {:>12} {:>12} {:>9}  {}"


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


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each, run in turn."""
    times = [[timed(work) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def shown(name: str, mine: float, peer: float | None, goal: str, missing: str = "") -> str:
    ratio = f"{mine / peer:.3g}" if peer else "-"
    return LINE.format(name, duration(mine), duration(peer) if peer else missing or "-", ratio, goal)


def duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.2f} us"


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def build_row(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    ruleset = ours(given)

    def build() -> object:
        return passing(new_space(rules=len(given)), ruleset).may

    if not has("dd"):
        yield shown("build", *interleaved(rounds, build), None, "1.0 of CUDD", "no dd")
        return
    from vafw.traffic.space.with_dd import DdDiagrams  # deferred: a peer

    mine, peer = interleaved(rounds, build, lambda: passing(Space(DdDiagrams(VARIABLES)), ruleset).may)
    yield shown("build", mine, peer, "1.0 of CUDD")


def question_rows(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    """One set of packets that some rules may let pass, asked of both."""
    ruleset = ours(given)
    asked = given[len(given) // 2]

    def ask() -> bool:
        space = new_space(rules=len(given))
        return space.is_empty(passing(space, ruleset).may & wanted(space))

    def wanted(space: Space) -> Any:
        rule = ours([asked]).rules[0]
        return space.between(rule.sources, rule.destinations) & space.services(rule.services)

    (mine,) = interleaved(rounds, ask)
    if has("z3"):
        began = time.perf_counter()
        answer = asked_of_z3(given, asked)
        peer: float | None = time.perf_counter() - began
        assert answer != ask(), "both give the same answer"
    else:
        peer = None
    yield shown("question", mine, peer, "1/50 of z3", "no z3")
    space = new_space(rules=len(given))
    passes, question = passing(space, ruleset).may, wanted(space)
    asked_again = timed(lambda: [space.is_empty(passes & question) for _ in range(1000)]) / 1000
    yield shown("warm", asked_again, peer, "", "no z3")


def asked_of_z3(given: Sequence[Flow], asked: Flow) -> bool:
    """Whether some packet of `asked` passes: the list as it would be written down for a solver."""
    import z3  # deferred: a peer

    source, destination, port, protocol = (
        z3.BitVec(name, bits) for name, bits in (("s", 32), ("d", 32), ("p", 16), ("t", 8))
    )

    def matches(flow: Flow) -> Any:
        ends = [
            z3.Extract(31, 32 - length, field) == address >> (32 - length)
            for field, (address, length) in ((source, flow.source), (destination, flow.destination))
        ]
        return z3.And(*ends, protocol == flow.protocol, z3.UGE(port, flow.ports[0]), z3.ULE(port, flow.ports[1]))

    passes: Any = z3.BoolVal(False)
    for flow in reversed(given):
        passes = z3.If(matches(flow), z3.BoolVal(flow.accept), passes)
    solver = z3.SolverFor("QF_BV")
    solver.add(matches(asked), passes)
    return solver.check() == z3.sat


def compile_row(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    ruleset = ours(given)

    def compile_() -> object:
        return scrutinise(ruleset), nftables_text(ruleset, inside="in0", outside="out0")

    if not has("aerleon"):
        yield shown("compile", *interleaved(rounds, compile_), None, "1/40 of aerleon", "no aerleon")
        return
    mine, peer = interleaved(rounds, compile_, lambda: aerleon_text(given))
    yield shown("compile", mine, peer, "1/40 of aerleon")


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


def process_row(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        mine = written_for_us(Path(folder) / "ours", given)
        works = [lambda: run([sys.executable, "-m", "vafw", "policy", "compile", str(mine)])]
        if has("aerleon"):
            theirs = written_for_aerleon(Path(folder) / "theirs", given)
            works.append(lambda: run([str(Path(sys.executable).parent / "aclgen"), *theirs]))
        found = interleaved(rounds, *works)
        yield shown("process", found[0], found[1] if len(found) > 1 else None, "1/6 of aclgen", "no aerleon")


def run(command: list[str]) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "appliances"), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})


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


def load_row(given: Sequence[Flow], rounds: int) -> Iterator[str]:
    if os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("unshare"):
        yield LINE.format("load", "-", "-", "-", "needs root, nft and unshare")
        return
    with tempfile.TemporaryDirectory() as folder:
        mine = Path(folder) / "mine.nft"
        mine.write_text(nftables_text(ours(given), inside="in0", outside="out0"))
        files = [mine]
        if has("aerleon"):
            files.append(Path(folder) / "theirs.nft")
            files[-1].write_text(aerleon_text(given))
        works = [lambda file=file: run(["unshare", "-n", "nft", "-f", str(file)]) for file in files]
        found = interleaved(rounds, *works)
        yield shown("load", found[0], found[1] if len(found) > 1 else None, "0.4 of aerleon", "no aerleon")


ROWS: dict[str, Callable[[Sequence[Flow], int], Iterator[str]]] = {
    "build": build_row,
    "question": question_rows,
    "compile": compile_row,
    "process": process_row,
    "load": load_row,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=ROWS, action="append", help="this row; may be given several times")
    given = parser.parse_args()
    rules = flows(given.rules)
    print(LINE.format("job", "vafw", "peer", "ratio", f"goal ({given.rules} rules)"))
    for name in given.only or ROWS:
        for line in ROWS[name](rules, given.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
