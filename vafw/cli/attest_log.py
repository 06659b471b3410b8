"""`vafw attest log FILE`: any event log as a table, event by event, and the PCR values that it replays to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output
from vafw.errors import ExitCode, InvalidDocument, UsageError

if TYPE_CHECKING:
    from vafw.attest.logs.model import MeasuredLog


@click.command(
    epilog="Example: vafw attest log /sys/kernel/security/tpm0/binary_bios_measurements. "
    "Exit codes: 0 the log tells no lie, 22 it does or gives other PCR values than reported, 65 it cannot be read."
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--heap-base", metavar="ADDRESS", help="Physical address of the first byte of a TXT heap's dump.")
@click.option("--pcr", "reported", multiple=True, metavar="PCR=HEX", help="A value that the TPM reports (repeatable).")
@json_option
def command(file: Path, heap_base: str | None, reported: tuple[str, ...], as_json: bool) -> int:
    """Print the event log in FILE and replay it: of firmware (SRTM), of a dynamic launch, of IMA, or in a TXT heap."""
    from vafw.attest.logs.read import read_log  # deferred with all below: other verbs read no logs
    from vafw.wire import FormatError

    try:
        log = read_log(file.read_bytes(), heap_base=None if heap_base is None else int(heap_base, 0))
    except FormatError as error:
        raise InvalidDocument(f"{file}: {error}") from error
    except ValueError as error:
        raise UsageError(f"--heap-base must be a number such as 0xbaf20000, not {heap_base!r}") from error
    problems = [f"event #{entry.position} {entry.name}: {lie}" for entry, lie in log.lies]
    problems += _differences(log, reported)
    code = ExitCode.REFUSED if problems else ExitCode.DONE
    if not as_json:
        _print(log, problems)
    return Output(as_json, "AttestLog").result({**log.to_json(), "problems": list(problems)}, code)


def _differences(log: MeasuredLog, reported: tuple[str, ...]) -> list[str]:
    """What the TPM reports and the log does not give, as sentences."""
    from vafw.tcg.algorithms import DIGEST_SIZES, algorithm_name

    replayed, found = log.replayed(), []
    for each in reported:
        index, _, text = each.partition("=")
        try:
            pcr, value = int(index), bytes.fromhex(text)
        except ValueError as error:
            raise UsageError(f"--pcr must be a number, = and a value in hexadecimal, not {each!r}") from error
        banks = [bank for bank in log.algorithms if DIGEST_SIZES.get(bank) == len(value)]
        if not banks:
            raise UsageError(f"--pcr must give a value of a bank that the log carries, and none has {len(value)} bytes")
        got = replayed.get(banks[0], {}).get(pcr)
        if got is None:
            found.append(f"PCR {pcr} ({algorithm_name(banks[0])}): the log never extends it, and a value is reported")
        elif got != value:
            found.append(f"PCR {pcr} ({algorithm_name(banks[0])}): the log gives {got.hex()}, not {value.hex()}")
    return found


def _print(log: MeasuredLog, problems: list[str]) -> None:
    from vafw.cli.attest_tables import print_log

    print_log(log, problems)
