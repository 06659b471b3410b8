"""`vafw policy replay`: what would have become of every packet of a capture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output, paint
from vafw.cli.policy_documents import documents_at, topology_or_here
from vafw.plan.replay import Replayed, Totals, replay
from vafw.trace import Value
from vafw.traffic.pcap import CaptureWriter, read_capture, writing_capture
from vafw.traffic.rule import Action

_STYLES = {Action.ACCEPT.value: "green", Action.DROP.value: "red", Action.REJECT.value: "red"}


@click.command(epilog="Example: vafw policy replay policies/office-laptop/captures/office.pcap policies/office-laptop")
@click.argument("capture", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@topology_or_here
@click.option(
    "--write",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write every packet with its fate as a comment (pcapng).",
)
@click.option("--most", type=click.IntRange(0), default=20, show_default=True, help="Lines of stopped packets at most.")
@json_option
def command(capture: Path, topology: Path, target: Path | None, most: int, as_json: bool) -> int:
    """Say which packets of CAPTURE would have passed TOPOLOGY's path, which not, and by which rule.

    Packets whose source MAC is the topology's network card come from the user, all others from the wire.
    """
    documents = documents_at(topology)
    totals = Totals()
    with nullcontext() if target is None else writing_capture(target) as writer:
        for each in _written(replay(documents, read_capture(capture)), writer):
            totals.add(each)
    if not as_json:
        print("\n".join(_lines(totals, most)))
    return Output(as_json, "PolicyReplay").result(_json(totals))


def _written(replayed: Iterator[Replayed], writer: CaptureWriter | None) -> Iterator[Replayed]:
    for each in replayed:
        if writer is not None:
            hop = f" at {each.hop}" if each.hop else ""
            writer.write(replace(each.frame, interface=each.side, comment=f"{each.action} by {each.rule}{hop}"))
        yield each


def _lines(totals: Totals, most: int) -> list[str]:
    rows = [
        (hop, rule, tally.action, f"{tally.packets}", f"{tally.bytes}")
        for (hop, rule), tally in sorted(totals.by_rule.items(), key=lambda item: -item[1].packets)
    ]
    head = ("hop", "rule", "verdict", "packets", "bytes")
    widths = [max(len(str(row[at])) for row in (head, *rows)) for at in range(5)]
    lines = [_row(head, widths), *(_row(row, widths) for row in rows)]
    if totals.stopped:
        lines += ["", "stopped:"]
        for text, count in list(totals.stopped.items())[:most]:
            lines.append(f"{count:>6} x {text}")
        if len(totals.stopped) > most:
            lines.append(f"        and {len(totals.stopped) - most} more kinds of packets (--most)")
    packets = sum(each.packets for each in totals.by_rule.values())
    return [*lines, "", f"{totals.passed(packets=True)} of {packets} packets pass"]


def _row(row: tuple[str, ...], widths: list[int]) -> str:
    hop, rule, verdict, packets, count = row
    painted = paint(f"{verdict:<{widths[2]}}", _STYLES.get(verdict, "bold"), sys.stdout)
    return f"{hop:<{widths[0]}}  {rule:<{widths[1]}}  {painted}  {packets:>{widths[3]}}  {count:>{widths[4]}}"


def _json(totals: Totals) -> Value:
    return {
        "passed": totals.passed(packets=True),
        "packets": sum(each.packets for each in totals.by_rule.values()),
        "rules": [
            {"hop": hop, "rule": rule, "action": tally.action.value, "packets": tally.packets, "bytes": tally.bytes}
            for (hop, rule), tally in totals.by_rule.items()
        ],
        "stopped": [{"packet": text, "packets": count} for text, count in totals.stopped.items()],
    }
