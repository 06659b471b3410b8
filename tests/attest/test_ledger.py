"""The ledger keeps what was written, and names the first record that is not what was written."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from vafw.attest.ledger import FIRST, Ledger, LedgerAltered, RecordKind
from vafw.clock import ManualClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / "trust" / "ledger.sqlite", ManualClock())
    for number in range(1, 5):
        ledger.append(RecordKind.GATE, f"start {number}", {"open": number != 3})
    ledger.close()
    return tmp_path / "trust" / "ledger.sqlite"


def opened(path: Path) -> Ledger:
    return Ledger(path, ManualClock())


def edit(path: Path, statement: str) -> None:
    """What somebody does who has the file and knows SQL."""
    with sqlite3.connect(path) as file:
        file.executescript("DROP TRIGGER record_stays; DROP TRIGGER record_is_kept;" + statement)
    file.close()


def test_records_come_back_in_order_each_chained_to_the_one_before(path: Path) -> None:
    records = list(opened(path).verified())
    assert [each.subject for each in records] == ["start 1", "start 2", "start 3", "start 4"]
    assert [each.previous for each in records] == [FIRST, *(each.digest for each in records[:-1])]
    assert opened(path).head == (4, records[-1].digest)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SET body = '{\"open\": true}' WHERE number = 3", "record 3 of the ledger was altered: gate of start 3"),
        ("SET at = '2020' WHERE number = 2", "record 2 of the ledger was altered: gate of start 2"),
        ("SET kind = 'result' WHERE number = 1", "record 1 of the ledger was altered: result of start 1"),
        ("SET kind = 'joke' WHERE number = 1", "record 1 of the ledger was altered: 'joke' is not a valid RecordKind"),
        ("SET body = '{' WHERE number = 4", "record 4 of the ledger was altered: "),
        ("SET number = 9 WHERE number = 2", "record 2 of the ledger is missing: record 3 follows"),
        (f"SET previous = '{FIRST}' WHERE number = 2", "record 2 of the ledger does not follow the one before it"),
    ],
)
def test_an_altered_record_is_named_and_refused(path: Path, statement: str, message: str) -> None:
    edit(path, f"UPDATE record {statement}")
    with pytest.raises(LedgerAltered, match=f"^{re.escape(message)}"):
        list(opened(path).verified())


def test_the_file_itself_takes_no_change_refused(path: Path) -> None:
    with sqlite3.connect(path) as file:
        for statement in ("UPDATE record SET at = ''", "DELETE FROM record"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                file.execute(statement)
    file.close()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"no database at all, but long enough to look like one" * 40)
    with pytest.raises(LedgerAltered, match=r"^the ledger must be readable: "):
        opened(tmp_path / "notes")


def test_the_file_belongs_to_its_owner_alone(path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0
