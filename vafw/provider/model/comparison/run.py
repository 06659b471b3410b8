"""Runs a workload under each technique, on a processor and a memory of its own, and counts.

    technique              memory                          sensitive instructions           VPID
    binary translation     virtual TLB                     callouts of translated code      yes (1)
    para-virtualization    the guest's tables, checked     hypercalls                       yes (1)
    virtual TLB            virtual TLB                     VM exits                         no
    EPT                    EPT                             VM exits                         no
    EPT and VPID           EPT                             VM exits                         yes

(1) Before VT-x such a VMM lived in a corner of the guest's own address space, and calling it emptied no TLB. A VPID is
how the model says that. Their traps and hypercalls are counted as the VM exits that they are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vafw.address import PAGE_SIZE, Gpa, Hpa
from vafw.document.workload import Workload
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import (
    CR4_VMXE,
    REVISION,
    RFLAGS_IF,
    RFLAGS_ONE,
    EntryControl,
    PrimaryControl,
    SecondaryControl,
    VmcsField,
)
from vafw.hw.vmx.ept import EptCapability
from vafw.hw.vmx.guest_physical import WalkCount
from vafw.hw.vmx.processor import LogicalProcessor
from vafw.hw.vmx.vmcs import blank_region
from vafw.provider.model.comparison.dialect import Dialect, Hypercalls, Instructions, Translated
from vafw.provider.model.comparison.kernel import Kernel
from vafw.provider.model.comparison.layout import DEVICE_VECTOR, GUEST_BYTES, IDT, STACK, Layout
from vafw.provider.model.comparison.monitor import (
    Monitor,
    ParavirtualMonitor,
    ShadowMonitor,
    TranslatorMonitor,
    WorkloadFailed,
)
from vafw.trace import Value
from vafw.vmm.ept_tables import EptTables
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.guest_memory import GuestMemory
from vafw.vmm.vcpu import Vcpu
from vafw.vmm.virtual_tlb import VirtualTlb

TECHNIQUES: Final = ("binary translation", "para-virtualization", "virtual TLB", "EPT", "EPT and VPID")
_HOST_BYTES: Final = 256 << 20
_GUEST_BASE: Final = Hpa(128 << 20)
_VPID: Final = 1
_LONG_MODE: Final = (
    (VmcsField.ENTRY_CONTROLS, int(EntryControl.DEFAULT1 | EntryControl.IA32E_GUEST | EntryControl.LOAD_EFER)),
    (VmcsField.GUEST_EFER, 0xD00),
    (VmcsField.GUEST_CR0, 0x8001_0021),
    (VmcsField.GUEST_CR4, 0x20A0),
    (VmcsField.GUEST_CS_SELECTOR, 8),
    (VmcsField.GUEST_CS_RIGHTS, 0xA09B),
    (VmcsField.GUEST_IDTR_BASE, IDT),
    (VmcsField.GUEST_IDTR_LIMIT, 0xFFF),
    (VmcsField.GUEST_RSP, STACK),
)
"""A 64-bit kernel: paging, write protection, global pages, XD; an IDT and a stack."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one technique took."""

    technique: str
    exits: Mapping[str, int]
    """VM exits by reason, the most frequent first."""
    callouts: Mapping[str, int]
    """Calls of the VMM's code without a VM exit, of a binary translator."""
    guest_faults: int
    """Page faults that the guest's own handler saw."""
    interrupts: int
    count: WalkCount
    checksum: int

    @property
    def exits_in_all(self) -> int:
        """VM exits of every reason."""
        return sum(self.exits.values())

    @property
    def references_per_walk(self) -> float:
        """Table entries read for each address that the TLB did not have."""
        return self.count.references / self.count.tlb_misses if self.count.tlb_misses else 0.0

    @property
    def uncached_per_walk(self) -> float:
        """The same if no guest-physical mapping were ever remembered: up to 24 for four levels over four."""
        return self.count.uncached / self.count.tlb_misses if self.count.tlb_misses else 0.0

    def to_json(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "technique": self.technique,
            "exits": dict(self.exits),
            "exits-in-all": self.exits_in_all,
            "callouts": dict(self.callouts),
            "guest-page-faults": self.guest_faults,
            "interrupts": self.interrupts,
            "tlb-hits": self.count.tlb_hits,
            "tlb-misses": self.count.tlb_misses,
            "memory-references": self.count.references,
            "references-per-walk": round(self.references_per_walk, 2),
            "uncached-references-per-walk": round(self.uncached_per_walk, 2),
        }


def compare(workload: Workload) -> tuple[Outcome, ...]:
    """Every technique in turn; WorkloadFailed where one does not end, or ends with another result than the others."""
    outcomes = tuple(_run(workload, technique) for technique in TECHNIQUES)
    sums = {each.technique: each.checksum for each in outcomes}
    if len(set(sums.values())) > 1:
        raise WorkloadFailed(f"every technique must read the same values, but the sums are {sums}")
    return outcomes


