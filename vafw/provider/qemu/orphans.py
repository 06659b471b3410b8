"""Processes that a run left behind when it was killed: noted when they start, ended before the next run begins.

    {"boot": …, "pid": 4711, "began": 1234567, "what": "firewall"}      one line a process

The kernel ends them with their parent as it is (`child.py`), where setpriv is there to ask it; this is for where it is
not, and for the moment in between. A number alone says nothing, as numbers are used again: a process is ended only if
it began at the very clock tick at which the noted one did, since the same boot of the host (proc(5), field 22).
"""

from __future__ import annotations

import json
import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_BEGAN: Final = 19
"""The field of /proc/PID/stat in which a process's start stands, counted from behind its name."""
END_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process that was ended."""

    pid: int
    what: str
    """The VM, or the TPM."""


@final
class Roster:
    """The processes of one machine, in a file that outlives whoever started them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, what: str, pid: int) -> None:
        """Note a process that was just started; nothing where it has ended already."""
        began = _began(pid)
        if began is None:
            return
        line = {"boot": _BOOT_ID.read_text().strip(), "pid": pid, "began": began, "what": what}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def end_all(self) -> tuple[Orphan, ...]:
        """End every noted process that still runs, and forget them all."""
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return ()
        boot = _BOOT_ID.read_text().strip()
        ended = [orphan for line in lines if (orphan := _ended(line, boot)) is not None]
        self._path.unlink()
        return tuple(ended)


def _ended(line: str, boot: str) -> Orphan | None:
    try:
        noted = json.loads(line)
        pid, began, what, its_boot = int(noted["pid"]), int(noted["began"]), str(noted["what"]), noted["boot"]
    except (ValueError, KeyError, TypeError):  # the last line of a host that lost its power
        return None
    if its_boot != boot:
        return None
    with suppress(ProcessLookupError):
        held = os.pidfd_open(pid)
        try:
            if _began(pid) != began:  # asked once the number is held: from here on it cannot become another's
                return None
            signal.pidfd_send_signal(held, signal.SIGKILL)
            select.select([held], [], [], END_TIMEOUT_S)
            return Orphan(pid, what)
        finally:
            os.close(held)
    return None


def _began(pid: int) -> int | None:
    """When a process started, in clock ticks since the host did; None where there is none, or it is dead already."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in ("Z", "X") else int(fields[_BEGAN])
