"""A snapshot as tables for a person; the same for a running machine, a finished one and a refused one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

_MARKS: Final = {
    "healthy": ("●", "green"),
    "running": ("●", "yellow"),
    "starting": ("●", "yellow"),
    "failed": ("✗", "red"),
    "stopped": ("○", "dim"),
    "defined": ("○", "dim"),
    "affirming": ("✓", "green"),
    "warning": ("!", "yellow"),
    "contraindicated": ("✗", "red"),
    "up": ("●", "green"),
    "refused": ("✗", "red"),
    "quarantined": ("!", "yellow"),
    "accept": ("→", "green"),
    "drop": ("✗", "red"),
    "reject": ("✗", "red"),
    "passed": ("→", "green"),
    "answered": ("↩", "cyan"),
    "dropped": ("✗", "red"),
    "rejected": ("✗", "red"),
}

_NUMERIC: Final = {"memory", "vcpus", "exits", "packets", "bytes", "frames in", "frames out", "undelivered", "count"}
_WIDTH_ELSEWHERE: Final = 130
"""Columns where standard output is no terminal."""
_FLOWS_SHOWN: Final = 20

Json = Mapping[str, Any]


def print_snapshot(snapshot: Json, *, attestation_only: bool = False) -> None:
    """Print every table that the snapshot has something for, on standard output."""
    console = Console(highlight=False, width=None if Console().is_terminal else _WIDTH_ELSEWHERE)
    for part in _attestation(snapshot) if attestation_only else parts(snapshot):
        console.print(part)


def parts(snapshot: Json) -> Iterable[RenderableType]:
    """Every table that the snapshot has something for."""
    yield _headline(snapshot)
    yield from _attestation(snapshot)
    started = any(vm["phase"] != "defined" for vm in snapshot["vms"])
    yield _vms(snapshot)
    if not started:
        return
    yield _assignments(snapshot)
    yield _path(snapshot)
    yield from _traffic(snapshot)
    yield _isolation(snapshot)


def word(state: str) -> Text:
    """A state as symbol, word and colour: never by colour alone."""
    symbol, style = _MARKS.get(state, ("·", ""))
    return Text(f"{symbol} {state}", style)


def _headline(snapshot: Json) -> RenderableType:
    line = Text.assemble(
        "\n", (snapshot["name"], "bold"), "  ", word(snapshot["phase"]), f"  since {snapshot['since']}"
    )
    return Group(line, Text(f"  {snapshot['reason']}", "red")) if snapshot["reason"] else line


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, expand=False)
    for column in columns:
        numeric = column in _NUMERIC
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    return table


def _attestation(snapshot: Json) -> Iterable[RenderableType]:
    attestation = snapshot["attestation"]
    if attestation:
        measured = _table("Measurements", "PCR", "SHA-256")
        for index, value in attestation["pcrs"].items():
            measured.add_row(index, value)
        yield measured
        claims = _table(f"Attestation ({attestation['root-of-trust']})", "claim", "tier", "reason")
        for claim in attestation["claims"]:
            claims.add_row(claim["name"], word(claim["tier"]), claim["reason"])
        yield claims
    gate = snapshot["gate"]
    if gate:
        yield Text.assemble(
            ("Gate ", "bold"),
            ("open" if gate["open"] else "closed", "green" if gate["open"] else "red"),
            f": {gate['reason']}",
        )
        for key in ("component", "event", "expected", "found"):
            if key in gate:
                yield Text(f"  {key:<10} {gate[key]}")


def _vms(snapshot: Json) -> RenderableType:
    table = _table("VMs, from the wire inwards", "VM", "state", "image", "memory", "vcpus", "exits", "health")
    for vm in snapshot["vms"]:
        exits = sum(vm["vm-exits"].values())
        health = vm["health"]["reason"] if vm["health"] else ""
        memory = f"{vm['memory-bytes'] >> 20} MiB"
        table.add_row(vm["name"], word(vm["phase"]), vm["image"], memory, str(vm["vcpus"]), str(exits or ""), health)
    return table


def _assignments(snapshot: Json) -> RenderableType:
    table = _table("Devices, assigned by VT-d", "device", "address", "VM", "DMA domain", "interrupt")
    for each in snapshot["assignments"]:
        table.add_row(each["device"], each["address"], each["vm"], str(each["domain"]), each["interrupt"])
    return table


def _path(snapshot: Json) -> RenderableType:
    table = _table("Links", "link", "frames in", "frames out", "bytes", "undelivered")
    for link in snapshot["links"]:
        size = link["bytes-in"] + link["bytes-out"]
        table.add_row(
            link["name"], str(link["frames-in"]), str(link["frames-out"]), f"{size:,}", str(link["undelivered"])
        )
    path = Text(" ── ".join(["wire", *snapshot["path"]]), "cyan")
    return Group(Text.assemble(("Path  ", "bold"), path), table)


def _traffic(snapshot: Json) -> Iterable[RenderableType]:
    wire = snapshot["wire"]
    if wire:
        yield Text.assemble(("Wire  ", "bold"), ", ".join(f"{name} {count}" for name, count in wire.items()))
    for vm in snapshot["vms"]:
        yield from _rules(vm)
    for vm in snapshot["vms"]:
        yield from _flows(vm)


def _rules(vm: Json) -> Iterable[RenderableType]:
    rules = {name: count for name, count in vm["appliance"].get("rules", {}).items() if count["packets"]}
    if rules:
        table = _table(f"{vm['name']}: what decided", "rule", "outcome", "packets", "bytes")
        for name, count in rules.items():
            table.add_row(name, word(count.get("outcome", "")), f"{count['packets']:,}", f"{count['bytes']:,}")
        yield table


def _flows(vm: Json) -> Iterable[RenderableType]:
    flows = vm["appliance"].get("flows")
    if flows:
        shown = sorted(flows, key=lambda flow: -flow["packets"])[:_FLOWS_SHOWN]
        table = _table(
            f"{vm['name']}: busiest {len(shown)} of {len(flows)} flows", "flow", "outcome", "rule", "packets"
        )
        for flow in shown:
            table.add_row(_flow(flow), word(flow["outcome"]), flow["rule"], str(flow["packets"]))
        yield table


def _flow(flow: Json) -> str:
    ends = [
        f"{flow[end]} {flow[f'{end}-port']}" if f"{end}-port" in flow else flow[end]
        for end in ("source", "destination")
    ]
    return f"{flow['protocol']} {' -> '.join(ends)}"


def _isolation(snapshot: Json) -> RenderableType:
    """One row for each kind of attempt by each actor; a way that was open has a row of its own."""
    table = _table("Isolation, tried on the running machine", "attempt", "by", "on", "result", "for instance")
    groups: dict[tuple[str, str, bool], list[Json]] = {}
    for each in snapshot["isolation"]:
        groups.setdefault((each["actor"], each["name"], each["blocked"]), []).append(each)
    for (actor, name, blocked), attempts in groups.items():
        result = Text(f"✓ {len(attempts)} blocked", "green") if blocked else Text("✗ NOT BLOCKED", "bold red")
        targets = attempts[0]["target"] if len(attempts) == 1 else f"{len(attempts)} targets"
        table.add_row(name, actor, targets, result, attempts[0]["evidence"])
    return table
