"""A `vafw up` in a process of its own, for tests that talk to a running machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT

PATIENCE_S = 60


@dataclass
class Running:
    """The process; `said` holds what it wrote to standard error until it was up."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def wait_until_up(self) -> None:
        """Read what it says until it says that it is up; what else it says fails the test."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if re.match(r"[\w-]+ is up", line):
                return
        raise AssertionError("".join(self.said))

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Wait for its end: the exit code, and everything it said on standard error."""
        _, rest = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, "".join(self.said) + rest


@contextmanager
def running(topology: Path, runs: Path, *options: str) -> Iterator[Running]:
    """Bring `topology` up and keep it up while the block runs."""
    environment = {**os.environ, "VAFW_RUN_DIR": str(runs), "COLUMNS": "120"}
    command = [sys.executable, "-m", "vafw", "up", str(topology), *options]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        machine = Running(process)
        try:
            machine.wait_until_up()
            yield machine
        finally:
            process.kill()
