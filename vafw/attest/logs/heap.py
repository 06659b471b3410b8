"""Finding the event log in the bytes of a TXT heap, as a dump of it holds them.

Intel TXT Software Development Guide, "TXT Heap Memory", "OsSinitData Table" and "HEAP_EVENT_LOG_POINTER_ELEMENT2_1";
little-endian. The pointer is a physical address; a dump rarely says where it was taken from, so the base is looked for
where it is not given: the one place that makes the pointer lead to a log.
"""

from __future__ import annotations

from typing import Final

from vafw.wire import FormatError, Reader

STRUCTURE: Final = "TXT heap"
_TABLES: Final = ("BIOS data", "OS-MLE data", "OS-SINIT data", "SINIT-MLE data")
_OS_SINIT: Final = 2
_ELEMENTS_AT: Final = {5: 84 + 8, 6: 84 + 8, 7: 84 + 8}
"""Where extended data elements begin, by version of the OS-SINIT data."""
_LOG_POINTER_2_1: Final = 8
_END: Final = 0
_LOG_START: Final = bytes((0, 0, 0, 0, 3, 0, 0, 0)) + bytes(20)
_SIGNATURE_AT: Final = 32
_SIGNATURE: Final = b"Spec ID Event03\0"


def looks_like_heap(data: bytes) -> bool:
    """Whether the four tables fit into the bytes, and the third is an OS-SINIT data table."""
    try:
        _os_sinit(data)
    except FormatError:
        return False
    return True


def log_of_heap(data: bytes, base: int | None = None) -> bytes:
    """The event log; `base` is the physical address of the dump's first byte. FormatError says what cannot be found."""
    address, size, first, following = _pointer(_os_sinit(data))
    if not first < following <= size:
        raise FormatError(STRUCTURE, f"the log must lie within its {size} bytes, not from {first} to {following}")
    starts = [address - base] if base is not None else _starts(data, first)
    fitting = [start for start in starts if 0 <= start and start + following <= len(data)]
    if len(fitting) != 1:
        raise FormatError(
            STRUCTURE,
            f"the log at {address:#x} must lie in one place of the dump, not in {len(fitting)}: give its base",
        )
    return data[fitting[0] + first : fitting[0] + following]


def _os_sinit(data: bytes) -> bytes:
    reader = Reader(data, STRUCTURE, "little")
    tables = []
    for name in _TABLES[: _OS_SINIT + 1]:
        start, size = reader.offset, reader.u64(f"the size of the {name}")
        if size < 8:
            raise reader.error(f"the size of the {name} must be at least 8, not {size}", at=start)
        tables.append(reader.take(size - 8, f"the {name}"))
    version = int.from_bytes(tables[_OS_SINIT][:4], "little")
    if version not in _ELEMENTS_AT:
        raise FormatError(STRUCTURE, f"the OS-SINIT data must have version 5, 6 or 7, not {version}")
    return tables[_OS_SINIT]


def _pointer(os_sinit: bytes) -> tuple[int, int, int, int]:
    """Address, size, first and next offset of the log, out of its element."""
    version = int.from_bytes(os_sinit[:4], "little")
    reader = Reader(os_sinit, "OS-SINIT data", "little", _ELEMENTS_AT[version])
    while reader.remaining:
        start, kind, size = reader.offset, reader.u32("the type of an element"), reader.u32("the size of an element")
        if kind == _END:
            break
        if size < 8:
            raise reader.error(f"the size of an element must be at least 8, not {size}", at=start + 4)
        element = Reader(reader.take(size - 8, "an element"), "OS-SINIT data", "little")
        if kind == _LOG_POINTER_2_1:
            address, allocated = element.u64("the address of the log"), element.u32("its size")
            return address, allocated, element.u32("its first event"), element.u32("its next event")
    raise FormatError(STRUCTURE, "no element of the OS-SINIT data points to a log of version 2.1")


def _starts(data: bytes, first: int) -> list[int]:
    """Every place where a log begins."""
    found, at = [], data.find(_SIGNATURE)
    while at >= 0:
        start = at - _SIGNATURE_AT
        if start >= first and data[start : start + len(_LOG_START)] == _LOG_START:
            found.append(start - first)
        at = data.find(_SIGNATURE, at + 1)
    return found