def _run(workload: Workload, technique: str) -> Outcome:
    machine = _Machine(workload, technique)
    dialect: Dialect
    monitor = machine.monitor()
    if isinstance(monitor, TranslatorMonitor):
        dialect = Translated(monitor)
    else:
        dialect = Hypercalls() if isinstance(monitor, ParavirtualMonitor) else Instructions()
    processor = machine.processor
    kernel = Kernel(
        workload,
        machine.layout,
        dialect,
        cr2=lambda: processor.state.cr2,
        interrupt=lambda: processor.raise_interrupt(DEVICE_VECTOR),
    )
    machine.vcpu.place(kernel.program)
    cpu = processor.guest(machine.vcpu.region)
    kernel.install(cpu)
    monitor.run()
    callouts = dialect.callouts if isinstance(dialect, Translated) else {}
    return Outcome(
        technique,
        dict(monitor.exits.most_common()),
        dict(callouts),
        kernel.faults,
        kernel.interrupts,
        cpu.second.count,
        kernel.sum,
    )


class _Machine:
    """A processor with one guest, set up for a technique."""

    def __init__(self, workload: Workload, technique: str) -> None:
        self.memory = PhysicalMemory(_HOST_BYTES)
        self.frames = FrameAllocator(Hpa(1 << 20), 64 << 20)
        self.processor = LogicalProcessor(self.memory)
        self._technique = technique
        paravirtual = technique == "para-virtualization"
        self.layout = Layout(
            self.memory,
            _GUEST_BASE,
            _GUEST_BASE if paravirtual else 0,
            workload.processes,
            workload.pages,
            tables_writable=not paravirtual,
        )
        self.layout.build()
        self.tables = self._ept(workload)
        self._enter_vmx()
        self.vcpu = self._new_vcpu()

    def monitor(self) -> Monitor:
        """The technique's VMM."""
        match self._technique:
            case "binary translation":
                return TranslatorMonitor(self.vcpu, self.layout, self._shadow())
            case "virtual TLB":
                return ShadowMonitor(self.vcpu, self.layout, self._shadow())
            case "para-virtualization":
                return ParavirtualMonitor(self.vcpu, self.layout)
            case _:
                return Monitor(self.vcpu, self.layout)

    def _shadow(self) -> VirtualTlb:
        guest = GuestMemory(self.memory, self.tables.eptp, EptCapability())
        shadow = VirtualTlb(self.memory, self.frames, guest)
        self.vcpu.write(VmcsField.GUEST_CR3, shadow.root)
        self.vcpu.write(VmcsField.EXCEPTION_BITMAP, 1 << 14)
        controls = self.vcpu.read(VmcsField.PRIMARY_CONTROLS)
        wanted = int(PrimaryControl.CR3_LOAD_EXITING | PrimaryControl.INVLPG_EXITING)
        self.vcpu.write(VmcsField.PRIMARY_CONTROLS, controls | wanted)
        return shadow

    def _ept(self, workload: Workload) -> EptTables:
        """What the VMM knows of the guest's memory; the processor uses it only where EPT is enabled."""
        tables = EptTables(self.memory, self.frames)
        step = PAGE_SIZE if workload.ept_page == "4 KiB" else GUEST_BYTES
        for start in range(0, GUEST_BYTES, step):
            tables.map(Gpa(start), Hpa(_GUEST_BASE + start), step)
        return tables

    def _enter_vmx(self) -> None:
        region = self.frames.allocate()
        blank_region(self.memory, region, REVISION)
        self.processor.cr4 |= CR4_VMXE
        self.processor.vmxon(region)

    def _new_vcpu(self) -> Vcpu:
        vpid = 0 if self._technique in ("virtual TLB", "EPT") else _VPID
        vcpu = Vcpu(self.memory, self.processor, self.frames.allocate(), vpid=vpid, eptp=self.tables.eptp)
        ept = SecondaryControl.ENABLE_EPT if self._technique.startswith("EPT") else SecondaryControl(0)
        tagged = SecondaryControl.ENABLE_VPID if vpid else SecondaryControl(0)
        vcpu.write(VmcsField.SECONDARY_CONTROLS, int(ept | tagged))
        deprivileged = self._technique in TECHNIQUES[:2]
        flags = RFLAGS_ONE | (RFLAGS_IF if deprivileged else 0)
        own = ((VmcsField.GUEST_CR3, self.layout.roots[0]), (VmcsField.GUEST_RFLAGS, flags))
        for field, value in (*_LONG_MODE, *own):
            vcpu.write(field, value)
        return vcpu
