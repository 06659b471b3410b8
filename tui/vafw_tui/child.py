"""A `vafw up` that this UI started: a process of its own, in a session of its own, so that it outlives the terminal.

What it says goes into files without names; how it ended is read from them. `vafw down` ends it like any other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from vafw.errors import ExitCode


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended."""

    code: int
    reason: str
    """Why, where it did not end well."""


@final
class Child:
    """One running `vafw up`."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._out = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed when its end is read
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vafw", "up", *arguments, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self) -> Ended | None:
        """How it ended; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if self._out.closed:
            return Ended(code, "")
        with self._out:
            self._out.seek(0)
            return Ended(code, _reason(code, self._out.read()))

    def wait(self, seconds: float) -> None:
        """Wait until it has ended; subprocess.TimeoutExpired where it has not by then."""
        self._process.wait(seconds)


def _reason(code: int, text: str) -> str:
    if code == ExitCode.DONE:
        return ""
    try:
        said: Any = json.loads(text)
    except ValueError:
        return f"it ended with exit code {code} and without a word"
    first: dict[str, Any] = next(iter(said.get("diagnostics") or ()), {})
    return str(first.get("message") or said.get("error") or f"exit code {code}")
