"""A VM exit as the VM-exit information fields describe it, and how it is recorded in the VMCS."""

from __future__ import annotations

from dataclasses import dataclass

from vafw.address import Gpa
from vafw.hw.vmx.bits import ENTRY_FAILURE, ExitReason, VmcsField
from vafw.hw.vmx.ept import Misconfiguration, Violation


@dataclass(frozen=True, slots=True)
class VmExit:
    """Why the guest has left."""

    reason: ExitReason
    qualification: int = 0
    gpa: Gpa | None = None
    instruction_length: int = 0
    interruption: int = 0
    entry_failed: bool = False
    detail: str = ""
    """For people, where the fields do not say it: how a guest ended, which check an entry failed."""
    linear: int | None = None
    error_code: int = 0


def ept_exit(outcome: Violation | Misconfiguration, linear: int | None = None) -> VmExit:
    """The exit that an access which EPT does not allow ends in; `linear` where the address was translated."""
    if isinstance(outcome, Violation):
        return VmExit(ExitReason.EPT_VIOLATION, outcome.qualification, outcome.gpa, detail=str(outcome), linear=linear)
    return VmExit(ExitReason.EPT_MISCONFIGURATION, 0, outcome.gpa, detail=str(outcome))


def record(fields: dict[int, int], left: VmExit) -> VmExit:
    """Write the exit into the VMCS; what an interrupted delivery leaves there is the delivery's to write."""
    fields[VmcsField.EXIT_REASON] = left.reason | (ENTRY_FAILURE if left.entry_failed else 0)
    fields[VmcsField.EXIT_QUALIFICATION] = left.qualification
    if left.entry_failed:
        return left
    fields[VmcsField.INSTRUCTION_LENGTH] = left.instruction_length
    fields[VmcsField.EXIT_INTERRUPTION] = left.interruption
    fields[VmcsField.EXIT_ERROR_CODE] = left.error_code
    if left.gpa is not None:
        fields[VmcsField.GUEST_PHYSICAL_ADDRESS] = left.gpa
        fields[VmcsField.GUEST_LINEAR_ADDRESS] = left.gpa if left.linear is None else left.linear
    return left
