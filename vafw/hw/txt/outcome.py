"""What came of a measured launch, as values: the steps that were taken, and what broke it off."""

from __future__ import annotations

from dataclasses import dataclass

from vafw.errors import VafwError


@dataclass(frozen=True, slots=True)
class LaunchStep:
    """One thing that the launch did, in order."""

    name: str
    """In the manuals' words, for instance ``GETSEC[SENTER]`` or ``measure MLE``."""
    detail: str


@dataclass(frozen=True, slots=True)
class TxtError:
    """Why a launch was broken off."""

    component: str
    """What was at fault: ``sinit``, ``vmm``, ``lcp``, ``heap``, ``chipset``, ``processor`` or ``tpm``."""
    reason: str
    """One sentence."""
    error_code: int
    """TXT.ERRORCODE after it; 0 where GETSEC[SENTER] refused with an exception and nothing was reset."""
    expected: str = ""
    found: str = ""

    @property
    def reset(self) -> bool:
        """Whether the platform was reset."""
        return self.error_code != 0


@dataclass(frozen=True, slots=True)
class LaunchOutcome:
    """Everything a launch left behind for those who report it."""

    launched: bool
    steps: tuple[LaunchStep, ...]
    error: TxtError | None = None


class LaunchRefused(VafwError):
    """Raised inside a launch, by whichever part says no; GETSEC[SENTER] turns it into a TXT reset and an outcome."""

    def __init__(self, error: TxtError) -> None:
        super().__init__(error.reason)
        self.error = error
