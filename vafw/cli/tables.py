"""A snapshot as tables for a person; the same for a running machine, a finished one and a refused one.

What a run does not have is left out: a refused one is a closed gate and its story, not a row of empty tables.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.box import Box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vafw.cli.marks import mark
from vafw.cli.output import columns, fitted
from vafw.cli.story import refusal

_RULE: Final = Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
"""A line below the head and nothing else."""
_NUMERIC: Final = {"memory", "vCPUs", "exits", "packets", "bytes", "frames in", "frames out", "undelivered", "tried"}
_WIDTH_ELSEWHERE: Final = 130
"""Columns where standard output is no terminal."""
_WIDE: Final = 110
"""Columns from which a table may have one more column."""
_BESIDE_INSTANCE: Final = 76
"""Columns that the table of isolation checks needs without its last column."""
_FLOWS_SHOWN: Final = 10
_REQUESTS_SHOWN: Final = 10

Json = Mapping[str, Any]


def print_snapshot(snapshot: Json, *, attestation_only: bool = False) -> None:
    """Print every table that the snapshot has something for, on standard output."""
    width = columns(sys.stdout, _WIDTH_ELSEWHERE)
    console = Console(highlight=False, width=width)
    with console.capture() as captured:
        for part in _appraisal(snapshot, width) if attestation_only else parts(snapshot, width):
            console.print(part)
    for line in captured.get().splitlines():
        print(line.rstrip())


def parts(snapshot: Json, width: int = _WIDTH_ELSEWHERE) -> Iterable[RenderableType]:
    """Every table that the snapshot has something for, made for so many columns."""
    yield _headline(snapshot)
    if snapshot["gate"] and not snapshot["gate"]["open"]:
        yield _gate(snapshot, width)
        if snapshot["phase"] == "refused":
            return
    else:
        yield from _attestation(snapshot, width)
    yield _vms(snapshot)
    if snapshot["assignments"]:
        yield _assignments(snapshot)
    if snapshot["links"]:
        yield _path(snapshot)
    yield from _traffic(snapshot)
    if snapshot["isolation"]:
        yield _isolation(snapshot, width)


def word(state: str) -> Text:
    """A state as symbol, word and colour."""
    symbol, style = mark(state)
    return Text(f"{symbol} {state}", style)


def _headline(snapshot: Json) -> RenderableType:
    times = f"since {_time(snapshot['since'])}" + (f" until {_time(snapshot['ended'])}" if snapshot["ended"] else "")
    line = Text.assemble("\n", word(snapshot["phase"]), "  ", (snapshot["name"], "bold"), f"  {times}")
    told = not snapshot["reason"] or (snapshot["gate"] and snapshot["gate"]["reason"] == snapshot["reason"])
    return line if told else Group(line, Text(f"  {snapshot['reason']}", "red"))


def _time(moment: str) -> str:
    """The time of day of an ISO 8601 date in UTC."""
    return f"{moment[11:19]} UTC"


def plain_table(title: str, *heads: str) -> Table:
    """An empty table with a rule below its head and nothing else drawn."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=_RULE, show_edge=False, pad_edge=False, expand=False
    )
    for head in heads:
        numeric = head in _NUMERIC
        table.add_column(head, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    return table


def _below(table: Table) -> RenderableType:
    """A table with a blank line above it."""
    return Group(Text(), table)


def _attestation(snapshot: Json, width: int) -> Iterable[RenderableType]:
    """Measurements, and one line for an attestation that went well."""
    attestation = snapshot["attestation"]
    if not attestation:
        return
    yield _below(_measurements(attestation))
    claims = attestation["claims"]
    names = ", ".join(each["name"] for each in claims)
    title = f"Attestation ({attestation['root-of-trust']})  "
    yield Text.assemble("\n", (title, "bold"), word(attestation["tier"]), f": {names}")
    yield _gate(snapshot, width)


def _measurements(attestation: Json) -> Table:
    table = plain_table("Measurements", "PCR", "SHA-256")
    for index, value in attestation["pcrs"].items():
        table.add_row(index, value)
    return table


def _appraisal(snapshot: Json, width: int) -> Iterable[RenderableType]:
    """An attestation claim by claim, and the gate where there is one."""
    attestation = snapshot["attestation"]
    if attestation:
        yield _measurements(attestation)
        claims = plain_table(f"Attestation ({attestation['root-of-trust']})", "claim", "tier", "reason")
        for claim in attestation["claims"]:
            claims.add_row(claim["name"], word(claim["tier"]), claim["reason"])
        yield _below(claims)
    if snapshot["gate"]:
        yield Text()
        yield _gate(snapshot, width)


def _gate(snapshot: Json, width: int) -> RenderableType:
    gate = snapshot["gate"]
    style = "green" if gate["open"] else "bold red"
    line = Text.assemble(("Gate ", "bold"), ("open" if gate["open"] else "closed", style), f": {gate['reason']}")
    rows = [
        row
        for name, text in refusal(snapshot)
        for row in textwrap.wrap(f"  {name:<12}{text}", width, subsequent_indent=" " * 14, break_long_words=False)
    ]
    return Group(line, *(Text(row, overflow="fold") for row in rows))


def _vms(snapshot: Json) -> RenderableType:
    table = plain_table("VMs, from the wire inwards", "VM", "state", "image", "memory", "vCPUs", "exits")
    said = Table.grid(padding=(0, 2, 0, 0))
    for vm in snapshot["vms"]:
        exits = sum(vm["vm-exits"].values())
        memory = f"{vm['memory-bytes'] >> 20} MiB"
        table.add_row(vm["name"], word(vm["phase"]), vm["image"], memory, str(vm["vcpus"]), str(exits or ""))
        if vm["health"]:
            said.add_row(f"  {vm['name']}", vm["health"]["reason"])
    return (
        Group(_below(table), Text(" what each VM's own probe said", "dim"), said) if said.row_count else _below(table)
    )


def _assignments(snapshot: Json) -> RenderableType:
    table = plain_table("Devices, assigned by VT-d", "device", "address", "VM", "DMA domain", "interrupt")
    for each in snapshot["assignments"]:
        table.add_row(each["device"], each["address"], each["vm"], str(each["domain"]), each["interrupt"])
    return _below(table)


def _path(snapshot: Json) -> RenderableType:
    table = plain_table("Links", "link", "frames in", "frames out", "bytes", "undelivered")
    for link in snapshot["links"]:
        size = link["bytes-in"] + link["bytes-out"]
        table.add_row(
            link["name"], str(link["frames-in"]), str(link["frames-out"]), f"{size:,}", str(link["undelivered"])
        )
    path = Text(" ── ".join(["wire", *snapshot["path"]]), "cyan")
    return Group(Text.assemble("\n", ("Path  ", "bold"), path), _below(table))


def _traffic(snapshot: Json) -> Iterable[RenderableType]:
    wire = snapshot["wire"]
    if wire:
        yield Text.assemble("\n", ("Wire  ", "bold"), ", ".join(f"{name} {count}" for name, count in wire.items()))
    for vm in snapshot["vms"]:
        yield from _rules(vm)
    for vm in snapshot["vms"]:
        yield from _flows(vm)
    for vm in snapshot["vms"]:
        yield from _requests(vm)


def _rules(vm: Json) -> Iterable[RenderableType]:
    rules = {name: count for name, count in vm["appliance"].get("rules", {}).items() if count["packets"]}
    if not rules:
        return
    outcomes = _outcomes(vm)
    table = plain_table(f"{vm['name']}: what decided", "rule", "outcome", "packets", "bytes")
    for name, count in rules.items():
        outcome = count.get("outcome") or outcomes.get(name)
        table.add_row(name, word(outcome) if outcome else "", f"{count['packets']:,}", f"{count['bytes']:,}")
    yield _below(table)


def _outcomes(vm: Json) -> Mapping[str, str]:
    """What became of the flows of each rule, where it was the same for all."""
    found: dict[str, set[str]] = {}
    for flow in vm["appliance"].get("flows", ()):
        found.setdefault(flow["rule"], set()).add(flow["outcome"])
    return {rule: next(iter(outcomes)) for rule, outcomes in found.items() if len(outcomes) == 1}


def _flows(vm: Json) -> Iterable[RenderableType]:
    flows = vm["appliance"].get("flows")
    if flows:
        shown = sorted(flows, key=lambda flow: -flow["packets"])[:_FLOWS_SHOWN]
        table = plain_table(
            f"{vm['name']}: busiest {len(shown)} of {len(flows)} flows", "flow", "outcome", "rule", "packets"
        )
        for flow in shown:
            table.add_row(_flow(flow), word(flow["outcome"]), flow["rule"], str(flow["packets"]))
        yield _below(table)


def _requests(vm: Json) -> Iterable[RenderableType]:
    """What a proxy was asked for at last."""
    latest = vm["appliance"].get("latest")
    if latest:
        shown = latest[-_REQUESTS_SHOWN:]
        table = plain_table(
            f"{vm['name']}: latest {len(shown)} of {sum(vm['appliance']['requests'].values())} requests",
            "request",
            "verdict",
            "rule",
        )
        for each in shown:
            table.add_row(f"{each['method']} {each['site']}".strip(), word(each["verdict"]), each["rule"])
        yield _below(table)


def _flow(flow: Json) -> str:
    ends = [
        f"{flow[end]} {flow[f'{end}-port']}" if f"{end}-port" in flow else flow[end]
        for end in ("source", "destination")
    ]
    return f"{flow['protocol']} {' -> '.join(ends)}"


def _isolation(snapshot: Json, width: int) -> RenderableType:
    """One row for each kind of attempt; one for each way that was open."""
    instance = ("for instance",) if width >= _WIDE else ()
    table = plain_table("Isolation, tried on the running machine", "attempt", "by", "tried", "result", *instance)
    groups: dict[str, list[Json]] = {}
    for each in snapshot["isolation"]:
        if each["blocked"]:
            groups.setdefault(each["name"], []).append(each)
        else:
            result = Text("✗ NOT BLOCKED", "bold red")
            target = f"{each['actor']} on {each['target']}"
            table.add_row(each["name"], target, "1", result, *([each["evidence"]] if instance else ()))
    for name, attempts in groups.items():
        actors = ", ".join(dict.fromkeys(each["actor"] for each in attempts))
        evidence = [fitted(attempts[0]["evidence"], width - _BESIDE_INSTANCE)] if instance else []
        table.add_row(name, actors, str(len(attempts)), Text("✓ blocked", "green"), *evidence)
    return _below(table)
