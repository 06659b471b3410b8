"""The chipset's part in TXT: the register file, the ranges that device DMA must not reach, and address aliasing.

Not the remapping unit: that one translates, this one only forbids. Whoever carries a device's DMA to memory
asks `blocks_dma` first (the seam to `vafw.hw.pci`); `device_read` and `device_write` do both steps for a
device that stands behind no remapping unit. Where a range is protected twice, the first in the list is
named.

The hard part is aliasing. A memory controller can let two addresses reach the same DRAM. A range check
looks at the address, so a write to the *other* address passes it and still lands in the protected range.
That is why the BIOS ACM resets the aliasing registers before anything is measured, and why SENTER locks
them (MEM-CONFIG-LOCK).

Two doors: `sw_read` and `sw_write` obey the attributes of the space they came through; `get` and `hw_set` do not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, final

from vafw.address import Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.txt.bits import (
    ALIAS_REGISTERS,
    PRIVATE_SPACE,
    PUBLIC_SPACE,
    SPACE_SIZE,
    Dpr,
    E2sts,
    Ests,
    Reg,
    Sts,
)

MODEL_CHIPSET: Final = (0x8086, 0xB002, 0x0001)
"""Vendor, device and revision id in TXT.DIDVID, which a module's chipset list must name."""

_FILE_SIZE = 0x1000
_PRIVATE_RW = frozenset(
    {Reg.ERRORCODE, Reg.SINIT_BASE, Reg.SINIT_SIZE, Reg.MLE_JOIN, Reg.HEAP_BASE, Reg.HEAP_SIZE,
     Reg.MSEG_BASE, Reg.MSEG_SIZE, Reg.SCRATCHPAD}
)  # fmt: skip
_REGISTERS = frozenset(Reg)
_ALIASES = frozenset(register for window in ALIAS_REGISTERS for register in window)
_FUSED = (Reg.DIDVID, Reg.VER_FSBIF, Reg.VER_QPIIF)
_SURVIVE_POWER_CYCLE = (*_FUSED, Reg.E2STS)
_SURVIVE_RESET = (*_SURVIVE_POWER_CYCLE, Reg.ESTS, Reg.ERRORCODE, *sorted(_ALIASES))
_COMMANDS = {
    Reg.CMD_CLOSE_PRIVATE: (Sts(0), Sts.PRIVATE_OPEN | Sts.LOCALITY1_OPEN | Sts.LOCALITY2_OPEN),
    Reg.CMD_UNLOCK_MEM_CONFIG: (Sts(0), Sts.MEM_CONFIG_LOCK),
    Reg.CMD_OPEN_LOCALITY1: (Sts.LOCALITY1_OPEN, Sts(0)),
    Reg.CMD_CLOSE_LOCALITY1: (Sts(0), Sts.LOCALITY1_OPEN),
    Reg.CMD_OPEN_LOCALITY2: (Sts.LOCALITY2_OPEN, Sts(0)),
    Reg.CMD_CLOSE_LOCALITY2: (Sts(0), Sts.LOCALITY2_OPEN),
}


@dataclass(frozen=True, slots=True)
class ProtectedRange:
    """Memory that no device may read or write."""

    name: str
    """``DPR``, ``PMR low``, ``PMR high``."""
    base: int
    size: int

    def covers(self, address: int, length: int) -> bool:
        """Whether all of the bytes lie inside."""
        return self.base <= address and address + length <= self.base + self.size


