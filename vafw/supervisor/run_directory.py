"""The run directory of one topology: who runs it, where it listens, and what it left behind.

``$VAFW_RUN_DIR``, else ``$XDG_RUNTIME_DIR/vafw``, else ``~/.local/state/vafw``; below it one folder a topology,
readable by its owner only:

    lock           held by the running `up`; names its pid and command
    socket         where it takes requests
    snapshot.json  the last snapshot, kept when the run has ended
    events.jsonl   every event of the last run, one JSON object a line
    display.png    the user's screen at the end of the last run

The lock is an open file description lock (fcntl(2)): it goes with its process, however that ends, and whether somebody
holds it can be asked without taking it. flock(2) knows no such question, and whoever asked by trying kept an `up` that
started in that moment from starting.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, final

from vafw.errors import Locked, NotRunning, PlatformUnable
from vafw.trace import TraceEvent, Value

KILLED: Final = "its process ended without stopping it, by a signal or with its host; vafw up clears what it left"
_SOCKET_PATH_LIMIT: Final = 107  # unix(7): sun_path holds 108 bytes, the last one NUL
_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length (0: to the end), pid."""


def runs_folder() -> Path:
    """Where the run directories of this user lie."""
    if chosen := os.environ.get("VAFW_RUN_DIR"):
        return Path(chosen)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "vafw"
    return Path.home() / ".local" / "state" / "vafw"


@final
class RunDirectory:
    """The run directory of one topology."""

    def __init__(self, name: str, runs: Path | None = None) -> None:
        self.name = name
        self.path = (runs or runs_folder()) / name

    @property
    def socket(self) -> Path:
        """Where the running `up` takes requests."""
        return self.path / "socket"

    @contextmanager
    def hold(self) -> Iterator[str]:
        """Own the directory while the block runs; Locked names who has it.

        Gives what an earlier run left behind, in a sentence; empty where it ended as it should.
        """
        self._make()
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+") as lock:
            try:
                fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            except OSError as refusal:
                if refusal.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                raise Locked(
                    f"{self.name} is already up ({lock.read().strip() or 'owner unknown'})",
                    hint=f"vafw status {self.name} shows it, vafw down {self.name} ends it",
                ) from None
            earlier = lock.read().strip()
            lock.seek(0)
            lock.truncate()
            lock.write(f"pid {os.getpid()}")
            lock.flush()
            for stale in ("socket", "snapshot.json", "events.jsonl", "display.png"):
                (self.path / stale).unlink(missing_ok=True)
            try:
                yield f"an earlier run, {earlier}, was killed; what it left was cleared" if earlier else ""
            finally:
                self.socket.unlink(missing_ok=True)
                lock.truncate(0)

    def is_held(self) -> bool:
        """Whether an `up` holds the directory now."""
        try:
            with (self.path / "lock").open() as lock:
                asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                kind, *_ = _FLOCK.unpack(fcntl.fcntl(lock, fcntl.F_OFD_GETLK, asked))
        except FileNotFoundError:
            return False
        return bool(kind != fcntl.F_UNLCK)

    def owner(self) -> int | None:
        """The process that holds the directory now."""
        if not self.is_held():
            return None
        word = (self.path / "lock").read_text().removeprefix("pid ")
        return int(word) if word.isdecimal() else None

    def keep_snapshot(self, snapshot: Value) -> None:
        """Replace the kept snapshot in one step."""
        self.keep("snapshot.json", (json.dumps(snapshot, indent=1) + "\n").encode())

    def keep(self, name: str, data: bytes) -> None:
        """Replace a kept file in one step."""
        partial = self.path / f".{name}.partial"
        partial.write_bytes(data)
        partial.replace(self.path / name)

    def last_snapshot(self) -> dict[str, Value]:
        """The snapshot that the last run left, as failed where it was killed; NotRunning where there was none."""
        snapshot = json.loads(self._kept("snapshot.json"))
        if not isinstance(snapshot, dict):
            raise NotRunning(f"{self.path / 'snapshot.json'} must hold a JSON object; it was damaged")
        if not snapshot.get("ended") and not self.is_held():
            snapshot |= {"phase": "failed", "reason": KILLED}
        return snapshot

    def last_display(self) -> bytes:
        """The user's screen at the end of the last run, as PNG."""
        return self._kept("display.png")

    def events(self) -> list[dict[str, Value]]:
        """Every event of the last or running run; one that is being written just now is left out."""
        whole, _, _ = self._kept("events.jsonl").rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    @contextmanager
    def event_log(self) -> Iterator[IO[str]]:
        """The open file that events are appended to, a line each."""
        with (self.path / "events.jsonl").open("a", buffering=1, encoding="utf-8") as log:
            yield log

    def _kept(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise NotRunning(
                f"{self.name} is not running, and no earlier run left a {name}",
                hint="start it with vafw up TOPOLOGY",
            ) from None

    def _make(self) -> None:
        if len(os.fsencode(self.socket)) > _SOCKET_PATH_LIMIT:
            raise PlatformUnable(
                f"the path of the run directory must be shorter: {self.socket} exceeds {_SOCKET_PATH_LIMIT} bytes",
                hint="set VAFW_RUN_DIR to a short path",
            )
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise PlatformUnable(f"{self.path} must be a directory of this user")
        if status.st_mode & 0o077:
            self.path.chmod(0o700)


def write_event(log: IO[str], event: TraceEvent) -> None:
    """Append one event as one line."""
    log.write(json.dumps(event.to_json(), separators=(",", ":")) + "\n")
