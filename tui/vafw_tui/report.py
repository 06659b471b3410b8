"""A snapshot of a run as lines and rows: what the run screen shows, worked out before any widget.

Pure, over the JSON that every face gets. What a snapshot does not hold is left out; nothing is guessed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from vafw_tui.drawing import Line, Piece
from vafw_tui.feed import Json, Look, Traces
from vafw_tui.marks import mark, speaks_unicode

_QUIET: Final = "$foreground-muted"
_BARS: Final = " ▁▂▃▄▅▆▇█"
_PLAIN_BARS: Final = " .:-=+*#%"
_BAR_WIDTH: Final = 20
_SPARK_WIDTH: Final = 24
_MOST_FLOWS: Final = 500
_MOST_EVENTS: Final = 300
_WIDEST_SUBJECT: Final = 16
_WIDEST_SENTENCE: Final = 120
_SPEAKING: Final = frozenset({"line", "reason"})
"""What of an event's detail is a sentence, and needs no name before it."""
_EVENT_STYLES: Final = {
    "gate.opened": "$text-success",
    "gate.closed": "$text-error",
    "vm.healthy": "$text-success",
    "vm.failed": "$text-error",
    "vtd.dma-fault": "$text-warning",
    "vtd.interrupt-fault": "$text-warning",
    "ept.violation": "$text-warning",
    "control.lost": "$text-warning",
    "launch.refused": "$text-error",
}
_NARROWEST: Final = 16
_HASH: Final = len("sha256:") + 8

Row = tuple[str | Piece, ...]
"""The cells of one row of a table; one with a style as a piece."""


def verdict(look: Look) -> list[Line]:
    """How the run stands and what the gate decided, with its reason; for a closed gate also what is to blame."""
    snapshot = look.snapshot
    if look.trouble:
        return [_stated("error", "no answer", look.trouble)]
    if not snapshot:
        if look.running:
            return [_stated("starting", "starting", "it does not answer yet")]
        return [_stated("none", "not running", "u starts it")]
    phase = str(snapshot["phase"])
    gate = snapshot.get("gate")
    reason = str(snapshot.get("reason") or "")
    same = gate is not None and gate["reason"] == reason  # it stands with the gate then
    said = _spoken(snapshot) if same or not reason else reason
    lines = [_stated(phase, phase if look.running else f"{phase} (last run)", said)]
    if not gate:
        return [*lines, _stated("none", "gate", "not decided yet: nothing starts before it opens")]
    word = "open" if gate["open"] else "closed"
    lines.append(_stated(word, f"gate {word}", str(gate["reason"])))
    for key in ("component", "event", "expected", "found", "remedy"):
        if key in gate:
            lines.append(((f"    {key:<10}", _QUIET), (str(gate[key]), "")))
    return lines


def hanging(lines: Iterable[Line], width: int) -> Iterator[Line]:
    """Each line broken where it is wider, in columns; what follows stands under the last piece's beginning."""
    for line in lines:
        *head, (text, style) = line
        indent = sum(len(piece) for piece, _ in head)
        first, *rest = textwrap.wrap(text, max(width - indent, _NARROWEST)) or [""]
        yield (*head, (first, style))
        yield from (((" " * indent, ""), (row, style)) for row in rest)


def timeline(snapshot: Json) -> list[Line]:
    """Each step of the start: a bar where in time it lies, how long it took, what it said; then its smaller steps."""
    steps: Sequence[Any] = snapshot.get("steps", ())
    booting = [each for each in steps if each["title"] != "traffic"]
    whole_s = sum(float(each["elapsed-s"]) for each in booting if not each["depth"]) or 1.0
    widest = max((len(each["title"]) for each in steps), default=0)
    lines: list[Line] = []
    begun_s = 0.0
    for step in steps:
        state, took_s = mark(str(step["state"])), float(step["elapsed-s"])
        bar = _bar(begun_s / whole_s, took_s / whole_s) if step in booting else " " * _BAR_WIDTH
        begun_s += took_s
        lines.append(
            (
                (f"{state.symbol} {'  ' * step['depth']}{step['title']:<{widest}} ", state.style),
                (bar, "$primary"),
                (f" {_time(took_s):>8}  ", _QUIET),
                (str(step["detail"]), ""),
            )
        )
    for step in steps:
        if step["notes"] and step["title"] != "attest":  # whose notes are the claims, which have a table of their own
            lines += [(("", ""),), ((f"{step['title']}, step by step", f"bold {_QUIET}"),)]
            lines += (((f"  {note['name']:<32}", ""), (str(note["detail"]), _QUIET)) for note in step["notes"])
    return lines


