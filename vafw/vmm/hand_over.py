"""How a function changes hands: one sequence of steps for everybody, and what holds after each.

    quarantine ──attach──▶ assigned ──silence──▶ silent ──cut off──▶ cut off ──forget──▶ forgotten ──reset──▶ quarantine
                               any step that fails ──▶ failed ──recover──▶ quarantine

- quarantine: no context entry, no interrupt, nothing remembered, and reset since its last owner: nobody's.
- assigned: every requester id of the function, or none, reaches the owner's memory and nothing else.
- silent: the function may issue no request; one that it issued before may still arrive, in the owner's memory.
- cut off: its entries are gone; what the unit remembers may still serve it, in the owner's memory.
- forgotten: seen to be forgotten by unit and device. Only now the owner's memory may become someone else's.
- failed: something did not answer in time. That is never taken for done: the function is nobody's and stays cut off,
  its owner's memory stays out of use, until the unit has forgotten everything and the function has been reset.

`TRANSITIONS` is the drawing. The steps exist one by one so that whatever a device does between any two can be tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Protocol, final

from vafw.address import Bdf
from vafw.errors import VafwError
from vafw.vmm.refusal import VmmError
from vafw.vmm.remapping import RemappingDriver, UnitNotAnswering


class Phase(StrEnum):
    """Where a function is between two owners."""

    QUARANTINE = "in quarantine"
    ASSIGNED = "assigned"
    SILENT = "silent"
    CUT_OFF = "cut off"
    FORGOTTEN = "forgotten"
    FAILED = "failed"


class Step(StrEnum):
    """What can be done to it."""

    ATTACH = "attach"
    SILENCE = "silence"
    CUT_OFF = "cut off"
    FORGET = "forget"
    RESET = "reset"
    FAIL = "fail"
    RECOVER = "recover"


TRANSITIONS: Final[Mapping[tuple[Phase, Step], Phase]] = {
    (Phase.QUARANTINE, Step.ATTACH): Phase.ASSIGNED,
    (Phase.QUARANTINE, Step.RESET): Phase.QUARANTINE,
    (Phase.ASSIGNED, Step.SILENCE): Phase.SILENT,
    (Phase.SILENT, Step.CUT_OFF): Phase.CUT_OFF,
    (Phase.CUT_OFF, Step.FORGET): Phase.FORGOTTEN,
    (Phase.FORGOTTEN, Step.RESET): Phase.QUARANTINE,
    (Phase.FAILED, Step.RECOVER): Phase.QUARANTINE,
    **{(phase, Step.FAIL): Phase.FAILED for phase in Phase},
}
WAY_BACK: Final = (Step.SILENCE, Step.CUT_OFF, Step.FORGET, Step.RESET)
"""From assigned to quarantine."""


@final
class HandOverFailed(VmmError):
    """A step did not end as it must; the function is nobody's now."""


class FunctionPort(Protocol):
    """A function as the one who hands it over sees it."""

    def silence(self) -> None:
        """It may issue no more requests."""
        ...

    def reset(self) -> bool:
        """Function-level reset; False where the function is not as after one."""
        ...


@final
class HandOver:
    """One function, with every requester id its requests may carry."""

    def __init__(
        self, bdf: Bdf, port: FunctionPort, remapping: RemappingDriver, *, aliases: tuple[Bdf, ...] = ()
    ) -> None:
        """Starts in quarantine, where all functions start; `aliases` are its further requester ids."""
        self.bdf = bdf
        self.phase = Phase.QUARANTINE
        self._port = port
        self._remapping = remapping
        self._aliases = aliases

    def attach(self, domain: int, *, device_tlb: bool = False) -> None:
        """Give it to a domain, reset first; all its requester ids or none."""
        self._require(Step.ATTACH)
        self.reset()
        try:
            self._remapping.attach(self.bdf, domain, aliases=self._aliases, device_tlb=device_tlb)
        except UnitNotAnswering as error:
            self._fail(str(error), error)
        self._take(Step.ATTACH)

    def release(self) -> None:
        """Bring it back into quarantine from wherever it is; HandOverFailed where a step fails, or failed before."""
        if self.phase is Phase.FAILED:
            raise HandOverFailed(
                f"function {self.bdf} must be recovered before anybody has it: its last hand-over failed"
            )
        while self.phase is not Phase.QUARANTINE:
            self.advance()

    def advance(self) -> None:
        """The next step of the way back."""
        step = next((each for each in WAY_BACK if (self.phase, each) in TRANSITIONS), Step.SILENCE)
        self._require(step)
        try:
            match step:
                case Step.SILENCE:
                    self._port.silence()
                case Step.CUT_OFF:
                    self._remapping.cut_off(self.bdf)
                case Step.FORGET:
                    self._remapping.forget(self.bdf)
                case _:
                    self.reset()
        except UnitNotAnswering as error:
            self._fail(str(error), error)
        self._take(step)

    def reset(self) -> None:
        """Function-level reset, in quarantine or on the way into it."""
        self._require(Step.RESET)
        if not self._port.reset():
            self._fail("it is not as after a function-level reset")

    def recover(self) -> None:
        """After a failure: the unit forgets everything, the function is reset; HandOverFailed where it fails again."""
        self._require(Step.RECOVER)
        try:
            self._port.silence()
            self._remapping.cut_off(self.bdf)
            self._remapping.recover()
            self._remapping.forget(self.bdf)
        except UnitNotAnswering as error:
            self._fail(str(error), error)
        if not self._port.reset():
            self._fail("it is not as after a function-level reset")
        self._take(Step.RECOVER)

    def _require(self, step: Step) -> None:
        if (self.phase, step) not in TRANSITIONS:
            legal = ", ".join(sorted(each for phase, each in TRANSITIONS if phase is self.phase and each != Step.FAIL))
            raise VmmError(f"function {self.bdf} is {self.phase}, from where the step must be {legal}, not {step}")

    def _take(self, step: Step) -> None:
        self.phase = TRANSITIONS[self.phase, step]

    def _fail(self, why: str, cause: VafwError | None = None) -> None:
        self._take(Step.FAIL)
        self._port.silence()
        self._remapping.cut_off(self.bdf)
        raise HandOverFailed(
            f"function {self.bdf} must change hands completely or not at all, and is nobody's now: {why}",
            hint="stop what uses it; the function is given out again only after it has been recovered",
        ) from cause
