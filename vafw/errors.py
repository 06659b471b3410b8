"""The one root of every error vafw raises, and the exit code each one ends in.

    VafwError                    1   failed while running
    ├── UsageError               2   the command line asks for something contradictory
    ├── NotRunning               3   no `up` of that name serves requests
    ├── NoSuchObject             4   a name that nothing carries
    ├── GateClosed              20   evidence was appraised and found wanting
    ├── GateUnavailable         21   no attestation could be had
    ├── Refused                 22   a proof or a policy says no
    ├── Locked                  31   another process owns the run directory
    ├── InvalidDocument         65   a document is wrong; `vafw.document` subclasses it with the places
    └── PlatformUnable          69   the host or the modelled PC cannot do what is asked

One class for each decision a caller can take; concrete classes stand beside the code that raises them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process ends with; `--json` carries the same number and `exit_class`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NO_SUCH_OBJECT = 4
    PLAN_HAS_CHANGES = 10
    GATE_FAILED = 20
    GATE_UNAVAILABLE = 21
    REFUSED = 22
    PARTLY_APPLIED = 30
    LOCKED = 31
    INVALID_DOCUMENT = 65
    PLATFORM = 69
    INTERRUPTED = 130

    @property
    def exit_class(self) -> str:
        """The code's class as `--json` prints it, for instance ``gate-failed``."""
        return self.name.lower().replace("_", "-")


class VafwError(Exception):
    """Root of the tree: a message that says what must hold, and optionally what to do about it."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(VafwError):
    """The command line asks for something contradictory."""

    exit_code = ExitCode.USAGE


class NotRunning(VafwError):
    """No running `up` answers under that name."""

    exit_code = ExitCode.NOT_RUNNING


class NoSuchObject(VafwError):
    """A name that no VM, appliance, link or document carries."""

    exit_code = ExitCode.NO_SUCH_OBJECT


class GateClosed(VafwError):
    """Evidence was appraised and is not affirming: nothing may start."""

    exit_code = ExitCode.GATE_FAILED


class GateUnavailable(VafwError):
    """No attestation could be had, which is never treated as a pass."""

    exit_code = ExitCode.GATE_UNAVAILABLE


class Refused(VafwError):
    """A proof or a policy says no."""

    exit_code = ExitCode.REFUSED


class Locked(VafwError):
    """Another process owns what this one needs."""

    exit_code = ExitCode.LOCKED


class InvalidDocument(VafwError):
    """A document is wrong."""

    exit_code = ExitCode.INVALID_DOCUMENT


class PlatformUnable(VafwError):
    """The host or the modelled PC cannot do what is asked."""

    exit_code = ExitCode.PLATFORM
