"""`vafw policy diff`: which packets meet another fate under another policy, and which proofs break."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output, paint
from vafw.cli.policy_documents import documents_at
from vafw.document.load import DocumentSet
from vafw.errors import ExitCode
from vafw.plan.policy_change import Broken, Changed, Turn, place_of, policy_change
from vafw.plan.words import RegionWords
from vafw.trace import Value

_SIGNS = {
    Turn.PASSES: ("+", "green"),
    Turn.STOPS: ("-", "red"),
    Turn.ALWAYS: ("+", "green"),
    Turn.SOMETIMES: ("-", "red"),
    Turn.ANSWERED: ("~", "yellow"),
    Turn.SILENT: ("~", "yellow"),
}


@click.command(epilog="Example: vafw policy diff policies/office-laptop policies/office-laptop/policy.yaml")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--exit-code", is_flag=True, help="Exit 10 where some packet meets another fate.")
@json_option
def command(old: Path, new: Path, exit_code: bool, as_json: bool) -> int:
    """Say which packets meet another fate under NEW than under OLD, and which proofs do not hold any more.

    OLD and NEW are topologies, their folders, or policies beside a topology.yaml. Exit 22 where a proof breaks.
    """
    before, after = documents_at(old), documents_at(new)
    change = policy_change(before, after)
    words = RegionWords(after)
    if not as_json:
        for each in change.changed:
            print("\n".join(_changed_lines(each, words, before, after)))
        for broken in change.broken:
            print("\n".join(_broken_lines(broken)))
        if not change.complete:
            print("and more packets than these regions say")
        print(_summary(len(change.changed), len(change.broken)))
    code = ExitCode.DONE
    if change.broken:
        code = ExitCode.REFUSED
    elif change.changed and exit_code:
        code = ExitCode.PLAN_HAS_CHANGES
    data: Value = {
        "complete": change.complete,
        "changed": [_changed_json(each, words) for each in change.changed],
        "broken": [{"clause": each.words, "place": str(each.place)} for each in change.broken],
    }
    return Output(as_json, "PolicyDiff").result(
        data, code, [why.to_json() for each in change.broken for why in each.why]
    )


def _changed_lines(each: Changed, words: RegionWords, before: DocumentSet, after: DocumentSet) -> list[str]:
    sign, style = _SIGNS[each.turn]
    return [
        f"{paint(sign, style, sys.stdout)} {each.turn}: {words.region(each.region)}",
        f"    for instance {each.region.example}",
        f"    was {each.before.action} by {each.before.rule}{_place(before, each, old=True)}",
        f"    is  {each.after.action} by {each.after.rule}{_place(after, each, old=False)}",
    ]


def _place(documents: DocumentSet, each: Changed, *, old: bool) -> str:
    place = place_of(documents, each.before if old else each.after)
    return "" if place is None else f" ({place})"


def _broken_lines(broken: Broken) -> list[str]:
    lines = [f"{paint('!', 'bold red', sys.stdout)} no longer holds: {broken.words} ({broken.place})"]
    lines += [f"    {note}" for why in broken.why for note in why.notes]
    lines += [f"    {label.text} ({label.span})" for why in broken.why for label in why.related]
    if broken.example is not None:
        lines.append(f"    counter-example: {broken.example}")
    return lines


def _summary(changed: int, broken: int) -> str:
    if not changed and not broken:
        return "every packet meets the same fate"
    regions = f"{changed} region{'s' if changed != 1 else ''} of packets changed fate"
    return f"{regions}, {broken} proof{'s' if broken != 1 else ''} broken"


def _changed_json(each: Changed, words: RegionWords) -> Value:
    region = each.region
    return {
        "turn": each.turn.value,
        "words": words.region(region),
        "sides": list(region.sides),
        "sources": list(region.sources.to_texts()),
        "destinations": list(region.destinations.to_texts()),
        "services": None
        if region.services is None
        else {str(protocol): [list(span) for span in ranges] for protocol, ranges in region.services.items()},
        "example": str(region.example),
        "before": {"action": each.before.action.value, "rule": each.before.rule},
        "after": {"action": each.after.action.value, "rule": each.after.rule},
    }
