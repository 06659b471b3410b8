"""The measured launched environment (MLE): its header, and its hash.

TXT SDG, "MLE Header Format". Not the page table that SINIT finds it by (`vafw.hw.txt.mle_pages`). The hash is that of
the image as the loader leaves it in memory, with the command line in its place.

    image    0 ── mle_start ═══ header ═══ measured ═══ mle_end ── rest of the last page: not measured
    linear         0                                   mle_size
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from vafw.errors import VafwError

MLE_UUID: Final = bytes.fromhex("5aac82906f47a7740f5c55a2cb51b642")
MLE_VERSION: Final = 0x20001
HEADER_SIZE: Final = 0x34

CAP_WAKE_GETSEC: Final = 1 << 0
CAP_WAKE_MONITOR: Final = 1 << 1
CAP_ECX_PAGE_TABLE: Final = 1 << 2
CAP_DA_PCR_MAP: Final = 1 << 5
CAP_TCG_EVENT_LOG: Final = 1 << 9

_HEADER = struct.Struct("<16s9I")


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
