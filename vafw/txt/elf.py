"""The image that a 32-bit executable becomes in memory: what a multiboot loader puts there, and SINIT measures.

System V ABI, Intel386 supplement, "Program Header". Not a loader of programs: no relocation, no sections.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from vafw.wire import FormatError

_STRUCTURE: Final = "executable"
_MAGIC: Final = b"\x7fELF\1\1"
_HEADER_SIZE: Final = 52
_SEGMENT: Final = struct.Struct("<6I")
_LOAD: Final = 1
_GZIP: Final = b"\x1f\x8b"
_MOST_BYTES: Final = 64 << 20
"""A launched image is a few hundred kilobytes; what unpacks to more is none."""


def unpacked(data: bytes) -> bytes:
    """The file's bytes, out of gzip where they are in it; FormatError for a damaged or overlong one."""
    if not data.startswith(_GZIP):
        return data
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        found = stream.decompress(data, _MOST_BYTES)
    except zlib.error as error:
        raise FormatError("gzip", f"the file must be a whole one: {error}") from error
    if len(found) == _MOST_BYTES:
        raise FormatError("gzip", f"an image must have less than {_MOST_BYTES} bytes")
    if not stream.eof:
        raise FormatError("gzip", "the file must be a whole one: it ends too early")
    return found


def loaded_image(data: bytes) -> bytes:
    """The PT_LOAD segments as they lie in memory, from the lowest address on; FormatError says what must hold."""
    if not data.startswith(_MAGIC) or len(data) < _HEADER_SIZE:
        raise FormatError(_STRUCTURE, "it must be a 32-bit little-endian ELF file", 0)
    (table,), (size, count) = struct.unpack_from("<I", data, 28), struct.unpack_from("<HH", data, 42)
    if size < _SEGMENT.size or table + size * count > len(data):
        raise FormatError(_STRUCTURE, f"{count} program headers of {size} bytes must lie in the file", 28)
    segments = []
    for at in range(table, table + size * count, size):
        kind, offset, _, address, in_file, in_memory = _SEGMENT.unpack_from(data, at)
        if kind == _LOAD:
            if offset + in_file > len(data) or in_file > in_memory:
                raise FormatError(_STRUCTURE, "a segment must lie in the file and fit its place in memory", at)
            segments.append((offset, address, in_file, in_memory))
    if not segments:
        raise FormatError(_STRUCTURE, "it must have a segment to load")
    base = min(address for _, address, _, _ in segments)
    end = max(address + in_memory for _, address, _, in_memory in segments)
    if end - base > _MOST_BYTES:
        raise FormatError(_STRUCTURE, f"its segments must lie within {_MOST_BYTES} bytes")
    memory = bytearray(end - base)
    for offset, address, in_file, _ in segments:
        memory[address - base : address - base + in_file] = data[offset : offset + in_file]
    return bytes(memory)
