"""VMX: logical processors, VMCSs, extended page tables, and guests in non-root operation."""

from vafw.hw.vmx.ept import AccessKind, EptCapability, Misconfiguration, Translation, Violation, walk
from vafw.hw.vmx.guest import (
    Access,
    Cpuid,
    GuestCpu,
    GuestFault,
    GuestProgram,
    Hlt,
    PrivilegedOperation,
    Running,
    Vmcall,
)
from vafw.hw.vmx.processor import InvalidOpcode, InveptType, LogicalProcessor, Registers, VmExit, VmFail

__all__ = [
    "LogicalProcessor",
    "VmExit",
    "VmFail",
    "Registers",
    "InveptType",
    "GuestProgram",
    "GuestCpu",
    "PrivilegedOperation",
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
]
