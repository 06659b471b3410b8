"""A processor with a guest to enter: memory with EPT tables of 4 MiB, and a VMCS in which nothing is wrong."""

from __future__ import annotations

from vafw.address import PAGE_SIZE_2M, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx import GuestCpu, GuestProgram, Hlt, LogicalProcessor, Running
from vafw.hw.vmx.bits import CR4_VMXE, NO_LINK, READ_ONLY, REVISION, Encoding, VmcsField
from vafw.hw.vmx.vmcs import blank_region
from vafw.vmm.vcpu import REAL_MODE_SEGMENTS

VMXON, FIRST, SECOND = Hpa(0x1000), Hpa(0x2000), Hpa(0x3000)
ROOT, LEVEL3, LEVEL2 = 0x1_0000, 0x1_1000, 0x1_2000
EPTP = ROOT | 0x1E
RAM = 0x40_0000
"""Host address of the guest's two large pages."""
GOOD = {
    VmcsField.LINK_POINTER: NO_LINK,
    VmcsField.PIN_CONTROLS: 0x17,
    VmcsField.PRIMARY_CONTROLS: 0x8400_61FA,
    VmcsField.SECONDARY_CONTROLS: 0xA2,
    VmcsField.EXIT_CONTROLS: 0x3_EFFB,
    VmcsField.ENTRY_CONTROLS: 0x11FB,
    VmcsField.VPID: 1,
    VmcsField.EPTP: EPTP,
    VmcsField.HOST_CR0: 0x8000_0021,
    VmcsField.HOST_CR4: 0x2020,
    VmcsField.HOST_CS_SELECTOR: 8,
    VmcsField.HOST_TR_SELECTOR: 0x40,
    VmcsField.GUEST_CR0: 0x20,
    VmcsField.GUEST_CR4: 0x2000,
    VmcsField.GUEST_RFLAGS: 2,
    VmcsField.GUEST_RIP: 0x1000,
    **dict(REAL_MODE_SEGMENTS),
}

WRITABLE = [each for each in VmcsField if Encoding.TYPE.get(each) != READ_ONLY]
VALUES = [0, 1, 2, 4, 0x20, 0x202, 0x2000, 0x8000_0030, 0x8000_0B0D, 1 << 46, 1 << 47, NO_LINK]


def pc() -> tuple[PhysicalMemory, LogicalProcessor]:
    """A processor in VMX operation, EPT tables of 4 MiB, and two clear VMCSs."""
    memory = PhysicalMemory(1 << 24)
    memory.write_u64(Hpa(ROOT), LEVEL3 | 7)
    memory.write_u64(Hpa(LEVEL3), LEVEL2 | 7)
    memory.write_u64(Hpa(LEVEL2), RAM | 0xB7)
    memory.write_u64(Hpa(LEVEL2 + 8), RAM + PAGE_SIZE_2M | 0xB7)
    processor = LogicalProcessor(memory)
    processor.cr4 |= CR4_VMXE
    for region in (VMXON, FIRST, SECOND):
        blank_region(memory, region, REVISION)
    assert processor.vmxon(VMXON) is None
    return memory, processor


def ready(program: GuestProgram, **fields: int) -> tuple[PhysicalMemory, LogicalProcessor]:
    """As `pc`, with a good VMCS current, some fields replaced by name, and a guest placed."""
    memory, processor = pc()
    assert processor.vmclear(FIRST) is None
    assert processor.vmptrld(FIRST) is None
    for field, value in (GOOD | {VmcsField[name]: value for name, value in fields.items()}).items():
        assert processor.vmwrite(field, value) is None
    processor.place(FIRST, program)
    return memory, processor


def advance(processor: LogicalProcessor, length: int) -> None:
    rip = processor.vmread(VmcsField.GUEST_RIP)
    assert isinstance(rip, int)
    processor.vmwrite(VmcsField.GUEST_RIP, rip + length)


def halts(cpu: GuestCpu) -> Running:
    while True:
        yield Hlt()


def returns(cpu: GuestCpu) -> Running:
    yield from ()
