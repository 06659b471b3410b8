"""`vafw policy explain`: one packet, hop by hop and rule by rule."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output, paint
from vafw.cli.policy_documents import documents_at, topology_or_here
from vafw.errors import UsageError
from vafw.plan.walk import PERHAPS, Considered, Step, Walk, walk
from vafw.traffic.packet_text import parse_packet

if TYPE_CHECKING:
    from vafw.trace import Value

MOST_TOLD: Final = 40
"""Rules up to which each is shown with its reason."""


@click.command(epilog="Example: vafw policy explain 'tcp 10.0.0.2:40000 -> 1.2.3.4:443 new' policies/office-laptop")
@click.argument("packet")
@topology_or_here
@json_option
def command(packet: str, topology: Path, as_json: bool) -> int:
    """Walk PACKET along TOPOLOGY's path: each hop, each rule it was put to, and why the rule matched or did not.

    PACKET is written as `tcp 10.0.0.2:40000 -> 1.2.3.4:443 new`; after the destination may stand a state, `type N` of
    ICMP, `vlan N`, and `inside` or `outside` for where it comes in.
    """
    try:
        asked = parse_packet(packet)
    except ValueError as error:
        raise UsageError(str(error)) from error
    found = walk(documents_at(topology), asked)
    if not as_json:
        print("\n".join(_lines(found)))
    return Output(as_json, "PolicyExplain").result(_json(found))


def _lines(found: Walk) -> list[str]:
    width = max((len(step.hop) for step in found.steps), default=0)
    lines = [str(found.asked)]
    for step in found.steps:
        lines.append(f"  {step.hop:<{width}}  {_said(step)}")
        told = _told(step)
        names = max((len(each.name) for each in told), default=0)
        lines += [f"  {'':<{width}}    {each.name:<{names}}  {each.said}" for each in told]
        if len(told) < len(step.considered):
            lines.append(f"  {'':<{width}}    and {len(step.considered) - len(told)} rules about other addresses")
        if step.leaves_as is not None:
            by = f", by {step.leaves_by} while it is up" if step.leaves_by else ""
            lines.append(f"  {'':<{width}}    beyond it: {step.leaves_as}{by}")
    return [*lines, _verdict(found)]


def _told(step: Step) -> list[Considered]:
    """The rules to show: all of a short list, of a long one those that are about these addresses."""
    if len(step.considered) <= MOST_TOLD:
        return list(step.considered)
    return [each for each in step.considered if not each.said.startswith("no: it is about packets")]


def _said(step: Step) -> str:
    if step.verdict == "pass":
        return "passes it on: it decides nothing by headers"
    style = "green" if step.verdict == "accept" else "bold red"
    by = f"rule '{step.rule}'" if not step.rule.startswith("(") else step.rule
    place = f" ({step.place})" if step.place is not None else ""
    return f"{paint(step.verdict, style, sys.stdout)} by {by}{place}"


def _verdict(found: Walk) -> str:
    verdict = "passes" if found.passes else f"stops at {found.steps[-1].hop}"
    unless = " or ".join(f"'{each.name}' decides: {each.said.removeprefix(PERHAPS)}" for each in found.unless)
    return f"it {paint(verdict, 'bold', sys.stdout)}{f', unless {unless}' if unless else ''}"


def _json(found: Walk) -> dict[str, Value]:
    return {
        "packet": str(found.asked),
        "passes": found.passes,
        "depends": found.depends,
        "steps": [
            {
                "hop": step.hop,
                "verdict": str(step.verdict),
                "rule": step.rule,
                "place": None if step.place is None else str(step.place),
                "beyond": None if step.leaves_as is None else str(step.leaves_as),
                "uplink": step.leaves_by or None,
                "considered": [
                    {"rule": each.name, "place": str(each.place), "said": each.said} for each in step.considered
                ],
            }
            for step in found.steps
        ],
    }
