"""The attestation ledger: enrolments, results, gate decisions and overrides, each record chained to the one before it.

One SQLite file, append-only by triggers and, against whoever edits the file all the same, by digests: a record's digest
covers its content and the digest before it, so the first altered record is found by reading from the start. What a
chain cannot show is an end that was cut off; whoever must know that keeps the head (`Ledger.head`) elsewhere.

Not the control plane's ledger of configurations (`vafw.control.ledger`), which is state and changes.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, final

from vafw.clock import Clock
from vafw.errors import VafwError
from vafw.trace import Value

FIRST: Final = bytes(32).hex()
"""What the first record is chained to."""
_APPLICATION: Final = 0x76616174
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS record (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL,
    previous TEXT NOT NULL, digest TEXT NOT NULL UNIQUE
) STRICT;
CREATE TRIGGER IF NOT EXISTS record_stays BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS record_is_kept BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


class RecordKind(StrEnum):
    """What a record says."""

    ENROLMENT = "enrolment"
    RESULT = "result"
    GATE = "gate"
    CONFIGURATION = "configuration"
    BREAK_GLASS = "break-glass"


class LedgerAltered(VafwError):
    """The ledger does not hold what was once written; names the first record that is wrong."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry."""

    number: int
    """From 1."""
    at: str
    """ISO 8601, UTC."""
    kind: RecordKind
    subject: str
    body: Mapping[str, Value]
    previous: str
    digest: str
    """SHA-256, hexadecimal, over the other members as canonical JSON."""

    def to_json(self) -> dict[str, Value]:
        """The record as a line of an exported bundle."""
        return {**self._content(), "digest": self.digest}

    @property
    def is_whole(self) -> bool:
        """Whether the digest is that of the content."""
        return self.digest == digest_of(self._content())

    def _content(self) -> dict[str, Value]:
        return {
            "number": self.number,
            "at": self.at,
            "kind": self.kind.value,
            "subject": self.subject,
            "body": dict(self.body),
            "previous": self.previous,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """What `to_json` wrote; ValueError or KeyError for anything else."""
        members = {key: content[key] for key in ("number", "at", "subject", "body", "previous", "digest")}
        return cls(kind=RecordKind(content["kind"]), **members)


def digest_of(content: Mapping[str, Value]) -> str:
    """SHA-256 of canonical JSON, hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def verified(records: Iterator[Record]) -> Iterator[Record]:
    """The same records, each held against its digest and the one before; LedgerAltered at the first that is wrong."""
    previous = FIRST
    for number, record in enumerate(records, start=1):
        if record.number != number:
            raise LedgerAltered(f"record {number} of the ledger is missing: record {record.number} follows")
        if record.previous != previous:
            raise LedgerAltered(f"record {number} of the ledger does not follow the one before it: one was replaced")
        if not record.is_whole:
            raise LedgerAltered(f"record {number} of the ledger was altered: {record.kind} of {record.subject}")
        previous = record.digest
        yield record


@final
class Ledger:
    """An open ledger."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        """At `path`, made where there is none; in memory for None. LedgerAltered where it is no ledger."""
        self._clock = clock
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._file = sqlite3.connect(":memory:" if path is None else path, isolation_level=None)
            self._open()
        except sqlite3.DatabaseError as error:
            raise LedgerAltered(f"the ledger must be readable: {path}: {error}") from error
        if path is not None:
            path.chmod(0o600)

    def append(self, kind: RecordKind, subject: str, body: Mapping[str, Value]) -> Record:
        """Add one record; it is on the disk when this returns."""
        with self._file:
            self._file.execute("BEGIN IMMEDIATE")
            number, previous = self.head
            content: dict[str, Value] = {
                "number": number + 1,
                "at": self._clock.wall().isoformat(timespec="milliseconds"),
                "kind": kind.value,
                "subject": subject,
                "body": dict(body),
                "previous": previous,
            }
            record = Record.from_json({**content, "digest": digest_of(content)})
            row = (number + 1, record.at, kind.value, subject, json.dumps(body), previous, record.digest)
            self._file.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._file.execute("COMMIT")
        return record

    @property
    def head(self) -> tuple[int, str]:
        """How many records there are, and the digest of the last: what to keep elsewhere."""
        row = self._file.execute("SELECT number, digest FROM record ORDER BY number DESC LIMIT 1").fetchone()
        return (0, FIRST) if row is None else (row[0], row[1])

    def verified(self) -> Iterator[Record]:
        """Every record from the first on; LedgerAltered at the first that is not what was written."""
        return verified(self._records())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _records(self) -> Iterator[Record]:
        try:
            with closing(self._file.execute("SELECT * FROM record ORDER BY number")) as rows:
                for number, at, kind, subject, body, previous, digest in rows:
                    try:
                        yield Record(number, at, RecordKind(kind), subject, json.loads(body), previous, digest)
                    except ValueError as error:
                        raise LedgerAltered(f"record {number} of the ledger was altered: {error}") from error
        except sqlite3.DatabaseError as error:
            raise LedgerAltered(f"the ledger must be readable: {error}") from error

    def _open(self) -> None:
        found = self._file.execute("PRAGMA application_id").fetchone()[0]
        if found not in (0, _APPLICATION):
            raise sqlite3.DatabaseError("it is the file of another program")
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = FULL")
        self._file.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._file.executescript(_SCHEMA)
