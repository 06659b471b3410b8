"""Every register answers at its offset, and software changes of it what its attributes allow and nothing else."""

from __future__ import annotations

import pytest

from tests.hw.vtd.bench import Bench
from vafw.hw.vtd.registers import (
    OFFSETS,
    ContextCommand,
    GlobalCommand,
    IotlbInvalidate,
    QueueTail,
)
from vafw.register import Access, Register

PRINTED = {
    "Version": 0x00,
    "Capability": 0x08,
    "ExtendedCapability": 0x10,
    "GlobalCommand": 0x18,
    "GlobalStatus": 0x1C,
    "RootTableAddress": 0x20,
    "ContextCommand": 0x28,
    "FaultStatus": 0x34,
    "FaultEventControl": 0x38,
    "FaultEventData": 0x3C,
    "FaultEventAddress": 0x40,
    "FaultEventUpperAddress": 0x44,
    "ProtectedMemoryEnable": 0x64,
    "ProtectedLowBase": 0x68,
    "ProtectedLowLimit": 0x6C,
    "ProtectedHighBase": 0x70,
    "ProtectedHighLimit": 0x78,
    "QueueHead": 0x80,
    "QueueTail": 0x88,
    "QueueAddress": 0x90,
    "CompletionStatus": 0x9C,
    "CompletionEventControl": 0xA0,
    "CompletionEventData": 0xA4,
    "CompletionEventAddress": 0xA8,
    "CompletionEventUpperAddress": 0xAC,
    "QueueErrorRecord": 0xB0,
    "InterruptTableAddress": 0xB8,
    "InvalidateAddress": 0xF0,
    "IotlbInvalidate": 0xF8,
    "FaultRecording": 0x220,
}
"""The offsets as the specification prints them; the last three as CAP.FRO and ECAP.IRO of this unit say."""
COMMANDS: set[type[Register]] = {GlobalCommand, ContextCommand, IotlbInvalidate, QueueTail}


def test_every_register_stands_at_its_printed_offset() -> None:
    assert {kind.__name__: offset for kind, offset in OFFSETS.items()} == PRINTED


@pytest.mark.parametrize("kind", [kind for kind in OFFSETS if kind not in COMMANDS], ids=lambda kind: kind.__name__)
def test_software_writes_what_is_writable_and_reads_what_is_readable(kind: type[Register]) -> None:
    bench = Bench()
    for offset in range(0, kind.width // 8, 4):
        before = bench.register(OFFSETS[kind] + offset)
        bench.write(OFFSETS[kind] + offset, 0xFFFF_FFFF)
        writable = kind.mask_of(Access.RW) >> 8 * offset & 0xFFFF_FFFF
        derived = 1 if kind.__name__ == "ProtectedMemoryEnable" else 0
        assert bench.register(OFFSETS[kind] + offset) == before | writable | derived
        bench.write(OFFSETS[kind] + offset, 0)
        assert bench.register(OFFSETS[kind] + offset) == before & ~writable


@pytest.mark.parametrize("offset", [0x04, 0x30, 0x48, 0x98, 0xC0, 0x100, 0x21C, 0x2A0, 0xFFC])
def test_what_is_between_registers_reads_as_zero_and_keeps_nothing(offset: int) -> None:
    bench = Bench()
    bench.write(offset, 0xFFFF_FFFF)
    assert bench.register(offset) == 0
