"""The end of a measured environment, and what it does with the other processors while it lasts: GETSEC leaves 5, 7, 8.

    SENTER ─▶ RLPs sleep ─ WAKEUP ─▶ RLPs enter at TXT.MLE.JOIN ─ … ─▶ TXT.CMD.* in order ─ SEXIT ─▶ nothing measured

Intel SDM Vol. 2, "GETSEC[SEXIT]", "GETSEC[SMCTRL]", "GETSEC[WAKEUP]"; TXT SDG, "MLE Teardown". SEXIT leaves PCR 17 and
18 as they are: an MLE that goes must make them worthless first (`cap`), or whoever comes after it could quote them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vafw.address import Hpa
from vafw.hw.memory import BusError
from vafw.hw.txt import smx
from vafw.hw.txt.bits import PRIVATE_SPACE, CpuError, Reg, Sts, cpu_error_code
from vafw.hw.txt.locality import TpmPort
from vafw.hw.txt.outcome import LaunchRefused, TxtError
from vafw.hw.txt.platform import Activity, SmxProcessor, TxtPlatform
from vafw.hw.txt.smx import Leaf
from vafw.tcg.algorithms import digest

CAP_MESSAGE: Final = b"the measured environment has ended"
_JOIN: Final = struct.Struct("<4I")


@dataclass(frozen=True, slots=True)
class MleJoin:
    """TXT.MLE.JOIN's structure: where a responding processor goes on."""

    gdt_limit: int
    gdt_base: int
    segment_selector: int
    entry: int

    def encode(self) -> bytes:
        """The 16 bytes."""
        return _JOIN.pack(self.gdt_limit, self.gdt_base, self.segment_selector, self.entry)

    @property
    def fault(self) -> str:
        """What is wrong with it, or nothing."""
        if self.gdt_limit >> 16:
            return f"the limit of the GDT must fit 16 bits, not be {self.gdt_limit:#x}"
        if not 8 <= self.segment_selector <= self.gdt_limit - 15:
            return f"the segment selector must lie in the GDT from 8 up, not be {self.segment_selector:#x}"
        if self.segment_selector & 7:
            return f"the segment selector must have TI and RPL clear, not be {self.segment_selector:#x}"
        return ""


def wakeup(platform: TxtPlatform, processor: SmxProcessor) -> tuple[SmxProcessor, ...]:
    """GETSEC[WAKEUP]: the sleeping processors enter the MLE; SmxFault, or LaunchRefused after a TXT shutdown."""
    smx.require_decodable(processor, Leaf.WAKEUP)
    smx.require(Leaf.WAKEUP, (smx.outside_vmx(processor), *smx.privileged(processor), *_in_charge(platform, processor)))
    sleeping = tuple(each for each in platform.rlps if each.activity is Activity.SENTER_SLEEP)
    try:
        join = MleJoin(*_JOIN.unpack(platform.memory.read(Hpa(platform.chipset.get(Reg.MLE_JOIN)), _JOIN.size)))
        fault = join.fault
    except BusError as error:
        fault = error.message
    if sleeping and fault:
        error_code = cpu_error_code(CpuError.INVALID_JOIN_FORMAT)
        platform.txt_reset(error_code)
        raise LaunchRefused(TxtError("vmm", fault, error_code))
    for each in sleeping:
        each.activity = Activity.RUNNING
        each.entry = join.entry
    return sleeping


def smctrl(platform: TxtPlatform, processor: SmxProcessor, ebx: int = 0) -> None:
    """GETSEC[SMCTRL]: let system management interrupts in again."""
    smx.require_decodable(processor, Leaf.SMCTRL)
    launched = bool(platform.chipset.status & Sts.SENTER_DONE)
    conditions = (
        *smx.privileged(processor),
        (ebx == 0, f"EBX must be 0, not {ebx:#x}"),
        (launched, "a measured environment must be running"),
    )
    smx.require(Leaf.SMCTRL, conditions)
    processor.smi_masked = False


def sexit(platform: TxtPlatform, processor: SmxProcessor) -> None:
    """GETSEC[SEXIT]: end the measured environment; every processor goes on, unmeasured."""
    smx.require_decodable(processor, Leaf.SEXIT)
    smx.require(Leaf.SEXIT, (smx.outside_vmx(processor), *smx.privileged(processor), *_in_charge(platform, processor)))
    if any(each.vmx_operation for each in platform.rlps):
        error_code = cpu_error_code(CpuError.INVALID_EVENT)
        platform.txt_reset(error_code)
        raise LaunchRefused(TxtError("processor", "no processor may be in VMX operation at SEXIT", error_code))
    private = Sts.PRIVATE_OPEN | Sts.LOCALITY1_OPEN | Sts.LOCALITY2_OPEN
    platform.chipset.change_status(set_bits=Sts.SEXIT_DONE, clear_bits=Sts.SENTER_DONE | private)
    for each in platform.processors:
        each.activity = Activity.RUNNING
        each.interrupts_masked = each.smi_masked = False


def tear_down(platform: TxtPlatform, pcrs: Iterable[int]) -> None:
    """An MLE's way out: cap its PCRs, take back SECRETS, unlock, close private, SEXIT; SmxFault where none runs."""
    smx.require(Leaf.SEXIT, _in_charge(platform, platform.ilp))
    cap(TpmPort(platform.tpm, platform.chipset), pcrs)
    for command in (Reg.CMD_NO_SECRETS, Reg.CMD_UNLOCK_MEM_CONFIG, Reg.CMD_CLOSE_PRIVATE):
        platform.memory.write(Hpa(PRIVATE_SPACE + command), b"\1")
    sexit(platform, platform.ilp)


def cap(tpm: TpmPort, pcrs: Iterable[int]) -> None:
    """Extend what is in no log, so that no quote from now on speaks of the environment that ended."""
    for pcr in pcrs:
        tpm.extend(pcr, {bank: digest(bank, CAP_MESSAGE) for bank in tpm.banks}, 2)


def _in_charge(platform: TxtPlatform, processor: SmxProcessor) -> tuple[tuple[bool, str], ...]:
    launched = bool(platform.chipset.status & Sts.SENTER_DONE)
    return smx.initiating(processor), (launched, "a measured environment must be running")
