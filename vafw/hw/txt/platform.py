"""The parts of a PC that a measured launch acts on, and its logical processors as SMX sees them.

Not the processors that run guests (`vafw.hw.vmx`): here a processor is what GETSEC looks at. On a
multiprocessor PC one is the initiating one (ILP, number 0); the others (RLPs) must stand still while it
measures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import final

from vafw.address import Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.tpm.rc import TpmError
from vafw.hw.tpm.tpm import StartupType, Tpm
from vafw.hw.txt.chipset import Chipset
from vafw.hw.txt.sinit_build import MODEL_PROCESSOR


class Activity(Enum):
    """What a logical processor is doing."""

    RUNNING = "running"
    WAIT_FOR_SIPI = "wait for SIPI"
    SENTER_SLEEP = "SENTER sleep"


@final
@dataclass(slots=True)
class SmxProcessor:
    """One logical processor: the state that GETSEC[SENTER] looks at and changes."""

    number: int
    activity: Activity = Activity.RUNNING
    interrupts_masked: bool = False
    signature: int = MODEL_PROCESSOR[0]
    """CPUID leaf 1, EAX."""
    protected_mode: bool = True
    """CR0.PE set and EFLAGS.VM clear."""
    caching: bool = True
    """CR0.CD and CR0.NW clear."""
    numeric_error: bool = True
    """CR0.NE."""
    smx_enabled: bool = True
    """CR4.SMXE."""
    senter_enabled: bool = True
    """IA32_FEATURE_CONTROL: locked, SENTER enabled globally and for all its parameters."""
    senter_functions: int = 0x7F
    """IA32_FEATURE_CONTROL[14:8]: the bits of EDX that SENTER may be given."""
    acm_write_back: bool = True
    """The MTRRs give the module's memory the type WB."""
    privilege_level: int = 0
    """CPL."""
    vmx_operation: bool = False
    """VMXON was executed, and VMXOFF was not."""
    machine_check: bool = False
    """A bank holds an uncorrected error."""
    smi_masked: bool = False
    """System management interrupts wait, from SENTER to SMCTRL or SEXIT."""
    entry: int | None = None
    """Where it entered the MLE, once woken."""


@final
@dataclass(slots=True)
class TxtPlatform:
    """Memory, chipset, TPM and logical processors of one PC."""

    memory: PhysicalMemory
    chipset: Chipset
    tpm: Tpm
    processors: list[SmxProcessor] = field(default_factory=lambda: [SmxProcessor(0)])
    remapping_unit: Hpa | None = None
    """Where the remapping unit's registers are, whose protected memory regions SINIT turns on; None for no unit."""

    @property
    def ilp(self) -> SmxProcessor:
        """The initiating logical processor."""
        return self.processors[0]

    @property
    def rlps(self) -> list[SmxProcessor]:
        """The responding logical processors."""
        return self.processors[1:]

    def txt_reset(self, error_code: int) -> None:
        """A Reset: sticky registers keep the reason, the TPM starts anew (PCR 17 to 22 all ones), processors run."""
        self.chipset.txt_reset(error_code)
        self.tpm.power_cycle()
        self.tpm.startup()
        self._restart_processors()

    def suspend(self, *, save_tpm_state: bool = True) -> None:
        """S3: memory keeps its contents, all else loses its power. `save_tpm_state` is what an OS ought to do."""
        if save_tpm_state:
            self.tpm.shutdown(StartupType.STATE)
        self.tpm.power_cycle()
        self.chipset.power_cycle()
        self._restart_processors()

    def wake(self) -> None:
        """The firmware's first act after S3: TPM2_Startup(STATE), or, where nothing was saved, CLEAR."""
        try:
            self.tpm.startup(StartupType.STATE)
        except TpmError:
            self.tpm.startup(StartupType.CLEAR)

    def _restart_processors(self) -> None:
        for processor in self.processors:
            processor.activity = Activity.RUNNING
            processor.interrupts_masked = processor.smi_masked = processor.vmx_operation = False
            processor.entry = None
