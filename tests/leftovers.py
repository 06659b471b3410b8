"""Processes that tests start end with the tests, however these end: whoever looks after that is here.

A watch is a process of its own that waits for the end of its standard input, so it sees the end of a test run that was
killed, too. It then knows what belonged to the run by a word in the environment that every child inherits, gives it a
moment to end by itself, kills what has not, and says which test left it: pytest notes that in the environment as well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

NAME: Final = "VAFW_TEST_RUN"
GRACE_S: Final = 2.0
PAUSE_S: Final = 0.05
END_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """One that belongs to a run."""

    pid: int
    command: str
    test: str
    """The test that started it, and in which phase."""

    def __str__(self) -> str:
        """As the report names it."""
        return f"{self.test}: {self.pid} {self.command}"


@final
class Watch:
    """The process that looks after a run; whatever is started from now on belongs to the run."""

    def __init__(self, run: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        os.environ[NAME] = run

    def end(self) -> list[str]:
        """End the run: what its tests left behind, which is gone when this returns."""
        os.environ.pop(NAME, None)
        said, _ = self._process.communicate(timeout=GRACE_S + END_S)
        return said.splitlines()


def of(run: str) -> Iterator[Process]:
    """The processes of a run that have not ended (proc(5): a zombie has no environment)."""
    wanted = f"{NAME}={run}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            if wanted in environment:
                test = next((each for each in environment if each.startswith(b"PYTEST_CURRENT_TEST=")), b"=?")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield Process(int(folder.name), command.strip()[:120], test.partition(b"=")[2].decode())


def swept(run: str) -> dict[int, Process]:
    """End what has not ended after a moment, and what that starts in turn."""
    until_s = time.monotonic() + GRACE_S
    while any(of(run)) and time.monotonic() < until_s:
        time.sleep(PAUSE_S)
    ended: dict[int, Process] = {}
    until_s = time.monotonic() + END_S / 2
    while left := list(of(run)):
        for process in left:
            ended[process.pid] = process
            with suppress(OSError):
                os.kill(process.pid, signal.SIGKILL)
        if time.monotonic() > until_s:
            break
        time.sleep(PAUSE_S)
    return ended


def main() -> None:
    """Wait for the end of the run, then sweep."""
    sys.stdin.read()
    said = "".join(f"{process}\n" for process in swept(sys.argv[1]).values())
    with suppress(BrokenPipeError):  # of a run that was killed nobody listens
        os.write(sys.stdout.fileno(), said.encode())


if __name__ == "__main__":
    main()
