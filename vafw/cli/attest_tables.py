"""Event logs as tables for a person."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from vafw.attest.account import ACCEPTED, REFUSED, EventAccount, RegisterAccount
from vafw.attest.logs.model import MeasuredLog
from vafw.cli.output import columns
from vafw.cli.tables import plain_table
from vafw.tcg.algorithms import SHA1, SHA256, algorithm_name

_WIDTH_ELSEWHERE: Final = 130
_DIGEST_SHOWN: Final = 12


def print_log(log: MeasuredLog, problems: Sequence[str]) -> None:
    """Every event, the values that the log replays to, and what is wrong with it, on standard output."""
    show(_events(log), _replayed(log), *(Text(f"✗ {each}", "bold red") for each in problems))
    summary = f"{len(log.entries)} events, {log.kind}"
    print(
        f"{summary}, {len(problems)} problem{'s' if len(problems) != 1 else ''}" if problems else f"{summary}, no lie"
    )


def print_account(
    events: Sequence[EventAccount], registers: Sequence[RegisterAccount], sentences: Sequence[str]
) -> None:
    """Each event with its verdict, each register with its log, and the explanation, on standard output."""
    shown = [_accounts(events)] if events else []
    shown += [_registers(registers)] if registers else []
    show(*shown)
    print()
    for sentence in sentences:
        print(sentence)


def _accounts(events: Sequence[EventAccount]) -> Table:
    table = plain_table("What was measured", "#", "PCR", "event", "component", "verdict", "says")
    for each in events:
        style = {ACCEPTED: "green", REFUSED: "bold red"}.get(each.verdict, "dim")
        says = each.says if each.verdict != REFUSED else f"{each.says}  expected {each.expected}, found {each.found}"
        pcr = "–" if each.pcr > 23 else str(each.pcr)
        table.add_row(str(each.position), pcr, each.name, each.component, Text(each.verdict, style), Text(says))
    return table


def _registers(registers: Sequence[RegisterAccount]) -> Table:
    table = plain_table("What the TPM quoted", "PCR", "SHA-256", "the log")
    for each in registers:
        told = Text("gives it", "green") if each.agrees else Text("gives another value", "bold red")
        told = told if each.replayed is not None else Text("never extends it", "bold red")
        table.add_row(str(each.pcr), each.quoted.hex(), told)
    return table


def show(*parts: RenderableType) -> None:
    """Print parts, a blank line before each table."""
    console = Console(highlight=False, width=columns(sys.stdout, _WIDTH_ELSEWHERE))
    with console.capture() as captured:
        for part in parts:
            if isinstance(part, Table):
                console.print()
            console.print(part)
    for line in captured.get().splitlines():
        print(line.rstrip())


def _events(log: MeasuredLog) -> Table:
    bank = SHA256 if SHA256 in log.algorithms else log.algorithms[0]
    table = plain_table(
        f"Event log ({', '.join(map(algorithm_name, log.algorithms))})", "#", "PCR", "event", "digest", "says"
    )
    for entry in log.entries:
        pcr = "–" if entry.event.pcr > 23 else str(entry.event.pcr)
        digest = f"{entry.event.digests[bank].hex()[:_DIGEST_SHOWN]}…"
        says = Text(entry.description.summary) if not entry.lies else Text(entry.description.summary, "bold red")
        table.add_row(str(entry.position), pcr, entry.name, digest, says)
    return table


def _replayed(log: MeasuredLog) -> Table:
    replayed = log.replayed()
    bank = SHA256 if SHA256 in replayed else min(replayed, default=SHA1)
    table = plain_table(f"What a TPM must hold ({algorithm_name(bank)})", "PCR", "value")
    for pcr, value in sorted(replayed.get(bank, {}).items()):
        table.add_row(str(pcr), value.hex())
    return table
