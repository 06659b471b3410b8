"""The ledger: what every appliance is to have, in one SQLite file. It is the truth; a broker only caches it.

    commit ─▶ desired + history + outbox, in one transaction ─▶ published ─▶ the outbox row goes

A new generation is committed by comparing with the one that its author saw, so of two who change at once one is told.
Whoever restores an old copy begins a new epoch, which fences everything that was said after the copy was made.

A generation may be on trial: `confirmed` only by its agent's word, and given up wherever nobody can know. What went
back is followed by a generation with what was confirmed last, so that generations only ever go up. What people signed
for a generation is kept with it, and with those that follow in its place, so that it can be shown again.

Python's own sqlite3 behind one thread, not SQLAlchemy: eight tables and one writer need no second dialect yet, and `up`
does not pay for its import. Write-ahead log and synchronous=FULL: a commit that returned survives a loss of power.
Longer than most files here, so that every statement that writes stands beside the schema it keeps.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vafw.clock import Clock
from vafw.control.approval import Approval
from vafw.control.entry import Approved, Entry, TrialRecord, TrialState
from vafw.control.envelope import Version, canonical, digest_of
from vafw.errors import NoSuchObject, Refused, VafwError
from vafw.trace import Value

_APPLICATION: Final = 0x76616677
"""``vafw`` in ASCII: SQLite's application_id."""
_SCHEMA: Final = 3
"""2 added trials, 3 what people signed; an older ledger gets the tables when it is opened."""
_TABLES: Final = """
CREATE TABLE epoch (number INTEGER NOT NULL);
CREATE TABLE desired (
    appliance TEXT PRIMARY KEY, epoch INTEGER NOT NULL, generation INTEGER NOT NULL, digest TEXT NOT NULL,
    body TEXT NOT NULL, basis TEXT NOT NULL, note TEXT NOT NULL, author TEXT NOT NULL, at TEXT NOT NULL
) STRICT;
CREATE TABLE history (
    appliance TEXT NOT NULL, epoch INTEGER NOT NULL, generation INTEGER NOT NULL, digest TEXT NOT NULL,
    body TEXT NOT NULL, basis TEXT NOT NULL, note TEXT NOT NULL, author TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (appliance, epoch, generation)
) STRICT;
CREATE TABLE reported (appliance TEXT PRIMARY KEY, body TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE TABLE outbox (appliance TEXT PRIMARY KEY, epoch INTEGER NOT NULL, generation INTEGER NOT NULL) STRICT;
CREATE TABLE keys (identity TEXT PRIMARY KEY, public BLOB NOT NULL, at TEXT NOT NULL) STRICT;
INSERT INTO epoch VALUES (1);
"""
_TRIAL_TABLE: Final = """
CREATE TABLE trial (
    appliance TEXT NOT NULL, epoch INTEGER NOT NULL, generation INTEGER NOT NULL, within_s REAL NOT NULL,
    state TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (appliance, epoch, generation)
) STRICT;
"""
_APPROVAL_TABLE: Final = """
CREATE TABLE approval (
    appliance TEXT NOT NULL, epoch INTEGER NOT NULL, generation INTEGER NOT NULL, what TEXT NOT NULL,
    signed TEXT NOT NULL, PRIMARY KEY (appliance, epoch, generation, what)
) STRICT;
"""
_COLUMNS: Final = "appliance, epoch, generation, digest, body, basis, note, author, at"
_ENTRIES: Final = f"SELECT {_COLUMNS}, within_s, state, reason, change.signed, stay.signed FROM"
_KEY: Final = "USING (appliance, epoch, generation)"
_TRIALS: Final = (
    f"LEFT JOIN trial {_KEY} "
    f"LEFT JOIN (SELECT * FROM approval WHERE what = 'change') AS change {_KEY} "
    f"LEFT JOIN (SELECT * FROM approval WHERE what = 'confirmation') AS stay {_KEY}"
)

Result = TypeVar("Result")


class LedgerDamaged(VafwError):
    """The file is no ledger, or one that SQLite finds damaged; nothing of it is used."""


class StaleGeneration(Refused):
    """Somebody else committed since the author looked."""


class OnTrial(Refused):
    """A change is on trial, and must end before the next one."""