def claims(snapshot: Json) -> list[Row]:
    """What the verifier claims, what is not affirming first: tier, name, reason, event, expected and found."""
    attestation = snapshot.get("attestation") or {}
    found = sorted(attestation.get("claims", ()), key=lambda each: each["tier"] == "affirming")
    rows: list[Row] = []
    for each in found:
        tier = mark(str(each["tier"]))
        values = [f"{key} {each[key][:16]}" for key in ("expected", "found") if each.get(key)]
        evidence = "" if each["tier"] == "affirming" else ", ".join(values)
        reason = f"{each['reason']}{f' ({evidence})' if evidence else ''}"
        rows.append(((tier.text, tier.style), str(each["name"]), reason, str(each.get("event", ""))))
    return rows


def machines(snapshot: Json) -> list[Line]:
    """Each VM: state, share, devices, what its probe said, what it exits for."""
    lines: list[Line] = []
    for vm in snapshot.get("vms", ()):
        state = mark(str(vm["phase"]))
        share = f"{vm['image']}, {vm['memory-bytes'] >> 20} MiB, {vm['vcpus']} vCPU{'s' * (vm['vcpus'] != 1)}"
        devices = f", {', '.join(vm['devices'])}" if vm["devices"] else ""
        lines.append(
            ((f"{state.text:<11}", state.style), (f"{vm['name']:<12} ", "bold"), (f"{share}{devices}", _QUIET))
        )
        if vm.get("health"):
            lines.append((("    ", ""), (str(vm["health"]["reason"]), "")))
        if exits := vm.get("vm-exits"):
            said = ", ".join(f"{name} {count}" for name, count in sorted(exits.items(), key=lambda each: -each[1]))
            lines.append((("    VM exits: ", _QUIET), (said, _QUIET)))
    return lines


def desired(look: Look) -> list[Row]:
    """What the plan wants against what the platform reports: mark, what, desired, reported."""
    snapshot = look.snapshot
    plan = snapshot.get("plan") or {}
    reported = {vm["name"]: vm for vm in snapshot.get("vms", ())}
    assigned = {each["device"]: each["vm"] for each in snapshot.get("assignments", ())}
    rows: list[Row] = []
    for vm in plan.get("vms", ()):
        seen = reported.get(vm["name"], {})
        rows.append(_compared(f"{vm['name']} state", "healthy", str(seen.get("phase", "nothing"))))
        for function in vm["functions"]:
            rows.append(_compared(function["name"], vm["name"], str(assigned.get(function["name"], "nobody"))))
        rows += _configured(vm["name"], seen)
    wanted = {each["name"] for each in plan.get("links", ())}
    up = {each["name"] for each in snapshot.get("links", ())}
    rows += (_compared(f"link {name}", "up", "up" if name in up else "down") for name in sorted(wanted))
    return rows


def links(snapshot: Json, traces: Traces) -> list[Line]:
    """Each link: frames and bytes either way, what could not be delivered, and how it moved lately."""
    down, up = ("↓", "↑") if speaks_unicode() else ("in", "out")
    lines: list[Line] = []
    for link in snapshot.get("links", ()):
        lost = int(link["undelivered"])
        lines.append(
            (
                (f"{link['name']:<20} ", "bold"),
                (sparkline(traces.of(str(link["name"]))), "$primary"),
                (f" {down}{link['frames-in']} {_bytes(link['bytes-in'])}", ""),
                (f"  {up}{link['frames-out']} {_bytes(link['bytes-out'])}", ""),
                (f"  {mark('error').symbol} {lost} undelivered", "$text-error") if lost else ("", ""),
            )
        )
    wire = snapshot.get("wire") or {}
    if wire:
        said = ", ".join(f"{name} {count}" for name, count in wire.items())
        lines.append((("wire                 ", "bold"), (said, _QUIET)))
    return lines


def rules(snapshot: Json) -> list[Row]:
    """Each rule that decided something: outcome, appliance, rule, packets, bytes."""
    rows: list[Row] = []
    for vm in snapshot.get("vms", ()):
        counted = vm.get("appliance", {}).get("rules") or {}
        for name, each in counted.items():
            outcome = mark(str(each["outcome"]))
            counts = (f"{each['packets']:>8}", f"{_bytes(each['bytes']):>9}")
            rows.append(((outcome.text, outcome.style), str(vm["name"]), str(name), *counts))
    return rows


