"""`vafw status`: a running topology, or how its last run ended, in the look of systemctl."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from vafw.cli.marks import mark
from vafw.cli.options import json_option, run_argument
from vafw.cli.output import Output, columns, paint
from vafw.cli.story import refusal
from vafw.errors import ExitCode
from vafw.supervisor.requests import ask
from vafw.supervisor.run_directory import RunDirectory

Json = Mapping[str, Any]
_LABEL: Final = 11
_LINES_SHOWN: Final = 3


@click.command(epilog="Example: vafw status office-laptop. Exit code 3: not running; shown is how its last run ended.")
@run_argument
@json_option
def command(run: RunDirectory, as_json: bool) -> int:
    """Show the running topology NAME (a name or a topology file), or how its last run ended."""
    running = run.is_held()
    snapshot: Any = ask(run, "status") if running else run.last_snapshot()
    code = ExitCode.DONE if running else ExitCode.NOT_RUNNING
    if not as_json:
        width = columns(sys.stdout)
        for line in lines(snapshot, run.events(), datetime.now(UTC)):
            _print(line, width)
        if not running:
            print(f"{run.name} is not running; this is how its last run ended", file=sys.stderr)
    return Output(as_json, "Status").result(snapshot, code)


def _print(line: str, width: int) -> None:
    """A line, wrapped between words below its own text where it is too long."""
    indent = " " * (len(line) - len(line.lstrip()))
    if ": " in line[: _LABEL + 2]:
        indent = " " * (_LABEL + 2)
    for each in textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False) or [""]:
        print(each)


def lines(snapshot: Json, events: Sequence[Json], now: datetime) -> Iterator[str]:
    """The lines of a status: the run, gate and attestation, each VM, the last words from inside."""
    gate, attestation = snapshot["gate"], snapshot["attestation"]
    yield f"{_dot(snapshot['phase'])} {snapshot['name']} on {snapshot['plan']['machine']}"
    yield _row("State", f"{_word(snapshot['phase'])} {_times(snapshot, now)}")
    if gate:
        yield _row("Gate", f"{_word('open' if gate['open'] else 'closed')}: {gate['reason']}")
        if gate.get("override"):
            yield _row(
                "Override", "the glass was broken: this machine is not attested, until it passes the gate itself"
            )
        yield from (f"    {name:<12}{text}" for name, text in refusal(snapshot))
    if attestation:
        affirming = sum(claim["tier"] == "affirming" for claim in attestation["claims"])
        counted = f"{affirming} of {len(attestation['claims'])} claims affirming"
        yield _row("Attested", f"{_ago(attestation['appraised-at'], now)}, {counted} ({attestation['root-of-trust']})")
    if snapshot["reason"] and not (gate and gate["reason"] == snapshot["reason"]):
        yield _row("Reason", snapshot["reason"])
    if checks := snapshot["isolation"]:
        yield _row("Isolation", f"{sum(each['blocked'] for each in checks)} of {len(checks)} attempts blocked")
    if snapshot["wire"]:
        yield _row("Wire", ", ".join(f"{name} {count}" for name, count in snapshot["wire"].items()))
    yield _row("Path", " - ".join(["wire", *snapshot["path"]]))
    yield ""
    for vm in snapshot["vms"]:
        yield from _vm(vm)
    if said := [each for each in events if each["kind"] == "guest.log"][-_LINES_SHOWN:]:
        yield ""
        yield from (f"  {each['time_s']:9.3f}  {each['subject']}: {each['detail'].get('line', '')}" for each in said)


def _vm(vm: Json) -> Iterator[str]:
    since = f"since {vm['since'][11:19]}" if vm["since"] else ""
    devices = ", ".join(vm["devices"])
    share = f"{vm['memory-bytes'] >> 20} MiB, {vm['vcpus']} vCPU{'s' if vm['vcpus'] > 1 else ''}"
    facts = "; ".join(part for part in (since, vm["image"], share, devices) if part)
    yield f"  {_dot(vm['phase'])} {vm['name']:<12} {vm['phase']:<8} {facts}"
    if vm["health"]:
        yield f"      {vm['health']['reason']}"
    if wanted := vm.get("desired"):
        yield f"      {_configured(wanted, vm['reported'])}"


def _configured(wanted: Json, had: Json | None) -> str:
    """Desired against reported, in a sentence."""
    generation = f"generation {_number(wanted)} ({wanted['hash'][:15]})"
    if had is None:
        return f"{generation} is desired, nothing is reported yet"
    if all(wanted[key] == had[key] for key in wanted):
        return f"{generation} is desired and applied"
    runs = f"{_number(had)} runs" if had["generation"] else "what it was started with runs"
    return f"{generation} is desired, {runs}, {had['status']}: {had['reason']}"


def _number(version: Json) -> str:
    """The generation, with its epoch where that is not the first."""
    return f"{version['generation']}" if version["epoch"] == 1 else f"{version['epoch']}.{version['generation']}"


def _row(label: str, text: str) -> str:
    return f"{label:>{_LABEL}}: {text}"


def _dot(state: str) -> str:
    symbol, style = mark(state)
    return paint(symbol, style, sys.stdout)


def _word(state: str) -> str:
    return paint(state, mark(state)[1], sys.stdout)


def _times(snapshot: Json, now: datetime) -> str:
    since = _clock(snapshot["since"])
    if snapshot["ended"]:
        lasted = datetime.fromisoformat(snapshot["ended"]) - datetime.fromisoformat(snapshot["since"])
        return (
            f"at {_clock(snapshot['ended'])}, {_ago(snapshot['ended'], now)}; ran {_duration(lasted.total_seconds())}"
        )
    return f"since {since}, {_ago(snapshot['since'], now)}"


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M:%S UTC")


def _ago(moment: str, now: datetime) -> str:
    return f"{_duration((now - datetime.fromisoformat(moment)).total_seconds())} ago"


def _duration(seconds: float) -> str:
    """Two units at most, as a person says it: 12 s, 3 min 5 s, 2 h 10 min, 4 d 2 h."""
    whole = max(int(seconds), 0)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"