@final
class Ledger:
    """An open ledger; one thread owns the file."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vafw-ledger")
        self._file: sqlite3.Connection | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, clock: Clock) -> AsyncIterator[Ledger]:
        """The ledger at `path`, made where there is none; LedgerDamaged where it cannot be trusted."""
        ledger = cls(path, clock)
        try:
            await ledger._do(ledger._open)
            yield ledger
        finally:
            await ledger._do(ledger._close)
            ledger._thread.shutdown()

    # -- what is desired --------------------------------------------------------------------------------------

    async def commit(
        self,
        appliance: str,
        body: dict[str, Value],
        *,
        seen: Version | None,
        basis: dict[str, Value],
        note: str,
        author: str,
        within_s: float | None = None,
        approved: Approved | None = None,
    ) -> Entry:
        """Commit the next generation; StaleGeneration unless the last one is `seen` (None: there is none).

        With `within_s` it is on trial for so many seconds. OnTrial while another one is.
        """

        def work(file: sqlite3.Connection) -> Entry:
            last = _one(file, appliance)
            if (last.version if last else None) != seen:
                there = f"generation {last.version}" if last else "nothing"
                raise StaleGeneration(
                    f"a change of {appliance} must build on what is committed, {there}, not on {seen or 'nothing'}"
                )
            if last is not None and last.is_on_trial:
                raise _still_on_trial(last)
            (epoch,) = file.execute("SELECT number FROM epoch").fetchone()
            version = Version(epoch, last.version.generation + 1 if last else 1)
            trial = None if within_s is None or last is None else TrialRecord(within_s, TrialState.OPEN, "")
            entry = Entry(appliance, version, digest_of(body), body, basis, note, author, self._now(), trial, approved)
            _write(file, entry)
            return entry

        return await self._transaction(work)

    # -- trials -----------------------------------------------------------------------------------------------

    async def ask_to_confirm(self, appliance: str, approved: Approved | None = None) -> Entry:
        """Have the generation on trial confirmed, if its agent finds that it is not too late; Refused where none is.

        StaleGeneration where `approved` is of another one.
        """

        def work(file: sqlite3.Connection) -> Entry:
            last = required_on_trial(appliance, _one(file, appliance))
            assert last.trial is not None, "it is on trial"
            if approved is not None and (confirms := approved.approval.statement.leads_to) != last.version:
                raise StaleGeneration(
                    f"a confirmation of {appliance} must be of what is on trial, generation {last.version}, not of "
                    f"{confirms}"
                )
            entry = replace(last, trial=replace(last.trial, state=TrialState.CONFIRMING), confirmed=approved)
            _write_trial(file, entry)
            _write_approvals(file, entry)
            file.execute(
                "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?)",
                (appliance, last.version.epoch, last.version.generation),
            )
            return entry

        return await self._transaction(work)

    async def confirmed(self, appliance: str, version: Version) -> Entry | None:
        """Its agent says that the trial of `version` ended well; None where no such trial is open."""

        def work(file: sqlite3.Connection) -> Entry | None:
            last = _one(file, appliance)
            if last is None or last.version != version or last.trial is None or not last.is_on_trial:
                return None
            entry = replace(last, trial=replace(last.trial, state=TrialState.CONFIRMED))
            _write_trial(file, entry)
            return entry

        return await self._transaction(work)

    async def gone_back(self, appliance: str, reason: str, *, version: Version | None = None) -> Entry | None:
        """End an open trial badly and commit what was confirmed last as the next generation, which is returned.

        `version` is the generation that the agent speaks of; None: whichever is on trial. None where no trial is open.
        """

        def work(file: sqlite3.Connection) -> Entry | None:
            last = _one(file, appliance)
            if last is None or not last.is_on_trial or (version is not None and version != last.version):
                return None
            return _go_back(file, last, reason, self._now())

        return await self._transaction(work)

    async def desired(self, appliance: str) -> Entry:
        """What an appliance is to have; NoSuchObject where nothing was committed."""
        found = await self._transaction(lambda file: _one(file, appliance))
        if found is None:
            raise NoSuchObject(f"{appliance} must have a committed configuration, and has none")
        return found

    async def all_desired(self) -> tuple[Entry, ...]:
        """What every appliance is to have, by name."""
        return await self._transaction(
            lambda file: tuple(map(_entry, file.execute(f"{_ENTRIES} desired {_TRIALS} ORDER BY appliance")))
        )

    async def history(self, appliance: str) -> tuple[Entry, ...]:
        """Everything that was committed for an appliance, the latest first."""
        return await self._transaction(lambda file: _history(file, appliance))

    async def begin_epoch(self) -> int:
        """Fence what was said before: everything desired is committed again, in the next epoch."""

        def work(file: sqlite3.Connection) -> int:
            (epoch,) = file.execute("UPDATE epoch SET number = number + 1 RETURNING number").fetchone()
            for row in file.execute(f"{_ENTRIES} desired {_TRIALS}").fetchall():
                old = _entry(row)
                if old.is_on_trial:
                    old = _go_back(file, old, f"epoch {epoch} began before it was confirmed", self._now())
                version = Version(epoch, old.version.generation)
                note = f"epoch {epoch} begins; was {old.version}: {old.note}"
                _write(file, replace(old, version=version, note=note, at=self._now(), trial=None))
            return int(epoch)

        return await self._transaction(work)

    # -- what was published and reported ----------------------------------------------------------------------

    async def unpublished(self) -> tuple[Entry, ...]:
        """What was committed and not yet handed to a broker."""
        waiting = "appliance IN (SELECT appliance FROM outbox)"
        query = f"{_ENTRIES} desired {_TRIALS} WHERE {waiting} ORDER BY appliance"
        return await self._transaction(lambda file: tuple(map(_entry, file.execute(query))))

    async def published(self, entry: Entry) -> None:
        """Take an entry out of the outbox, unless a newer one took its place there."""

        def work(file: sqlite3.Connection) -> None:
            now = _one(file, entry.appliance)
            if now is not None and (now.version, now.trial) == (
                entry.version,
                entry.trial,
            ):  # else a confirmation waits
                file.execute("DELETE FROM outbox WHERE appliance = ?", (entry.appliance,))

        await self._transaction(work)

    async def keep_report(self, appliance: str, body: dict[str, Value]) -> None:
        """Remember the last report of an appliance."""
        row = (appliance, canonical(body).decode(), self._now())
        await self._transaction(lambda file: file.execute("INSERT OR REPLACE INTO reported VALUES (?, ?, ?)", row))

    async def reported(self, appliance: str) -> dict[str, Value] | None:
        """The last report of an appliance."""
        query = "SELECT body FROM reported WHERE appliance = ?"
        row = await self._transaction(lambda file: file.execute(query, (appliance,)).fetchone())
        return json.loads(row[0]) if row else None

    async def enrol(self, identity: str, key: Ed25519PublicKey) -> None:
        """Remember whose key it is, in place of an earlier one."""
        row = (identity, key.public_bytes_raw(), self._now())
        await self._transaction(lambda file: file.execute("INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", row))

    async def key(self, identity: str) -> Ed25519PublicKey:
        """The key of an identity; NoSuchObject where none was enrolled."""
        query = "SELECT public FROM keys WHERE identity = ?"
        row = await self._transaction(lambda file: file.execute(query, (identity,)).fetchone())
        if row is None:
            raise NoSuchObject(f"{identity} must have an enrolled key, and has none")
        return Ed25519PublicKey.from_public_bytes(row[0])

    async def back_up(self, target: Path) -> None:
        """Write a copy; restoring it later is copying it back and beginning an epoch."""

        def work() -> None:
            target.unlink(missing_ok=True)
            self._require_open().execute("VACUUM INTO ?", (str(target),))

        await self._do(work)

    # -- machinery --------------------------------------------------------------------------------------------

    async def _do(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _transaction(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        def run() -> Result:
            with _telling_damage(self._path):
                file = self._require_open()
                file.execute("BEGIN IMMEDIATE")
                try:
                    result = work(file)
                except BaseException:
                    file.execute("ROLLBACK")
                    raise
                file.execute("COMMIT")
                return result

        return await self._do(run)

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        with _telling_damage(self._path):
            file = self._file = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            _require_ledger(file, self._path)
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")
            (schema,) = file.execute("PRAGMA user_version").fetchone()
            missing = "".join((_TABLES, _TRIAL_TABLE, _APPROVAL_TABLE)[schema:])
            if missing:
                file.executescript(
                    f"BEGIN; {missing} PRAGMA user_version = {_SCHEMA}; PRAGMA application_id = {_APPLICATION}; COMMIT;"
                )

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _require_open(self) -> sqlite3.Connection:
        if self._file is None:
            raise VafwError("the ledger must be open for this, and was closed")
        return self._file

    def _now(self) -> str:
        return self._clock.wall().isoformat(timespec="milliseconds")


def _require_ledger(file: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is damaged, somebody else's, or of a later schema."""
    (found,) = file.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise _damaged(path, found)
    (schema,) = file.execute("PRAGMA user_version").fetchone()
    (application,) = file.execute("PRAGMA application_id").fetchone()
    (tables,) = file.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (1 <= schema <= _SCHEMA and application == _APPLICATION) or (schema, application, tables) == (0, 0, 0):
        return
    raise _damaged(path, f"it is no ledger of schema {_SCHEMA} (schema {schema}, application {application:#x})")


