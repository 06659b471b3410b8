"""A second walker, written from the bit tables of the specification alone.

It reads entries as strings of bits, lowest first, so that it shares nothing with the first walker but the manual.
"""

from __future__ import annotations

from dataclasses import dataclass

from vafw.address import Hpa
from vafw.hw.memory import PhysicalMemory


@dataclass(frozen=True, slots=True)
class Machine:
    """What CAP and ECAP say, in the words of somebody who reads them."""

    memory: PhysicalMemory
    host_bits: int = 46
    guest_bits: int = 48
    depths: tuple[int, ...] = (3, 4)
    device_tlb: bool = False
    snoop: bool = False

    def bits(self, address: int) -> str | None:
        """64 bits, lowest first; None where there is no memory."""
        if address + 8 > self.memory.size:
            return None
        return format(self.memory.read_u64(Hpa(address)), "064b")[::-1]


@dataclass(frozen=True, slots=True)
class Answer:
    """Where the address leads; `reason` 0 is success."""

    reason: int
    host: int = 0
    size: int = 0
    domain: int = 0


def number(bits: str) -> int:
    return int(bits[::-1] or "0", 2)


def walk(machine: Machine, root: int, requester: int, iova: int, *, write: bool) -> Answer:
    bus, devfn = divmod(requester, 256)
    low, high = machine.bits(root + 16 * bus), machine.bits(root + 16 * bus + 8)
    if low is None or high is None:
        return Answer(8)
    if low[0] == "0":
        return Answer(1)
    if "1" in low[1:12] + low[machine.host_bits :] + high:
        return Answer(0xA)
    context = number(low[12:]) << 12
    low, high = machine.bits(context + 16 * devfn), machine.bits(context + 16 * devfn + 8)
    if low is None or high is None:
        return Answer(9)
    if low[0] == "0":
        return Answer(2)
    if "1" in low[4:12] + low[machine.host_bits :] + high[7] + high[24:]:
        return Answer(0xB)
    depth = 2 + number(high[0:3])
    kind = number(low[2:4])
    if depth not in machine.depths or kind == 3 or (kind == 1 and not machine.device_tlb):
        return Answer(3)
    domain = number(high[8:24])
    if kind == 2:
        return Answer(0, iova, 4096, domain)
    if iova >= 2 ** min(12 + 9 * depth, machine.guest_bits):
        return Answer(4)
    return _second_level(machine, number(low[12:]) << 12, depth=depth, iova=iova, write=write, domain=domain)


def _second_level(machine: Machine, top: int, *, depth: int, iova: int, write: bool, domain: int) -> Answer:
    table = top
    for level in range(depth, 0, -1):
        index = iova // 2 ** (12 + 9 * (level - 1)) % 512
        entry = machine.bits(table + 8 * index)
        if entry is None:
            return Answer(3 if level == depth else 7)
        if entry[1 if write else 0] == "0":
            return Answer(5 if write else 6)
        leaf = level == 1 or (entry[7] == "1" and level in (2, 3))
        size = 4096 * 512 ** (level - 1)
        must_be_zero = entry[machine.host_bits : 52]
        if leaf:
            must_be_zero += entry[12 : 12 + 9 * (level - 1)]
            must_be_zero += "" if machine.snoop else entry[11]
            must_be_zero += "" if machine.device_tlb else entry[62]
        else:
            must_be_zero += entry[11] + entry[62] + (entry[7] if level > 3 else "")
        if "1" in must_be_zero:
            return Answer(0xC)
        table = number(entry[12:52]) * 4096
        if leaf:
            if table < 0xFEF0_0000 and table + size > 0xFEE0_0000:
                return Answer(0xE)
            return Answer(0, table + iova % size, size, domain)
    raise AssertionError("a walk ends at level 1")
