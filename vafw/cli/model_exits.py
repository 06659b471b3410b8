"""`vafw model exits`: one workload under five ways of virtualizing it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output, columns
from vafw.trace import Value

if TYPE_CHECKING:  # a large import, made when the verb runs
    from rich.table import Table

    from vafw.provider.model.comparison import Outcome

_WIDE: Final = 110
_CAPTION: Final = (
    "references: table entries read; a walk: for each TLB miss; uncached: if no guest-physical mapping were remembered"
)


@click.command(epilog="Example: vafw model exits --workload policies/workloads/fork-and-touch.yaml --plot exits.svg")
@click.option("--workload", type=click.Path(path_type=Path), required=True, help="A document of kind workload.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the outcomes as an SVG picture.")
@json_option
def command(workload: Path, plot: Path | None, as_json: bool) -> int:
    """Run a workload under binary translation, para-virtualization, a virtual TLB, EPT, and EPT with VPID.

    Every access of the guest walks its tables and every exit is made: what is printed was counted, not estimated.
    """
    from vafw.document.load import load_document  # deferred: pydantic and the model are large imports
    from vafw.document.workload import Workload
    from vafw.provider.model.comparison import compare

    document = load_document(workload, Workload)
    outcomes = compare(document.model)
    if plot is not None:
        from vafw.provider.model.comparison.plot import svg  # deferred: only for the picture

        plot.write_text(svg(document.model.name, outcomes), encoding="utf-8")
        print(f"{plot}: written", file=sys.stderr)
    if not as_json:
        _print(document.model.name, outcomes)
    data: dict[str, Value] = {"workload": document.model.name, "outcomes": [each.to_json() for each in outcomes]}
    return Output(as_json, "Model").result(data)


def _print(name: str, outcomes: Sequence[Outcome]) -> None:
    from rich.console import Console  # deferred: JSON needs none of it

    console = Console(width=min(columns(sys.stdout, _WIDE), 160), highlight=False)
    for table in (_memory(name, outcomes), _exits(outcomes)):
        console.print(table)


def _memory(name: str, outcomes: Sequence[Outcome]) -> Table:
    table = _table(f"{name}: what translating cost")
    table.caption = _CAPTION
    table.caption_justify = "left"
    table.add_column("technique", no_wrap=True)
    for heading in ("exits", "callouts", "TLB hits", "TLB misses", "references", "a walk", "uncached"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in outcomes:
        callouts = sum(each.callouts.values())
        table.add_row(
            each.technique,
            f"{each.exits_in_all:,}",
            f"{callouts:,}" if callouts else "",
            f"{each.count.tlb_hits:,}",
            f"{each.count.tlb_misses:,}",
            f"{each.count.references:,}",
            f"{each.references_per_walk:.1f}",
            f"{each.uncached_per_walk:.1f}",
        )
    return table


def _exits(outcomes: Sequence[Outcome]) -> Table:
    """A row a reason, a column a technique."""
    table = _table("VM exits by reason")
    table.add_column("reason", no_wrap=True)
    for each in outcomes:
        table.add_column(each.technique, justify="right")
    from vafw.provider.model.comparison.plot import reasons_of  # deferred: JSON needs none of it

    for reason in reasons_of(outcomes):
        counts = (each.exits.get(reason, 0) for each in outcomes)
        table.add_row(reason, *(f"{count:,}" if count else "" for count in counts))
    return table


def _table(title: str) -> Table:
    from rich import box  # deferred: JSON needs none of it
    from rich.table import Table

    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
