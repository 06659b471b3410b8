"""`vafw model irte`: an interrupt remapping table that was dumped from a machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from vafw.address import Bdf
from vafw.cli.model_memory import HOST_ADDRESS_BITS, memory_option, number, open_dump, requester
from vafw.cli.options import json_option
from vafw.cli.output import Output
from vafw.errors import UsageError, VafwError
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.interrupt_listing import IrteListing, Posting, interrupt_table, list_interrupts
from vafw.hw.vtd.interrupt_message import Interrupt
from vafw.hw.vtd.interrupt_remapping import is_verified
from vafw.hw.vtd.page_dump import NotDumped
from vafw.hw.vtd.registers import Capability, ExtendedCapability
from vafw.hw.vtd.table_walk import Blocked
from vafw.trace import Value

_DELIVERY: Final = ("fixed", "lowest priority", "SMI", "reserved", "NMI", "INIT", "reserved", "ExtINT")
"""DLM (VT-d, "Interrupt Remapping Table Entry (IRTE) for Remapped Interrupts")."""


@click.command(
    epilog="Example: vafw model irte --memory dump.bin@0x1100000 --irta 0x110000f --cap 0xd2008c222f0686 "
    "--ecap 0xf00f4a --rid 02:00.0"
)
@memory_option
@click.option("--irta", type=number, required=True, help="IRTA, the register at 0xb8.")
@click.option("--cap", type=number, required=True, help="CAP, the register at 0x08.")
@click.option("--ecap", type=number, required=True, help="ECAP, the register at 0x10.")
@click.option("--rid", type=requester, help="Only entries that this requester may use.")
@json_option
def command(
    *, pages: tuple[tuple[Path, int], ...], irta: int, cap: int, ecap: int, rid: Bdf | None, as_json: bool
) -> int:
    """Print every entry of an interrupt remapping table: what it raises where, and which requester may use it."""
    table = interrupt_table(irta)
    rules = TableRules.of(Capability(cap), ExtendedCapability(ecap), host_address_bits=HOST_ADDRESS_BITS)
    if table.extended and not rules.extended_interrupts:
        raise UsageError(f"IRTA {irta:#x} says extended interrupt mode (EIME), which ECAP {ecap:#x} does not have")
    try:
        found = list(list_interrupts(open_dump(pages), table, rules))
    except NotDumped as missing:
        raise VafwError(
            f"the interrupt remapping table takes {table.entries * 16:#x} bytes from {table.base:#x}, and "
            f"the page at {missing.address & ~0xFFF:#x} is not in the dump",
            hint=f"dump the page and add --memory FILE@{missing.address & ~0xFFF:#x}",
        ) from missing
    shown = [each for each in found if rid is None or is_verified(each.entry, rid.requester_id)]
    if not as_json:
        print("\n".join(f"{each.index:>5}  {_text(each)}" for each in shown))
    data: dict[str, Value] = {"entries": table.entries, "extended": table.extended, "irtes": _data(shown)}
    return Output(as_json, "Model").result(data)


def _text(listed: IrteListing) -> str:
    match listed.meaning:
        case Blocked(reason=FaultReason() as reason):
            return f"unusable, reason {reason:#x}: {reason.sentence}"
        case Posting() as posted:
            urgent = ", urgent" if posted.urgent else ""
            return f"vector {posted.vector:#04x} posted to {posted.descriptor:#x}{urgent}, by {listed.source}"
        case Interrupt() as raised:
            where = f"{'logical' if raised.logical else 'processor'} {raised.destination:#x}"
            trigger = "level" if raised.level_triggered else "edge"
            mode = _DELIVERY[raised.delivery_mode]
            return f"vector {raised.vector:#04x} to {where}, {mode}, {trigger}, by {listed.source}"


def _data(shown: Sequence[IrteListing]) -> list[Value]:
    found: list[Value] = []
    for each in shown:
        found.append({"index": each.index, "entry": f"{each.entry:#034x}", "source": each.source, **_meaning(each)})
    return found


def _meaning(listed: IrteListing) -> dict[str, Value]:
    match listed.meaning:
        case Blocked(reason=FaultReason() as reason):
            return {"outcome": "blocked", "reason": int(reason), "reason-text": reason.sentence}
        case Posting() as posted:
            return {
                "outcome": "posted",
                "vector": posted.vector,
                "descriptor": f"{posted.descriptor:#x}",
                "urgent": posted.urgent,
            }
        case Interrupt() as raised:
            return {
                "outcome": "remapped",
                "vector": raised.vector,
                "destination": raised.destination,
                "logical": raised.logical,
                "delivery-mode": _DELIVERY[raised.delivery_mode],
                "level-triggered": raised.level_triggered,
            }
