"""Delivery of an event through the guest's IDT: the gate is read and the stack written like any other guest memory.

So a delivery can itself fault, which makes a second exception, a double fault or, in the delivery of that, the triple
fault; and it can breach EPT, which is a VM exit with the event in the IDT-vectoring fields, to be injected again.

Not here: privilege changes, interrupt stacks, task gates. The handler runs at the interrupted stack, aligned to 16.
(SDM volume 3, "Interrupt and Exception Handling in 64-Bit Mode"; "Information for VM Exits During Event Delivery".)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from vafw.hw.vmx.bits import (
    DOUBLE_FAULT,
    GENERAL_PROTECTION,
    PAGE_FAULT,
    RFLAGS_CLEARED_BY_DELIVERY,
    RFLAGS_IF,
    SEGMENT_NOT_PRESENT,
    Interruptibility,
    Interruption,
    InterruptionType,
    VmcsField,
)
from vafw.hw.vmx.ept import AccessKind, Misconfiguration, Violation
from vafw.hw.vmx.guest import GuestContext
from vafw.hw.vmx.operation import Access
from vafw.hw.vmx.paging import Fault

_GATE: Final = struct.Struct("<HHBBHII")
_INTERRUPT_GATE, _TRAP_GATE = 14, 15
_SHADOWS: Final = int(Interruptibility.BLOCKING_BY_STI | Interruptibility.BLOCKING_BY_MOV_SS)
_CONTRIBUTORY: Final = frozenset({0, 10, 11, 12, 13})
_EXTERNAL_BIT, _IDT_BIT = 1, 2
"""Of an error code that names a gate: the event came from outside; the index is one of the IDT."""
FRAME_WORDS: Final = 5
"""RIP, CS, RFLAGS, RSP and SS, from the lowest address up."""


@dataclass(frozen=True, slots=True)
class Event:
    """An interrupt or exception to deliver."""

    vector: int
    kind: InterruptionType
    error_code: int | None = None
    linear: int | None = None
    """What CR2 becomes, of a #PF."""

    @property
    def information(self) -> int:
        """As the IDT-vectoring field has it."""
        return Interruption.pack(
            VECTOR=self.vector, TYPE=self.kind, ERROR_CODE=int(self.error_code is not None), VALID=1
        )


def deliver(guest: GuestContext, fields: dict[int, int], event: Event) -> Fault | Violation | Misconfiguration | str:
    """Start the handler: "" where it runs, else what went wrong on the way, or why there is no code to run."""
    gate = _gate(guest, fields, event)
    if not isinstance(gate, _Gate):
        return gate
    frame = _push(guest, fields, event)
    if frame is not None:
        return frame
    code = guest.cpu.code.get(gate.offset)
    if code is None:
        return f"there is no code at RIP {gate.offset:#x}"
    rflags = fields[VmcsField.GUEST_RFLAGS] & ~RFLAGS_CLEARED_BY_DELIVERY
    fields[VmcsField.GUEST_RFLAGS] = rflags & ~RFLAGS_IF if gate.kind == _INTERRUPT_GATE else rflags
    if event.kind is InterruptionType.NMI:
        fields[VmcsField.GUEST_INTERRUPTIBILITY] |= int(Interruptibility.BLOCKING_BY_NMI)
    fields[VmcsField.GUEST_INTERRUPTIBILITY] &= ~_SHADOWS
    fields[VmcsField.GUEST_RIP] = gate.offset
    guest.interrupt(code, gate.offset, error_code=event.error_code is not None)
    return ""


def second_event(first: Event, fault: Fault) -> Event | None:
    """What a fault during a delivery becomes: itself, a double fault, or None for the triple fault."""
    if first.vector == DOUBLE_FAULT and first.kind is InterruptionType.HARDWARE_EXCEPTION:
        return None
    exception = first.kind in (InterruptionType.HARDWARE_EXCEPTION, InterruptionType.SOFTWARE_EXCEPTION)
    contributory = exception and first.vector in _CONTRIBUTORY and fault.vector in _CONTRIBUTORY
    page_fault = exception and first.vector == PAGE_FAULT and fault.vector in {*_CONTRIBUTORY, PAGE_FAULT}
    if contributory or page_fault:
        return Event(DOUBLE_FAULT, InterruptionType.HARDWARE_EXCEPTION, 0)
    return Event(fault.vector, InterruptionType.HARDWARE_EXCEPTION, fault.error_code, fault.linear)