@contextmanager
def _telling_damage(path: Path) -> Iterator[None]:
    """What SQLite says of a file it cannot read, as LedgerDamaged."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
            raise VafwError(f"the ledger {path} must have room to grow: {error}") from error
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, what: str) -> LedgerDamaged:
    return LedgerDamaged(
        f"the ledger {path} must be whole: {what}",
        hint="put a copy of it back and begin a new epoch, or move it away to begin with the documents",
    )


def _one(file: sqlite3.Connection, appliance: str) -> Entry | None:
    row = file.execute(f"{_ENTRIES} desired {_TRIALS} WHERE appliance = ?", (appliance,)).fetchone()
    return _entry(row) if row else None


def _history(file: sqlite3.Connection, appliance: str) -> tuple[Entry, ...]:
    query = f"{_ENTRIES} history {_TRIALS} WHERE appliance = ? ORDER BY epoch DESC, generation DESC"
    return tuple(map(_entry, file.execute(query, (appliance,))))


def _go_back(file: sqlite3.Connection, tried: Entry, reason: str, at: str) -> Entry:
    """The trial as gone back, and what was confirmed last as the next generation."""
    assert tried.trial is not None
    _write_trial(file, replace(tried, trial=replace(tried.trial, state=TrialState.WENT_BACK, reason=reason)))
    before = (each for each in _history(file, tried.appliance) if each.version < tried.version)
    confirmed = next(each for each in before if not each.went_back)
    version = Version(tried.version.epoch, tried.version.generation + 1)
    note = f"{tried.version} went back to {confirmed.version}: {reason}"
    entry = replace(confirmed, version=version, note=note, author=tried.author, at=at, trial=None)
    _write(file, entry)
    return entry


def required_on_trial(appliance: str, last: Entry | None) -> Entry:
    """What is on trial; Refused where nothing is."""
    if last is None or not last.is_on_trial:
        what = f": generation {last.version} {_standing(last)}" if last else ""
        raise Refused(f"{appliance} must have a change on trial to confirm, and has none{what}")
    return last


def _still_on_trial(entry: Entry) -> OnTrial:
    return OnTrial(
        f"a change of {entry.appliance} must wait until the one before it is confirmed or went back: generation "
        f"{entry.version} is on trial",
        hint=f"keep it with vafw config confirm TOPOLOGY {entry.appliance}, or let its time pass",
    )


def _standing(entry: Entry) -> str:
    """Where a generation that is not on trial stands."""
    if entry.trial is None:
        return "never was on trial"
    return "is confirmed already" if entry.trial.state is TrialState.CONFIRMED else "went back"


def _entry(row: tuple[Any, ...]) -> Entry:
    appliance, epoch, generation, digest, body, basis, note, author, at, within_s, state, reason, *signed = row
    version = Version(epoch, generation)
    trial = TrialRecord(within_s, TrialState(state), reason) if state is not None else None
    texts = json.loads(body), json.loads(basis)
    entry = Entry(appliance, version, digest, *texts, note, author, at, trial, *map(_approved, signed))
    if digest_of(entry.body) != digest:
        raise sqlite3.DatabaseError(f"generation {version} of {appliance} has another body than was committed")
    return entry


def _approved(text: str | None) -> Approved | None:
    if text is None:
        return None
    try:
        fields = json.loads(text)
        return Approved(Approval.from_json(fields["approval"]), tuple(map(str, fields["signers"])))
    except (Refused, KeyError, TypeError, ValueError) as error:
        raise sqlite3.DatabaseError(f"what people signed is no longer what they signed: {error}") from error


def _write(file: sqlite3.Connection, entry: Entry) -> None:
    """One entry into desired, history and outbox."""
    version = entry.version
    texts = (canonical(entry.body).decode(), canonical(entry.basis).decode(), entry.note, entry.author, entry.at)
    row = (entry.appliance, version.epoch, version.generation, entry.digest, *texts)
    places = ", ".join("?" * len(row))
    file.execute(f"INSERT OR REPLACE INTO desired ({_COLUMNS}) VALUES ({places})", row)
    file.execute(f"INSERT INTO history ({_COLUMNS}) VALUES ({places})", row)
    file.execute("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?)", row[:3])
    _write_trial(file, entry)
    _write_approvals(file, entry)


def _write_approvals(file: sqlite3.Connection, entry: Entry) -> None:
    for what, approved in (("change", entry.approved), ("confirmation", entry.confirmed)):
        if approved is not None:
            row = (entry.appliance, entry.version.epoch, entry.version.generation, what)
            text = canonical(approved.to_json()).decode()
            file.execute("INSERT OR REPLACE INTO approval VALUES (?, ?, ?, ?, ?)", (*row, text))


def _write_trial(file: sqlite3.Connection, entry: Entry) -> None:
    if (trial := entry.trial) is not None:
        row = (
            entry.appliance,
            entry.version.epoch,
            entry.version.generation,
            trial.within_s,
            trial.state,
            trial.reason,
        )
        file.execute("INSERT OR REPLACE INTO trial VALUES (?, ?, ?, ?, ?, ?)", row)
