"""GETSEC[SENTER]: the instruction that begins a measured launch.

    preconditions ──fail──▶ #UD or #GP(0): nothing happened
         │
    rendezvous, lock ─▶ load module ─▶ authenticate ─▶ PCR 17 (locality 4) ─▶ SINIT ─▶ MLE
                             └─────────────┴── any failure ──▶ TXT reset with TXT.ERRORCODE

Intel SDM Vol. 2, "GETSEC[SENTER]". The hard part is time: what was checked must be what runs. The module is
copied into the processor's authenticated code RAM first and never read from memory again; its memory lies
in the DPR, which no device reaches, and every other processor sleeps.
"""

from __future__ import annotations

from vafw.address import PAGE_MASK, Hpa
from vafw.hw.memory import BusError
from vafw.hw.tpm.rc import TpmError
from vafw.hw.txt import sinit, smx
from vafw.hw.txt.bits import CpuError, Ests, Reg, Sts, cpu_error_code
from vafw.hw.txt.chipset import public_key_hash
from vafw.hw.txt.outcome import LaunchOutcome, LaunchRefused, LaunchStep, TxtError
from vafw.hw.txt.platform import Activity, SmxProcessor, TxtPlatform
from vafw.hw.txt.smx import Leaf, SmxFault
from vafw.tcg.algorithms import SHA256
from vafw.txt import acm


def senter(platform: TxtPlatform, base: Hpa, size: int, edx: int = 0) -> LaunchOutcome:
    """Launch with the SINIT module of `size` bytes at `base` (EBX and ECX); `edx` goes into PCR 17. Never raises."""
    try:
        _require_preconditions(platform, base, size, edx)
    except SmxFault as fault:
        return LaunchOutcome(False, (), TxtError("processor", fault.message, 0))
    steps: list[LaunchStep] = []
    try:
        _launch(platform, base, size, edx, steps)
    except LaunchRefused as refused:
        return _reset(platform, steps, refused.error)
    except TpmError as error:
        return _reset(platform, steps, TxtError("tpm", error.message, cpu_error_code(CpuError.LEGACY_SHUTDOWN)))
    except BusError as error:
        return _reset(platform, steps, TxtError("heap", error.message, cpu_error_code(CpuError.LEGACY_SHUTDOWN)))
    return LaunchOutcome(True, tuple(steps))


def _launch(platform: TxtPlatform, base: Hpa, size: int, edx: int, steps: list[LaunchStep]) -> None:
    chipset = platform.chipset
    for processor in platform.rlps:
        _require_quiet(processor)
        processor.activity = Activity.SENTER_SLEEP
    for processor in platform.processors:
        processor.smi_masked = True
    chipset.change_status(set_bits=Sts.MEM_CONFIG_LOCK, clear_bits=Sts.SEXIT_DONE)
    steps.append(LaunchStep("GETSEC[SENTER]", f"{len(platform.rlps)} processors sleep, memory configuration locked"))
    module = _load(platform, base, size)
    steps.append(LaunchStep("load SINIT", f"{size} bytes at {base:#x}, inside the DPR"))
    _authenticate(platform, module)
    steps.append(LaunchStep("authenticate SINIT", f"signed coverage SHA-256 {module.digest.hex()}"))
    measured = sinit.hash_start_data(module, edx)
    platform.tpm.hash_start()
    platform.tpm.hash_data(measured)
    platform.tpm.hash_end()
    steps.append(LaunchStep("hash sequence", f"PCR 17 = {platform.tpm.read(17, SHA256).hex()}"))
    chipset.change_status(set_bits=Sts.SENTER_DONE | Sts.PRIVATE_OPEN)
    sinit.run(platform, module, edx, steps)


