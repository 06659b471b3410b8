"""GETSEC[SENTER]: the instruction that begins a measured launch.

    preconditions ──fail──▶ #GP(0): nothing happened
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
from vafw.hw.txt import acm, sinit
from vafw.hw.txt.bits import CpuError, Ests, Reg, Sts, cpu_error_code
from vafw.hw.txt.chipset import public_key_hash
from vafw.hw.txt.outcome import LaunchOutcome, LaunchRefused, LaunchStep, TxtError
from vafw.hw.txt.platform import Activity, SmxProcessor, TxtPlatform
from vafw.tcg.algorithms import SHA256


def senter(platform: TxtPlatform, base: Hpa, size: int, edx: int = 0) -> LaunchOutcome:
    """Launch with the SINIT module of `size` bytes at `base` (EBX and ECX); `edx` goes into PCR 17. Never raises."""
    if refusal := _precondition(platform, base, size):
        return LaunchOutcome(False, (), TxtError("processor", f"GETSEC[SENTER] faults: {refusal}", 0))
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
        processor.activity = Activity.SENTER_SLEEP
    chipset.change_status(set_bits=Sts.MEM_CONFIG_LOCK)
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


def _precondition(platform: TxtPlatform, base: Hpa, size: int) -> str | None:
    """Why the instruction faults with #GP(0), or None."""
    ilp: SmxProcessor = platform.ilp
    checks = (
        (ilp.smx_enabled, "CR4.SMXE must be set"),
        (ilp.protected_mode, "the processor must be in protected mode"),
        (ilp.caching, "CR0.CD and CR0.NW must be clear"),
        (ilp.numeric_error, "CR0.NE must be set"),
        (ilp.senter_enabled, "IA32_FEATURE_CONTROL must be locked with SENTER enabled"),
        (not base & PAGE_MASK, f"the module must lie at a multiple of 4096, not at {base:#x}"),
        (size > 0 and not size % 64, f"the module's size must be a multiple of 64, not {size}"),
        (not platform.chipset.get(Reg.ESTS) & Ests.TXT_RESET, "TXT.ESTS must not have TXT_RESET set"),
        (not platform.chipset.status & Sts.SENTER_DONE, "no measured environment may be running"),
    )
    return next((reason for holds, reason in checks if not holds), None)


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
