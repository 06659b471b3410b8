"""What stopped an attack, read off what the hardware left behind: which mechanism a record speaks of."""

from __future__ import annotations

from vafw.attack.mechanism import Mechanism
from vafw.attack.scenario import Verdict
from vafw.hw.txt.bits import AcmClass, ErrorCode
from vafw.hw.txt.locality import LocalityClosed
from vafw.hw.txt.outcome import TxtError
from vafw.hw.vmx.bits import EptViolation
from vafw.hw.vmx.exit import VmExit
from vafw.hw.vtd import Completion, DmaFault, FaultReason
from vafw.supervisor.gate import GateDecision
from vafw.vmm.remapping import FaultRecord


def of_fault(fault: FaultRecord) -> Verdict:
    """A record of the remapping unit."""
    if fault.reason is FaultReason.SOURCE_NOT_VERIFIED:
        return Verdict(str(fault), Mechanism.SOURCE_ID)
    if fault.reason is FaultReason.TRANSLATION_TYPE_BLOCKS:
        return Verdict(str(fault), Mechanism.ATS_BLOCK)
    return Verdict(str(fault), Mechanism.INTERRUPT_REMAPPING if fault.reason.is_interrupt else Mechanism.VT_D)


def of_completion(fault: DmaFault) -> Verdict:
    """A request that came to nothing without a record of the remapping unit."""
    if fault.reason is Completion.ACS_VIOLATION:
        return Verdict(str(fault), Mechanism.ACS)
    if fault.reason is Completion.BUS_MASTER_OFF:
        return Verdict(str(fault), Mechanism.QUARANTINE)
    if fault.reason is Completion.UNSUPPORTED_REQUEST:
        return Verdict(f"{fault}: the address lies in a protected range", Mechanism.DMA_PROTECTION)
    return Verdict(str(fault), Mechanism.VT_D)


def of_exit(left: VmExit, address: int) -> Verdict:
    """An EPT violation at a guest-physical address."""
    return Verdict(
        f"VM exit {left.reason.value} at GPA {address:#x}, {EptViolation.describe(left.qualification)}", Mechanism.EPT
    )


def of_launch(error: TxtError) -> Verdict:
    """A launch that was broken off, with TXT.ERRORCODE."""
    code = f"TXT.ERRORCODE {error.error_code:#010x}" if error.reset else "no launch"
    return Verdict(f"{code}: {error.reason}", Mechanism.LCP if _by_policy(error) else Mechanism.TXT)


def of_gate(decision: GateDecision) -> Verdict:
    """A gate that stayed closed."""
    digests = f" (expected {_short(decision.expected)}, found {_short(decision.found)})" if decision.found else ""
    of_another_boot = decision.component == "boot"
    mechanism = Mechanism.BOOT_COUNTS if of_another_boot else Mechanism.GATE
    return Verdict(f"gate closed: {decision.reason}{digests}", mechanism)


def of_locality(error: LocalityClosed) -> Verdict:
    """An access to the TPM that the chipset has not let through."""
    return Verdict(error.message, Mechanism.TPM_LOCALITY)


def _by_policy(error: TxtError) -> bool:
    try:
        return ErrorCode.decode(error.error_code).stage is AcmClass.POLICY
    except ValueError:
        return False


def _short(text: str) -> str:
    """The first digits of a digest; anything else as it is."""
    return text[:16] if len(text) == 64 else text
