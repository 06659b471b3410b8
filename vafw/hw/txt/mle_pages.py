"""The page table that an MLE is described by: how a loader writes it, and how SINIT walks it.

TXT SDG, "MLE Page Tables". SINIT never takes a size on trust: it walks a page table in PAE form (pointers, directory,
tables; 4 KiB pages only) from the address in the OS-SINIT data, and hashes what the pages hold. Pages must rise in
physical address, so that no page can be measured twice or seen under two addresses.
"""

from __future__ import annotations

import struct

from vafw.address import PAGE_SIZE, Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.txt.mle import MleFormatError

_PRESENT = 1
_ENTRIES = 512
_ADDRESS = 0x000F_FFFF_FFFF_F000


def page_table_size(pages: int) -> int:
    """Bytes that `build_page_table` writes for that many pages."""
    directories = -(-pages // (_ENTRIES * _ENTRIES))
    tables = -(-pages // _ENTRIES)
    return (1 + directories + tables) * PAGE_SIZE


def build_page_table(memory: PhysicalMemory, at: Hpa, image_at: Hpa, image_size: int) -> None:
    """Write the page table of an image that lies in one piece, both at multiples of 4 KiB."""
    pages = -(-image_size // PAGE_SIZE)
    tables = -(-pages // _ENTRIES)
    directories = -(-tables // _ENTRIES)
    directory_at = at + PAGE_SIZE
    table_at = directory_at + directories * PAGE_SIZE
    memory.clear(at, page_table_size(pages))
    for number, target in enumerate(range(directory_at, table_at, PAGE_SIZE)):
        memory.write_u64(Hpa(at + number * 8), target | _PRESENT)
    for number in range(tables):
        memory.write_u64(Hpa(directory_at + number * 8), table_at + number * PAGE_SIZE | _PRESENT)
    for number in range(pages):
        memory.write_u64(Hpa(table_at + number * 8), image_at + number * PAGE_SIZE | _PRESENT)


def walk_page_table(memory: PhysicalMemory, at: Hpa) -> tuple[Hpa, ...]:
    """Every page from linear address 0 up to the first entry that is not present, in linear order.

    MleFormatError where a page does not lie above the one before it, or an entry leads outside RAM.
    """
    pages: list[Hpa] = []
    for directory in _entries(memory, at, 4):
        for table in _entries(memory, directory, _ENTRIES):
            for page in _entries(memory, table, _ENTRIES):
                if pages and page <= pages[-1]:
                    raise MleFormatError(
                        f"MLE pages must rise in physical address, not go from {pages[-1]:#x} to {page:#x}"
                    )
                pages.append(page)
    if not pages:
        raise MleFormatError(f"the MLE page table at {at:#x} must map at least one page")
    return tuple(pages)


def _entries(memory: PhysicalMemory, at: Hpa, count: int) -> tuple[Hpa, ...]:
    if not memory.is_ram(at, count * 8):
        raise MleFormatError(f"an MLE page table must lie in RAM, not at {at:#x}")
    found = []
    for (entry,) in struct.iter_unpack("<Q", memory.read(at, count * 8)):
        if not entry & _PRESENT:
            break
        address = entry & _ADDRESS
        if not memory.is_ram(address, PAGE_SIZE):
            raise MleFormatError(f"an MLE page table's entry must lead to RAM, not to {address:#x}")
        found.append(Hpa(address))
    return tuple(found)


def read_linear(memory: PhysicalMemory, pages: tuple[Hpa, ...], start: int, end: int) -> bytes:
    """The bytes from linear address `start` up to `end`; MleFormatError where pages are missing."""
    if not 0 <= start <= end <= len(pages) * PAGE_SIZE:
        raise MleFormatError(f"the MLE's {start:#x}-{end:#x} must lie in the {len(pages)} pages of its page table")
    first, last = start // PAGE_SIZE, -(-end // PAGE_SIZE)
    whole = b"".join(memory.read(page, PAGE_SIZE) for page in pages[first:last])
    return whole[start - first * PAGE_SIZE : end - first * PAGE_SIZE]