def _require_preconditions(platform: TxtPlatform, base: Hpa, size: int, edx: int) -> None:
    """SmxFault where the instruction faults; the order is the manual's."""
    ilp, chipset = platform.ilp, platform.chipset
    smx.require_decodable(ilp, Leaf.SENTER)
    unknown = edx & ~(smx.SENTER_FUNCTIONS & ilp.senter_functions)
    conditions = (
        smx.outside_vmx(ilp),
        *smx.privileged(ilp),
        (ilp.caching, "CR0.CD and CR0.NW must be clear"),
        (ilp.numeric_error, "CR0.NE must be set"),
        smx.initiating(ilp),
        (not chipset.status & Sts.SENTER_DONE, "no measured environment may be running"),
        (ilp.senter_enabled, "IA32_FEATURE_CONTROL must be locked with SENTER enabled"),
        (not unknown, f"EDX must name functions that IA32_FEATURE_CONTROL enables, not {unknown:#x}"),
        (not ilp.machine_check, "no bank may hold an uncorrected machine check"),
        (not base & PAGE_MASK, f"the module must lie at a multiple of 4096, not at {base:#x}"),
        (not size % 64, f"the module's size must be a multiple of 64, not {size}"),
        (
            smx.MINIMUM_MODULE_BYTES <= size <= smx.AC_RAM_BYTES,
            f"the module must have {smx.MINIMUM_MODULE_BYTES} to {smx.AC_RAM_BYTES} bytes, not {size}",
        ),
        (base + size <= 1 << 32, f"the module must end below 4 GiB, not at {base + size:#x}"),
        (not chipset.get(Reg.ESTS) & Ests.TXT_RESET, "TXT.ESTS must not have TXT_RESET set"),
    )
    smx.require(Leaf.SENTER, conditions)


def _require_quiet(responding: SmxProcessor) -> None:
    """What a responding processor finds out about itself after the rendezvous is no fault any more."""
    number = responding.number
    if responding.vmx_operation:
        reason = f"processor {number} must not be in VMX operation at the rendezvous"
        raise LaunchRefused(TxtError("processor", reason, cpu_error_code(CpuError.INVALID_EVENT)))
    if responding.machine_check:
        reason = f"processor {number} must hold no uncorrected machine check at the rendezvous"
        raise LaunchRefused(TxtError("processor", reason, cpu_error_code(CpuError.MACHINE_CHECK)))


def _load(platform: TxtPlatform, base: Hpa, size: int) -> acm.Acm:
    """Copy the module into authenticated code RAM, once, and read its layout."""
    if not platform.ilp.acm_write_back:
        raise _refused(CpuError.ACM_MEMORY_TYPE, "the SINIT module's memory must be of type WB")
    dpr = platform.chipset.dpr
    if not (dpr.lock and dpr.base <= base and base + size <= dpr.top):
        raise _refused(
            CpuError.ACM_FORMAT,
            f"the SINIT module must lie in the locked DPR {dpr.base:#x}-{dpr.top:#x}, not at {base:#x}+{size:#x}",
        )
    try:
        return acm.parse(platform.memory.read(base, size))
    except acm.AcmFormatError as error:
        raise _refused(CpuError.ACM_FORMAT, error.message) from error


def _authenticate(platform: TxtPlatform, module: acm.Acm) -> None:
    fused, brought = platform.chipset.public_key, public_key_hash(module.modulus)
    if fused != brought:
        raise _refused(
            CpuError.AUTHENTICATE_FAIL,
            "the SINIT module's key is not the one whose hash the chipset holds (TXT.PUBLIC.KEY)",
            fused.hex(),
            brought.hex(),
        )
    if not module.authenticates:
        raise _refused(
            CpuError.AUTHENTICATE_FAIL,
            "the SINIT module's signature does not hold: a signed byte, or the signature, was changed",
            module.signed_digest.hex(),
            module.digest.hex(),
        )
    if not module.runs_on(platform.chipset.get(Reg.DIDVID)):
        raise _refused(CpuError.UNSUPPORTED_ACM, "the SINIT module's chipset list must name this chipset")
    if not module.runs_on_processor(platform.ilp.signature):
        raise _refused(CpuError.UNSUPPORTED_ACM, "the SINIT module's processor list must name this processor")


def _refused(error: CpuError, reason: str, expected: str = "", found: str = "") -> LaunchRefused:
    return LaunchRefused(TxtError("sinit", reason, cpu_error_code(error), expected, found))


def _reset(platform: TxtPlatform, steps: list[LaunchStep], error: TxtError) -> LaunchOutcome:
    platform.txt_reset(error.error_code)
    steps.append(LaunchStep("TXT reset", f"TXT.ERRORCODE {error.error_code:#010x}"))
    return LaunchOutcome(False, tuple(steps), error)
