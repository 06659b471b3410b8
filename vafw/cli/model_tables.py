"""`vafw model tables`: everything that translation tables dumped from a machine say, function by function."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from vafw.address import Bdf
from vafw.cli.model_memory import (
    memory_option,
    open_dump,
    requester,
    rights_text,
    root_table_address,
    size_text,
    table_rules,
    unit_options,
)
from vafw.cli.options import json_option
from vafw.cli.output import Output
from vafw.hw.vtd.bits import TranslationType
from vafw.hw.vtd.context import Context
from vafw.hw.vtd.table_listing import FunctionListing, Problem, Range, list_tables
from vafw.hw.vtd.table_walk import Blocked
from vafw.trace import Value

_KINDS: Final = {
    TranslationType.UNTRANSLATED_ONLY: "translated",
    TranslationType.WITH_DEVICE_TLB: "translated, may use a device TLB (ATS)",
    TranslationType.PASS_THROUGH: "passes through",
}


@click.command(
    epilog="Example: vafw model tables --memory dump.bin@0x1000000 --rtaddr 0x1000000 --cap 0xd2008c222f0686 "
    "--ecap 0xf00f4a"
)
@memory_option
@unit_options
@click.option("--rid", type=requester, help="Of this function only.")
@json_option
def command(
    *,
    pages: tuple[tuple[Path, int], ...],
    rtaddr: int,
    cap: int,
    ecap: int,
    haw: int | None,
    dmar: Path | None,
    rid: Bdf | None,
    as_json: bool,
) -> int:
    """Print the context of every function and the ranges it reaches; what is missing or malformed stands in place."""
    listed = list_tables(open_dump(pages), root_table_address(rtaddr), table_rules(cap, ecap, haw, dmar))
    found = [each for each in listed if rid is None or not isinstance(each, FunctionListing) or each.source == rid]
    if not as_json:
        _print(found)
    return Output(as_json, "Model").result(_data(found))


def _print(found: Iterable[FunctionListing | Problem]) -> None:
    for each in found:
        if isinstance(each, Problem):
            print(f"{each.where}: {each.what}")
            continue
        print(f"{each.source}  {_context_text(each.context)}")
        for mapped in each.ranges:
            print(f"  {_range_text(mapped)}")
        for problem in each.problems:
            print(f"  {problem.where}: {problem.what}")


def _context_text(context: Context | Blocked) -> str:
    if isinstance(context, Blocked):
        return f"blocked, reason {context.reason:#x}: {context.reason.sentence}"
    text = f"domain {context.domain}, {_KINDS[context.kind]}"
    if not context.pass_through:
        text += f", {context.levels} levels at {context.table:#x}"
    return text + (", faults not recorded" if context.quiet else "")


def _range_text(mapped: Range) -> str:
    pages = f"{size_text(mapped.size)} in pages of {size_text(mapped.page_size)}"
    snoop = ", snooped" if mapped.snoop else ""
    return f"{mapped.iova:#014x}-{mapped.end:#014x}  {rights_text(mapped.rights)}  {mapped.host:#014x}  {pages}{snoop}"


def _data(found: Iterable[FunctionListing | Problem]) -> dict[str, Value]:
    functions: list[Value] = []
    problems: list[Value] = []
    for each in found:
        if isinstance(each, Problem):
            problems.append(_problem(each))
        else:
            functions.append(_function(each))
    return {"functions": functions, "problems": problems}


def _function(listing: FunctionListing) -> dict[str, Value]:
    context = listing.context
    data: dict[str, Value] = {"requester": str(listing.source)}
    if isinstance(context, Blocked):
        return data | {"reason": int(context.reason), "reason-text": context.reason.sentence}
    return data | {
        "domain": context.domain,
        "pass-through": context.pass_through,
        "device-tlb": context.device_tlb,
        "levels": context.levels,
        "table": f"{context.table:#x}",
        "faults-recorded": not context.quiet,
        "ranges": [
            {
                "iova": f"{each.iova:#x}",
                "host": f"{each.host:#x}",
                "size": each.size,
                "rights": rights_text(each.rights),
                "page-size": each.page_size,
                "snoop": each.snoop,
            }
            for each in listing.ranges
        ],
        "problems": [_problem(each) for each in listing.problems],
    }


def _problem(problem: Problem) -> dict[str, Value]:
    return {"where": problem.where, "what": problem.what}