def interrupt_return(guest: GuestContext, fields: dict[int, int]) -> Fault | Violation | Misconfiguration | None:
    """IRET: take the frame off the stack and go back to what was interrupted."""
    pointer = fields[VmcsField.GUEST_RSP] + (8 if guest.suspended[-1].error_code else 0)
    raw = guest.cpu.access(Access(pointer, 8 * FRAME_WORDS))
    if not isinstance(raw, bytes):
        return raw
    rip, cs, rflags, rsp, ss = struct.unpack("<5Q", raw)
    fields[VmcsField.GUEST_RIP] = rip
    fields[VmcsField.GUEST_CS_SELECTOR] = cs & 0xFFFF
    fields[VmcsField.GUEST_RFLAGS] = rflags & ~RFLAGS_CLEARED_BY_DELIVERY | 2
    fields[VmcsField.GUEST_RSP] = rsp
    fields[VmcsField.GUEST_SS_SELECTOR] = ss & 0xFFFF
    fields[VmcsField.GUEST_INTERRUPTIBILITY] &= ~int(Interruptibility.BLOCKING_BY_NMI)
    guest.resume()
    return None


@dataclass(frozen=True, slots=True)
class _Gate:
    offset: int
    kind: int


def gate(offset: int, selector: int = 8, kind: int = _INTERRUPT_GATE) -> bytes:
    """The sixteen bytes of a present 64-bit gate, for whoever builds an IDT."""
    return _GATE.pack(offset & 0xFFFF, selector, 0, 0x80 | kind, offset >> 16 & 0xFFFF, offset >> 32, 0)


def _gate(guest: GuestContext, fields: dict[int, int], event: Event) -> _Gate | Fault | Violation | Misconfiguration:
    """The event's gate in the IDT."""
    external = event.kind in (InterruptionType.EXTERNAL, InterruptionType.NMI)
    code = event.vector << 3 | _IDT_BIT | (_EXTERNAL_BIT if external else 0)
    if event.vector * 16 + 15 > fields[VmcsField.GUEST_IDTR_LIMIT]:
        return Fault(GENERAL_PROTECTION, code)
    raw = guest.cpu.access(Access(fields[VmcsField.GUEST_IDTR_BASE] + event.vector * 16, 16, AccessKind.READ))
    if not isinstance(raw, bytes):
        return raw
    low, selector, _, kind, middle, high, _ = _GATE.unpack(raw)
    if kind & 0x1F not in (_INTERRUPT_GATE, _TRAP_GATE) or not selector & ~3:
        return Fault(GENERAL_PROTECTION, code)
    if not kind & 0x80:
        return Fault(SEGMENT_NOT_PRESENT, code)
    return _Gate(low | middle << 16 | high << 32, kind & 0xF)


def _push(guest: GuestContext, fields: dict[int, int], event: Event) -> Fault | Violation | Misconfiguration | None:
    """The interrupted state onto the guest's stack."""
    words = [
        fields[VmcsField.GUEST_RIP],
        fields[VmcsField.GUEST_CS_SELECTOR],
        fields[VmcsField.GUEST_RFLAGS],
        fields[VmcsField.GUEST_RSP],
        fields[VmcsField.GUEST_SS_SELECTOR],
    ]
    if event.error_code is not None:
        words.insert(0, event.error_code)
    pointer = (fields[VmcsField.GUEST_RSP] & -16) - 8 * len(words)
    data = struct.pack(f"<{len(words)}Q", *words)
    stored = guest.cpu.access(Access(pointer & (1 << 64) - 1, 0, AccessKind.WRITE, data))
    if not isinstance(stored, bytes):
        return stored
    fields[VmcsField.GUEST_RSP] = pointer
    return None