@final
class Chipset:
    """One chipset with both TXT spaces in the memory map."""

    def __init__(self, memory: PhysicalMemory, public_key: bytes) -> None:
        """`public_key` is the fused TXT.PUBLIC.KEY: SHA-256 of the modulus that may sign modules, 32 bytes."""
        self._memory = memory
        self._file = bytearray(_FILE_SIZE)
        self._pmrs: tuple[ProtectedRange, ...] = ()
        self._ranges: tuple[ProtectedRange, ...] | None = None  # made of DPR and PMRs when DMA first asks
        self._reset_requested = False
        vendor, device, revision = MODEL_CHIPSET
        self.hw_set(Reg.DIDVID, vendor | device << 16 | revision << 32)
        self.hw_set(Reg.VER_QPIIF, 1 << 31)
        self._file[Reg.PUBLIC_KEY : Reg.PUBLIC_KEY + 32] = public_key
        memory.map_window(PUBLIC_SPACE, SPACE_SIZE, _Space(self, private=False))
        memory.map_window(PRIVATE_SPACE, SPACE_SIZE, _Space(self, private=True))

    # Registers as the hardware sees them.

    def get(self, register: Reg) -> int:
        """A register's 64 bits."""
        return int.from_bytes(self._file[register : register + 8], "little")

    def hw_set(self, register: Reg, value: int) -> None:
        """Set a register past its access attributes."""
        self._file[register : register + 8] = value.to_bytes(8, "little")
        self._ranges = None

    @property
    def status(self) -> Sts:
        """TXT.STS."""
        return Sts(self.get(Reg.STS))

    def change_status(self, *, set_bits: Sts = Sts(0), clear_bits: Sts = Sts(0)) -> None:  # noqa: B008 - Sts is a value
        """Set some bits of TXT.STS and clear others."""
        self.hw_set(Reg.STS, (self.status & ~clear_bits) | set_bits)

    @property
    def dpr(self) -> Dpr:
        """TXT.DPR."""
        return Dpr.decode(self.get(Reg.DPR))

    @property
    def public_key(self) -> bytes:
        """TXT.PUBLIC.KEY, 32 bytes."""
        return bytes(self._file[Reg.PUBLIC_KEY : Reg.PUBLIC_KEY + 32])

    @property
    def reset_requested(self) -> bool:
        """Whether software wrote TXT.CMD.RESET since the last reset."""
        return self._reset_requested

    def txt_reset(self, error_code: int) -> None:
        """Reset the platform because a launch failed; the sticky registers keep `error_code` and the fact."""
        self.hw_set(Reg.ERRORCODE, error_code)
        self.hw_set(Reg.ESTS, Ests.TXT_RESET)
        self._start_over(_SURVIVE_RESET)

    def reset(self) -> None:
        """The reset button: memory keeps its contents, and its controller the aliasing that software set."""
        self._start_over(_SURVIVE_RESET)

    def power_cycle(self) -> None:
        """Power off and on: only what is fused stays, and E2STS, whose secrets may still be in memory."""
        self._start_over(_SURVIVE_POWER_CYCLE)

    def _start_over(self, kept: tuple[Reg, ...]) -> None:
        values = {register: self.get(register) for register in kept}
        key = self.public_key
        self._file = bytearray(_FILE_SIZE)
        for register, value in values.items():
            self.hw_set(register, value)
        self._file[Reg.PUBLIC_KEY : Reg.PUBLIC_KEY + 32] = key
        self._pmrs = ()
        self._ranges = None
        self._reset_requested = False

    # Registers as software sees them.

    def sw_read(self, offset: int, size: int, *, private: bool) -> int:
        """All ones while the private space is closed and through it; zeros where no register is."""
        if private and not self.status & Sts.PRIVATE_OPEN:
            return (1 << 8 * size) - 1
        return int.from_bytes(self._file[offset : offset + size], "little")

    def sw_write(self, offset: int, size: int, value: int, *, private: bool) -> None:
        """Writes that the attributes do not allow have no effect, as on the bus."""
        if private and not self.status & Sts.PRIVATE_OPEN:
            return
        if self._writable(offset & ~7, private=private):
            self._file[offset : offset + size] = value.to_bytes(size, "little")
            self._ranges = None
        elif private and offset in _REGISTERS:
            self._command(Reg(offset))

    def _writable(self, register: int, *, private: bool) -> bool:
        if register in _ALIASES:
            return not self.status & Sts.MEM_CONFIG_LOCK
        if register == Reg.DPR:
            return private and not self.dpr.lock
        return private and register in _PRIVATE_RW

    def _command(self, register: Reg) -> None:
        if register is Reg.CMD_RESET:
            self._reset_requested = True
        elif register is Reg.CMD_SECRETS:
            self.hw_set(Reg.E2STS, E2sts.SECRETS)
        elif register is Reg.CMD_NO_SECRETS:
            self.hw_set(Reg.E2STS, 0)
        elif register in _COMMANDS:
            set_bits, clear_bits = _COMMANDS[register]
            self.change_status(set_bits=set_bits, clear_bits=clear_bits)

    # What devices may reach.

    def protect(self, *ranges: ProtectedRange) -> None:
        """Replace the protected memory regions (PMRs), which stand beside the DPR."""
        self._pmrs = ranges
        self._ranges = None

    @property
    def protected_ranges(self) -> tuple[ProtectedRange, ...]:
        """The DPR, if there is one, then the protected memory regions."""
        if self._ranges is None:
            dpr = self.dpr
            held = (ProtectedRange("DPR", dpr.base, dpr.size_mib << 20),) if dpr.size_mib else ()
            self._ranges = held + self._pmrs
        return self._ranges

    def blocks_dma(self, address: int, length: int) -> ProtectedRange | None:
        """The range that forbids a device these bytes, or None; looks at addresses, never at where they lead."""
        for each in self._ranges if self._ranges is not None else self.protected_ranges:
            if address < each.base + each.size and each.base < address + length:
                return each
        return None

    @property
    def aliases(self) -> tuple[tuple[int, int, int], ...]:
        """Aliasing windows that are on: first address, last address, and where the first leads."""
        windows = ((self.get(base), self.get(limit), self.get(target)) for base, limit, target in ALIAS_REGISTERS)
        return tuple((base & ~0xFFF, limit, target) for base, limit, target in windows if base & 1)

    def decode(self, address: int) -> Hpa:
        """Where in DRAM an address leads."""
        for base, limit, target in self.aliases:
            if base <= address <= limit:
                return Hpa(target + address - base)
        return Hpa(address)

    def device_read(self, address: int, length: int) -> bytes | ProtectedRange:
        """A device's read that no remapping unit translates, within one page; the range that blocked it, if any."""
        return self.blocks_dma(address, length) or self._memory.read(self.decode(address), length)

    def device_write(self, address: int, data: bytes) -> ProtectedRange | None:
        """A device's write that no remapping unit translates, within one page; the range that blocked it, if any."""
        blocked = self.blocks_dma(address, len(data))
        if blocked is None:
            self._memory.write(self.decode(address), data)
        return blocked


@final
class _Space:
    """One of the two windows onto the register file."""

    def __init__(self, chipset: Chipset, *, private: bool) -> None:
        self._chipset = chipset
        self._private = private

    def mmio_read(self, offset: int, size: int) -> int:
        """The register's value."""
        return self._chipset.sw_read(offset, size, private=self._private)

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        """Software writes the register."""
        self._chipset.sw_write(offset, size, value, private=self._private)


def public_key_hash(modulus: int) -> bytes:
    """TXT.PUBLIC.KEY for a signer: SHA-256 of the modulus as a module stores it (256 bytes, little-endian)."""
    return hashlib.sha256(modulus.to_bytes(256, "little")).digest()