def flows(snapshot: Json, wanted: str = "") -> list[Row]:
    """The flows of every appliance that tells them, the latest first: outcome, rule, from, to, packets, bytes."""
    found = [each for vm in snapshot.get("vms", ()) for each in vm.get("appliance", {}).get("flows") or ()]
    found.sort(key=lambda each: -float(each.get("last-s", 0)))
    rows: list[Row] = []
    words = wanted.lower().split()
    for each in found:
        outcome = mark(str(each["outcome"]))
        protocol = str(each.get("protocol", ""))
        ends = (_end(each, "source"), _end(each, "destination"))
        rule, counts = str(each["rule"]), (f"{each['packets']:>6}", f"{_bytes(each['bytes']):>9}")
        text = " ".join((outcome.word, rule, protocol, *ends)).lower()
        if all(word in text for word in words) and len(rows) < _MOST_FLOWS:
            rows.append(((outcome.text, outcome.style), rule, protocol, *ends, *counts))
    return rows


def events(look: Look) -> list[Row]:
    """What happened, the latest first: seconds since the start, event, subject, and what else is known of it."""
    rows: list[Row] = []
    for each in reversed(look.events[-_MOST_EVENTS:]):
        said = {key: value for key, value in each["detail"].items() if value not in (None, "")}
        detail = ", ".join(
            _short(value, _WIDEST_SENTENCE) if key in _SPEAKING else f"{key} {_short(value)}"
            for key, value in said.items()
        )
        kind = str(each["kind"])
        subject = _short(each["subject"], _WIDEST_SUBJECT)
        rows.append((f"{each['time_s']:.3f}", (kind, _EVENT_STYLES.get(kind, "")), subject, detail))
    return rows


def sparkline(values: Sequence[float], width: int = _SPARK_WIDTH) -> str:
    """The last `width` values as bars, the highest full; a line at the bottom where there are none."""
    bars = _BARS if speaks_unicode() else _PLAIN_BARS
    shown = [0.0] * (width - len(values)) + list(values)[-width:]
    most = max(shown) or 1.0
    return "".join(bars[1 + round(value / most * (len(bars) - 2))] for value in shown)


def _stated(state: str, word: str, text: str) -> Line:
    shown = mark(state, word)
    return ((f"{shown.text:<20} ", f"bold {shown.style}"), (text, ""))


def _spoken(snapshot: Json) -> str:
    vms = snapshot.get("vms", ())
    healthy = sum(vm["phase"] == "healthy" for vm in vms)
    if snapshot.get("ended"):
        return f"ran from {_moment(snapshot['since'])} to {_moment(snapshot['ended'])}"
    return f"{healthy} of {len(vms)} VMs healthy"


def _moment(written: Any) -> str:
    return datetime.fromisoformat(str(written)).strftime("%Y-%m-%d %H:%M:%S")


def _bar(start: float, length: float) -> str:
    full, empty = ("█", "·") if speaks_unicode() else ("#", ".")
    first = min(int(start * _BAR_WIDTH), _BAR_WIDTH - 1)
    count = max(1, min(round(length * _BAR_WIDTH), _BAR_WIDTH - first))
    return empty * first + full * count + empty * (_BAR_WIDTH - first - count)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _bytes(count: int) -> str:
    for unit, worth in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= worth:
            return f"{count / worth:.1f} {unit}"
    return f"{count} B"


def _end(flow: Json, end: str) -> str:
    address, port = str(flow[end]), flow.get(f"{end}-port")
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _short(value: Any, widest: int = 60) -> str:
    """A value of an event on one line, cut where it is wide."""
    if isinstance(value, dict):
        return "/".join(str(each) for each in value.values())
    text = str(value)
    return text if len(text) <= widest else f"{text[: widest - 1]}{'…' if speaks_unicode() else '.'}"


def _configured(name: str, seen: Json) -> Iterator[Row]:
    """The configuration's version, where the snapshot tells one."""
    wanted, had = seen.get("desired"), seen.get("reported")
    if wanted is not None or had is not None:
        yield _compared(f"{name} config", _version(wanted), _version(had))


def _version(state: Any) -> str:
    if not isinstance(state, dict):
        return "nothing" if state is None else str(state)
    number = ".".join(str(state[key]) for key in ("epoch", "generation") if state.get(key) is not None)
    parts = [f"generation {number}" if number else "", state.get("status"), str(state.get("hash", ""))[:_HASH]]
    return ", ".join(str(part) for part in parts if part) or "nothing"


def _compared(what: str, wanted: str, seen: str) -> Row:
    state = mark("same" if wanted == seen else "differs")
    return ((state.text, state.style), what, wanted, seen)
