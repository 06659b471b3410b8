"""The VMM's image: what SINIT measures.

An MLE header, a place for the command line, and the archive of the VMM's source files. Pure: it is handed
the sources; `vafw.provider.model.measure` reads them. In the model the measured bytes are the sources of
the code that then runs in this very process, which Python imported earlier: the digest names the code, it
cannot bind it. (Appliances are bound: their programs are executed from the measured bytes, see
`vafw.provider.model.image`.)

    0 header ─ 0x40 command line ─ 0x240 archive ─ mle_end ─ zeros to the end of the page, not measured
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from vafw.address import PAGE_SIZE
from vafw.txt import mle
from vafw.vmm.archive import pack

COMMAND_LINE_START: Final = 0x40
COMMAND_LINE_END: Final = 0x23F
"""Last byte of the command line's place."""
ARCHIVE_START: Final = 0x240

CAPABILITIES: Final = (
    mle.CAP_WAKE_GETSEC | mle.CAP_WAKE_MONITOR | mle.CAP_ECX_PAGE_TABLE | mle.CAP_DA_PCR_MAP | mle.CAP_TCG_EVENT_LOG
)


def build_image(sources: Mapping[str, bytes], command_line: str = "") -> bytes:
    """The image of a VMM made of these source files, whole pages; the same arguments give the same bytes."""
    archive = pack(sources)
    header = mle.MleHeader(
        entry=ARCHIVE_START,
        first_page=0,
        start=0,
        end=ARCHIVE_START + len(archive),
        capabilities=CAPABILITIES,
        cmdline_start=COMMAND_LINE_START,
        cmdline_end=COMMAND_LINE_END,
    )
    image = header.encode().ljust(ARCHIVE_START, b"\0") + archive
    return mle.with_command_line(image + bytes(-len(image) % PAGE_SIZE), header, command_line)


def image_hash(image: bytes) -> bytes:
    """The MLE hash of an image as it lies in memory, SHA-256, 32 bytes."""
    header = mle.MleHeader.decode(image[: mle.HEADER_SIZE])
    return hashlib.sha256(image[header.start : header.end]).digest()


def measured_range(image: bytes) -> range:
    """Offsets of the bytes that the MLE hash covers."""
    header = mle.MleHeader.decode(image[: mle.HEADER_SIZE])
    return range(header.start, header.end)
