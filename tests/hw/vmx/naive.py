"""A second EPT walker, and one for a guest's own tables, written from the manual's prose and as slow as they like.

They share no code and no constant with the model's: they recurse or keep whole paths where the model's loop and AND as
they go, and read bytes or bits where those read words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vafw.address import Hpa
from vafw.hw.memory.physical import PhysicalMemory

PHYSICAL_BITS = 39


@dataclass(frozen=True)
class Verdict:
    """``translation``, ``violation`` or ``misconfiguration``, and what goes with it."""

    kind: str
    hpa: int = 0
    size: int = 0
    rights: str = ""
    qualification: int = 0
    level: int = 0


def naive_walk(memory: PhysicalMemory, eptp: int, gpa: int, access: str) -> Verdict:
    """`access` is ``r``, ``w`` or ``x``. Sets no flags."""
    index = [gpa // 2**39 % 512, gpa // 2**30 % 512, gpa // 2**21 % 512, gpa // 2**12 % 512]
    code = {"r": 1, "w": 2, "x": 4}[access]
    return _descend(memory, eptp // 4096 * 4096 % 2**52, index, _Wanted(gpa, access, code), ["rwx"])


@dataclass(frozen=True)
class _Wanted:
    gpa: int
    letter: str
    code: int


def _descend(memory: PhysicalMemory, table: int, index: list[int], wanted: _Wanted, path: list[str]) -> Verdict:
    level = len(index)
    place = table + 8 * index[0]
    if place + 8 > memory.size:
        return Verdict("misconfiguration", level=level)
    bits = f"{int.from_bytes(memory.read(Hpa(place), 8), 'little'):064b}"[::-1]
    granted = "".join(name for name, bit in zip("rwx", bits, strict=False) if bit == "1")
    if not granted:
        return Verdict("violation", qualification=0x180 + wanted.code)
    maps = level == 1 or (level in (2, 3) and bits[7] == "1")
    if "w" in granted and "r" not in granted:
        return Verdict("misconfiguration", level=level)
    if "1" in bits[PHYSICAL_BITS:52]:
        return Verdict("misconfiguration", level=level)
    if not maps:
        if "1" in bits[3:7] or (level == 4 and bits[7] == "1"):
            return Verdict("misconfiguration", level=level)
        below = int(bits[12:52][::-1], 2) * 4096
        return _descend(memory, below, index[1:], wanted, [*path, granted])
    if bits[3:6][::-1] in ("010", "011", "111") or "1" in bits[12 : 12 + 9 * (level - 1)]:
        return Verdict("misconfiguration", level=level)
    common = "".join(each for each in "rwx" if all(each in one for one in [*path, granted]))
    if wanted.letter not in common:
        allowed = sum({"r": 8, "w": 16, "x": 32}[each] for each in common)
        return Verdict("violation", qualification=0x180 + wanted.code + allowed)
    size = 4096 * 512 ** (level - 1)
    return Verdict("translation", int(bits[12:52][::-1], 2) * 4096 + wanted.gpa % size, size, common)


def naive_paging(read: Callable[[int], int], cr3: int, linear: int, access: str, *, user: bool) -> tuple[int, int]:
    """A guest's own four levels, with EFER.NXE and CR0.WP set: (address, -1), or (-1, error code of the #PF).

    `read` gives the entry at a guest-physical address.
    """
    code = (2 if access == "w" else 0) + (4 if user else 0) + (16 if access == "x" else 0)
    table, path = cr3 // 4096 * 4096, list[str]()
    for level in (4, 3, 2, 1):
        bits = f"{read(table + 8 * (linear // 512 ** (level - 1) // 4096 % 512)):064b}"[::-1]
        if bits[0] == "0":
            return -1, code
        path.append(bits)
        maps = level == 1 or (level < 4 and bits[7] == "1")
        below = 9 * (level - 1)
        if "1" in bits[PHYSICAL_BITS:52] or (level == 4 and bits[7] == "1") or (maps and "1" in bits[13 : 12 + below]):
            return -1, code + 9
        table = int(bits[12:52][::-1], 2) * 4096
        if maps:
            break
    writable, open_to_users = all(each[1] == "1" for each in path), all(each[2] == "1" for each in path)
    executable = all(each[63] == "0" for each in path)
    if (access == "w" and not writable) or (access == "x" and not executable) or (user and not open_to_users):
        return -1, code + 1
    size = 4096 * 512 ** (level - 1)
    return table // size * size + linear % size, -1
