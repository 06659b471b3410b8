"""VMX: logical processors, VMCSs, extended page tables, and guests in non-root operation."""

from vafw.hw.vmx.ept import AccessKind, EptCapability, Misconfiguration, Translation, Violation, walk
from vafw.hw.vmx.execution import Registers
from vafw.hw.vmx.exit import VmExit
from vafw.hw.vmx.guest import GuestCpu, GuestFault, GuestProgram, Running
from vafw.hw.vmx.operation import Access, Cpuid, Hlt, Operation, Vmcall
from vafw.hw.vmx.processor import (
    GeneralProtection,
    InvalidOpcode,
    InveptType,
    InvvpidType,
    LogicalProcessor,
    VmFail,
)

__all__ = [
    "LogicalProcessor",
    "VmExit",
    "VmFail",
    "Registers",
    "InveptType",
    "InvvpidType",
    "GuestProgram",
    "GuestCpu",
    "Operation",
    "Running",
    "Hlt",
    "Vmcall",
    "Cpuid",
    "Access",
    "AccessKind",
    "EptCapability",
    "Translation",
    "Violation",
    "Misconfiguration",
    "walk",
    "GuestFault",
    "InvalidOpcode",
    "GeneralProtection",
]
