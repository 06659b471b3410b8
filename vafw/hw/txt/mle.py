"""The measured launched environment (MLE): its header, the page table it is described by, and its hash.

TXT SDG, "MLE Header Format" and "MLE Page Tables". SINIT never takes a size on trust: it walks a page table
in PAE form (pointers, directory, tables; 4 KiB pages only) from the address in the OS-SINIT data, and
hashes what the pages hold. Pages must rise in physical address, so that no page can be measured twice or
seen under two addresses.

    image    0 ── mle_start ═══ header ═══ measured ═══ mle_end ── rest of the last page: not measured
    linear         0                                   mle_size
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from vafw.address import PAGE_SIZE, Hpa
from vafw.errors import VafwError
from vafw.hw.memory import PhysicalMemory

MLE_UUID: Final = bytes.fromhex("5aac82906f47a7740f5c55a2cb51b642")
MLE_VERSION: Final = 0x20001
HEADER_SIZE: Final = 0x34

CAP_WAKE_GETSEC: Final = 1 << 0
CAP_WAKE_MONITOR: Final = 1 << 1
CAP_ECX_PAGE_TABLE: Final = 1 << 2
CAP_DA_PCR_MAP: Final = 1 << 5
CAP_TCG_EVENT_LOG: Final = 1 << 9

_HEADER = struct.Struct("<16s9I")
_PRESENT = 1
_ENTRIES = 512
_ADDRESS = 0x000F_FFFF_FFFF_F000


class MleFormatError(VafwError):
    """An MLE, or its page table, that SINIT cannot take; the message says what must hold."""


@dataclass(frozen=True, slots=True)
class MleHeader:
    """What an MLE says of itself."""

    entry: int
    """Linear address of the entry point, counted from `start`."""
    first_page: int
    """Linear address of the first valid page."""
    start: int
    """First measured byte, as an offset in the image."""
    end: int
    """First byte after the measured ones, as an offset in the image."""
    capabilities: int
    cmdline_start: int = 0
    """First byte of the command line's place, counted from the start of the image."""
    cmdline_end: int = 0
    """Last byte of it; 0 where there is none."""
    version: int = MLE_VERSION

    @property
    def size(self) -> int:
        """Bytes that are measured."""
        return self.end - self.start

    def encode(self) -> bytes:
        """The header's 52 bytes."""
        return _HEADER.pack(
            MLE_UUID, HEADER_SIZE, self.version, self.entry, self.first_page, self.start, self.end,
            self.capabilities, self.cmdline_start, self.cmdline_end,
        )  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> MleHeader:
        """Read the first 52 bytes; MleFormatError says what must hold."""
        if len(data) < HEADER_SIZE:
            raise MleFormatError(f"an MLE header must have {HEADER_SIZE} bytes, not {len(data)}")
        uuid, length, version, entry, first_page, start, end, caps, cmd_start, cmd_end = _HEADER.unpack_from(data)
        if uuid != MLE_UUID:
            raise MleFormatError(f"an MLE header must begin with its UUID, not {uuid.hex()}")
        if length < HEADER_SIZE:
            raise MleFormatError(f"the MLE header's length must be at least {HEADER_SIZE:#x}, not {length:#x}")
        if not start < end:
            raise MleFormatError(f"mle_start must lie below mle_end, not {start:#x} and {end:#x}")
        if not entry < end - start:
            raise MleFormatError(f"the MLE's entry point must lie in its {end - start:#x} bytes, not at {entry:#x}")
        return cls(entry, first_page, start, end, caps, cmd_start, cmd_end, version)


def with_command_line(image: bytes, header: MleHeader, command_line: str) -> bytes:
    """The image as the loader completes it: the command line's place zeroed, then the string copied in."""
    if not header.cmdline_end:
        return image
    place = header.cmdline_end - header.cmdline_start + 1
    text = command_line.encode()
    if len(text) >= place:
        raise MleFormatError(f"the command line must be shorter than {place} bytes, not {len(text)}")
    filled = bytearray(image)
    filled[header.cmdline_start : header.cmdline_end + 1] = text.ljust(place, b"\0")
    return bytes(filled)


def mle_hash(image: bytes, *, header_at: int = 0, command_line: str = "", algorithm: str = "sha256") -> bytes:
    """The MLE hash of an image laid out as in memory: what SINIT will find, and what a policy accepts."""
    header = MleHeader.decode(image[header_at : header_at + HEADER_SIZE])
    if header.end > len(image):
        raise MleFormatError(f"mle_end must lie in the {len(image):#x} bytes of the image, not at {header.end:#x}")
    complete = with_command_line(image, header, command_line)
    return hashlib.new(algorithm, complete[header.start : header.end]).digest()


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
