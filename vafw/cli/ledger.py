"""`vafw ledger`: what was enrolled, appraised, decided and overridden, as it was written; and whether it still is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output
from vafw.errors import NoSuchObject, Refused

if TYPE_CHECKING:
    from vafw.attest.ledger import Record


@click.group(epilog="Example: vafw ledger verify. Exit codes: 0 whole, 1 a record was altered (it is named).")
def command() -> None:
    """Read, verify and export the attestation ledger of this user."""


@command.command()
@click.option("--kind", help="Only these: enrolment, result, gate, configuration, break-glass.")
@json_option
def show(kind: str | None, as_json: bool) -> int:
    """Print the records, oldest first."""
    found = [each for each in _verified() if kind in (None, each.kind.value)]
    if not as_json:
        for each in found:
            click.echo(f"{each.number:>5}  {each.at[:19]}  {each.kind:<12}{each.subject}  {_says(each)}")
    return Output(as_json, "LedgerShow").result([each.to_json() for each in found])


@command.command()
@click.argument("bundle", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--head", help="Digest of the last record, as kept elsewhere: without it a cut-off end is not seen.")
@json_option
def verify(bundle: Path | None, head: str | None, as_json: bool) -> int:
    """Hold every record against its digest and the one before it; of the ledger here, or of an exported BUNDLE."""
    count, last = 0, ""
    for record in _verified() if bundle is None else _of_bundle(bundle):
        count, last = record.number, record.digest
    if head is not None and head != last:
        raise Refused(f"the ledger must end with {head}, and ends with {last or 'nothing'}")
    if not as_json:
        click.echo(f"{count} records, each what was written; head {last or 'none'}")
    return Output(as_json, "LedgerVerify").result({"records": count, "head": last})


@command.command()
@click.argument("bundle", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def export(bundle: Path, as_json: bool) -> int:
    """Write every record to BUNDLE, a JSON object a line, for another machine to verify offline."""
    records = list(_verified())
    bundle.write_text("".join(f"{json.dumps(each.to_json())}\n" for each in records), encoding="utf-8")
    if not as_json:
        click.echo(f"{bundle}: {len(records)} records")
    return Output(as_json, "LedgerExport").result({"file": str(bundle), "records": len(records)})


def _verified() -> Iterator[Record]:
    from vafw.attest.ledger import Ledger  # deferred with all below: `--help` needs no database
    from vafw.clock import SystemClock
    from vafw.supervisor.state_folder import ledger_path

    path = ledger_path()
    if not path.exists():
        raise NoSuchObject(f"there is no ledger yet: {path}", hint="`vafw up` and `vafw attest enrol` write it")
    return Ledger(path, SystemClock()).verified()


def _of_bundle(bundle: Path) -> Iterator[Record]:
    from vafw.attest.ledger import LedgerAltered, Record, verified

    def lines() -> Iterator[Record]:
        for number, line in enumerate(bundle.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                content: Any = json.loads(line)
                yield Record.from_json(content)
            except (ValueError, KeyError, TypeError) as error:
                raise LedgerAltered(f"{bundle}:{number}: this is no record of a ledger: {error!r}") from error

    return verified(lines())


def _says(record: Record) -> str:
    body = record.body
    match record.kind.value:
        case "enrolment":
            return f"endorsement key {str(body.get('ek'))[4:20]}…"
        case "result":
            return f"{body.get('tier')} ({body.get('root-of-trust')}), boot {body.get('reset-count')}"
        case "gate":
            return f"{'open' if body.get('open') else 'closed'}: {body.get('reason')}"
        case _:
            return str(body.get("reason", ""))
