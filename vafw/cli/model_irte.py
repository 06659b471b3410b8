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
from vafw.hw.vtd.interrupt_listing import IrteListing, Posting, follow_message, interrupt_table, list_interrupts
from vafw.hw.vtd.interrupt_message import Interrupt, is_remappable
from vafw.hw.vtd.interrupt_remapping import is_verified
from vafw.hw.vtd.page_dump import NotDumped
from vafw.hw.vtd.registers import Capability, ExtendedCapability
from vafw.hw.vtd.table_walk import Blocked
from vafw.trace import Value

_DELIVERY: Final = ("fixed", "lowest priority", "SMI", "reserved", "NMI", "INIT", "reserved", "ExtINT")
"""DLM (VT-d, "Interrupt Remapping Table Entry (IRTE) for Remapped Interrupts")."""


def _message(text: str) -> tuple[int, int]:
    """ADDRESS:DATA of a message-signalled interrupt."""
    address, colon, data = text.partition(":")
    if not colon:
        raise click.BadParameter(f"must look like ADDRESS:DATA, for instance 0xfee00010:0, not {text!r}")
    if not is_remappable(number(address)):
        raise click.BadParameter(f"must be in remappable format (bit 4 of the address), not {text!r}")
    return number(address), number(data)


@click.command(
    epilog="Example: vafw model irte --memory dump.bin@0x1100000 --irta 0x110000f --cap 0xd2008c222f0686 "
    "--ecap 0xf00f4a --rid 02:00.0"
)
@memory_option
@click.option("--irta", type=number, required=True, help="IRTA, the register at 0xb8.")
@click.option("--cap", type=number, required=True, help="CAP, the register at 0x08.")
@click.option("--ecap", type=number, required=True, help="ECAP, the register at 0x10.")
@click.option("--rid", type=requester, help="Only entries that this requester may use.")
@click.option(
    "--message",
    metavar="ADDRESS:DATA",
    type=_message,
    help="Follow this message of --rid instead, in remappable format.",
)
@json_option
def command(
    *,
    pages: tuple[tuple[Path, int], ...],
    irta: int,
    cap: int,
    ecap: int,
    rid: Bdf | None,
    message: tuple[int, int] | None,
    as_json: bool,
) -> int:
    """Print every entry of an interrupt remapping table: what it raises where, and which requester may use it."""
    table = interrupt_table(irta)
    rules = TableRules.of(Capability(cap), ExtendedCapability(ecap), host_address_bits=HOST_ADDRESS_BITS)
    if table.extended and not rules.extended_interrupts:
        raise UsageError(f"IRTA {irta:#x} says extended interrupt mode (EIME), which ECAP {ecap:#x} does not have")
    if message is not None and rid is None:
        raise UsageError("--message must come with --rid: whose message it is")
    dump = open_dump(pages)
    try:
        if message is not None and rid is not None:
            address, data = message
            answer = follow_message(dump, table, rules, rid.requester_id, address=address, data=data)
            return _answer(answer, rid, as_json=as_json)
        found = list(list_interrupts(dump, table, rules))
    except NotDumped as missing:
        raise VafwError(
            f"the interrupt remapping table takes {table.entries * 16:#x} bytes from {table.base:#x}, and "
            f"the page at {missing.address & ~0xFFF:#x} is not in the dump",
            hint=f"dump the page and add --memory FILE@{missing.address & ~0xFFF:#x}",
        ) from missing
    shown = [each for each in found if rid is None or is_verified(each.entry, rid.requester_id)]
    if not as_json:
        print("\n".join(f"{each.index:>5}  {_text(each)}" for each in shown))
    return Output(as_json, "Model").result(
        {"entries": table.entries, "extended": table.extended, "irtes": _data(shown)}
    )


def _answer(answer: IrteListing | Blocked, rid: Bdf, *, as_json: bool) -> int:
    """What became of one message."""
    if isinstance(answer, Blocked):
        text = f"blocked, reason {answer.reason:#x}: {answer.reason.sentence}"
        data: dict[str, Value] = {
            "outcome": "blocked",
            "reason": int(answer.reason),
            "reason-text": answer.reason.sentence,
        }
    else:
        text = f"entry {answer.index}: {_text(answer)}"
        data = {"index": answer.index, "source": answer.source, **_meaning(answer)}
    if not as_json:
        print(f"message by {rid}: {text}")
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
