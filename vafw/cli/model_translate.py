"""`vafw model translate`: where a device address leads, by tables that were dumped from a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from vafw.address import Bdf
from vafw.cli.model_memory import (
    memory_option,
    number,
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
from vafw.hw.vtd.fault_reason import NEVER_SUPPRESSED
from vafw.hw.vtd.recorded_walk import RecordedWalk, record_walk
from vafw.hw.vtd.table_walk import READ, WRITE, Blocked
from vafw.trace import Value

_RIGHTS: Final = {"read": READ, "write": WRITE}


@click.command(
    epilog="Example: vafw model translate --memory dump.bin@0x1000000 --rtaddr 0x1000000 --cap 0xd2008c222f0686 "
    "--ecap 0xf00f4a --rid 02:00.0 --iova 0x1000 --access write"
)
@memory_option
@unit_options
@click.option("--rid", type=requester, required=True, help="The requester, for instance 02:00.0.")
@click.option("--iova", type=number, required=True, help="The address that the device puts on the bus.")
@click.option("--access", type=click.Choice(list(_RIGHTS)), default="read", show_default=True, help="What it wants.")
@json_option
def command(
    *,
    pages: tuple[tuple[Path, int], ...],
    rtaddr: int,
    cap: int,
    ecap: int,
    haw: int | None,
    dmar: Path | None,
    rid: Bdf,
    iova: int,
    access: str,
    as_json: bool,
) -> int:
    """Walk the tables in a page dump as the remapping unit would; a blocked request is an answer, not an error."""
    rules = table_rules(cap, ecap, haw, dmar)
    walk = record_walk(
        open_dump(pages), root_table_address(rtaddr), rules, rid.requester_id, iova=iova, right=_RIGHTS[access]
    )
    if not as_json:
        _print(walk, rid, iova, access)
    return Output(as_json, "Model").result(_data(walk, rid, iova, access))


def _print(walk: RecordedWalk, rid: Bdf, iova: int, access: str) -> None:
    for step in walk.steps:
        print(f"  {step.structure:<14} {step.address:#014x}  {step.fields}")
    outcome = walk.outcome
    if isinstance(outcome, Blocked):
        print(f"{access} by {rid} at {iova:#x}: blocked, reason {outcome.reason:#x}: {outcome.reason.sentence}")
        if not _is_recorded(outcome):
            print("  no record of it is made: the context entry disables fault processing (FPD)")
        return
    domain = walk.context.domain if walk.context is not None else 0
    how = "passed through" if walk.context is not None and walk.context.pass_through else "translated"
    host = outcome.frame | iova & outcome.size - 1
    print(
        f"{access} by {rid} at {iova:#x}: {how} to {host:#x}, {size_text(outcome.size)} page, "
        f"{rights_text(outcome.rights)}, domain {domain}"
    )


def _data(walk: RecordedWalk, rid: Bdf, iova: int, access: str) -> dict[str, Value]:
    outcome, context = walk.outcome, walk.context
    data: dict[str, Value] = {
        "requester": str(rid),
        "iova": f"{iova:#x}",
        "access": access,
        "steps": [
            {"structure": step.structure, "address": f"{step.address:#x}", "value": f"{step.value:#x}"}
            for step in walk.steps
        ],
        "domain": context.domain if context is not None else None,
    }
    if isinstance(outcome, Blocked):
        return data | {
            "outcome": "blocked",
            "reason": int(outcome.reason),
            "reason-name": outcome.reason.text,
            "reason-text": outcome.reason.sentence,
            "recorded": _is_recorded(outcome),
        }
    return data | {
        "outcome": "passed-through" if context is not None and context.pass_through else "translated",
        "address": f"{outcome.frame | iova & outcome.size - 1:#x}",
        "page-size": outcome.size,
        "rights": rights_text(outcome.rights),
        "snoop": outcome.snoop,
    }


def _is_recorded(blocked: Blocked) -> bool:
    return not blocked.quiet or blocked.reason in NEVER_SUPPRESSED
