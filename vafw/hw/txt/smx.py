"""Safer mode extensions (SMX): the leaves of GETSEC, when one faults, and the two that only answer.

Not what SENTER, SEXIT, WAKEUP and SMCTRL do (`senter`, `sexit`). Intel SDM Vol. 2, "Safer Mode Extensions Reference".
In VMX non-root operation GETSEC is a VM exit (reason 11) before any of this is looked at: `vafw.hw.vmx`'s affair.

The hard part is the order: #UD before #GP(0), and either before anything has changed. What goes wrong later, with other
processors already asleep, is no fault any more but a TXT shutdown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from vafw.errors import VafwError
from vafw.hw.txt.platform import SmxProcessor


class Leaf(IntEnum):
    """GETSEC leaf functions, EAX."""

    CAPABILITIES = 0
    ENTERACCS = 2
    EXITAC = 3
    SENTER = 4
    SEXIT = 5
    PARAMETERS = 6
    SMCTRL = 7
    WAKEUP = 8


SUPPORTED: Final = frozenset({Leaf.CAPABILITIES, Leaf.SENTER, Leaf.SEXIT, Leaf.PARAMETERS, Leaf.SMCTRL, Leaf.WAKEUP})
"""Leaves of the modelled processor. ENTERACCS and EXITAC, with which a BIOS calls its module, are not modelled: the
BIOS ACM starts at the reset vector."""
AC_RAM_BYTES: Final = 0x8_0000
"""What a module may have at most."""
MINIMUM_MODULE_BYTES: Final = 0x500
SENTER_FUNCTIONS: Final = 0x7F
"""Bits of EDX that SENTER knows: IA32_FEATURE_CONTROL[14:8] enables each of them."""
_CHIPSET_PRESENT: Final = 1 << 0
_MEMORY_TYPE_WB: Final = 1 << 6


class SmxFault(VafwError):
    """GETSEC raised an exception; nothing has changed."""

    def __init__(self, leaf: Leaf, exception: str, reason: str) -> None:
        """`exception` is ``#UD`` or ``#GP(0)``."""
        super().__init__(f"GETSEC[{leaf.name}] raises {exception}: {reason}")
        self.leaf = leaf
        self.exception = exception
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ParameterReport:
    """What GETSEC[PARAMETERS] leaves in the registers; EAX[4:0] is the type, 0 ends the list."""

    eax: int
    ebx: int = 0
    ecx: int = 0


PARAMETERS: Final = (
    ParameterReport(1, 0xFFFF_FFFF, 0),  # module versions: mask, and version 0.0
    ParameterReport(2 | AC_RAM_BYTES & ~0x1F),
    ParameterReport(3 | _MEMORY_TYPE_WB << 8),
    ParameterReport(4 | SENTER_FUNCTIONS << 8),
    ParameterReport(5 | 1 << 6),  # machine checks: SENTER need not see all banks valid
)


def capabilities(processor: SmxProcessor, index: int = 0) -> int:
    """GETSEC[CAPABILITIES]: EAX for an EBX; only index 0 has anything to say."""
    require_decodable(processor, Leaf.CAPABILITIES)
    return _CHIPSET_PRESENT | sum(1 << leaf for leaf in SUPPORTED if leaf) if index == 0 else 0


def parameters(processor: SmxProcessor, index: int) -> ParameterReport:
    """GETSEC[PARAMETERS]: the report of that index (EBX); the null type after the last."""
    require_decodable(processor, Leaf.PARAMETERS)
    return PARAMETERS[index] if 0 <= index < len(PARAMETERS) else ParameterReport(0)


def require_decodable(processor: SmxProcessor, leaf: Leaf) -> None:
    """SmxFault #UD where the instruction, or the leaf, does not exist for this processor as it stands."""
    if not processor.smx_enabled:
        raise SmxFault(leaf, "#UD", "CR4.SMXE must be set")
    if leaf not in SUPPORTED:
        raise SmxFault(leaf, "#UD", "the processor must support the leaf (GETSEC[CAPABILITIES])")


def require(leaf: Leaf, conditions: Iterable[tuple[bool, str]]) -> None:
    """SmxFault #GP(0) with the first sentence whose condition does not hold."""
    for holds, reason in conditions:
        if not holds:
            raise SmxFault(leaf, "#GP(0)", reason)


def privileged(processor: SmxProcessor) -> tuple[tuple[bool, str], ...]:
    """What every leaf but the two that answer asks of the processor."""
    return (
        (processor.protected_mode, "the processor must be in protected mode"),
        (processor.privilege_level == 0, f"the privilege level must be 0, not {processor.privilege_level}"),
    )


def outside_vmx(processor: SmxProcessor) -> tuple[bool, str]:
    """A VMM that is in operation already can neither launch nor end a measured environment."""
    return not processor.vmx_operation, "the processor must not be in VMX operation"


def initiating(processor: SmxProcessor) -> tuple[bool, str]:
    """Only the bootstrap processor."""
    return processor.number == 0, "IA32_APIC_BASE.BSP must be set"
