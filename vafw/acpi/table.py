"""The 36 bytes that every ACPI table opens with, and the checksum over the whole table.

ACPI Specification 6.5, "System Description Table Header". What follows the header is the table's own affair.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import final

from vafw.wire import FormatError, Reader

HEADER_SIZE = 36
_HEADER = struct.Struct("<4sIBB6s8sI4sI")
_CHECKSUM_AT = 9


@final
@dataclass(frozen=True, slots=True)
class TableHeader:
    """Who made a table, and which revision of its layout it has; signature, length and checksum are worked out."""

    revision: int
    oem_id: str = "VAFW"
    oem_table_id: str = "VAFWPC"
    oem_revision: int = 1
    creator_id: str = "VAFW"
    creator_revision: int = 1


def encode_table(signature: str, header: TableHeader, body: bytes) -> bytes:
    """The table: header, body, and the checksum that makes all bytes add up to zero."""
    table = bytearray(
        _HEADER.pack(
            signature.encode("latin-1"),
            HEADER_SIZE + len(body),
            header.revision,
            0,
            header.oem_id.encode("latin-1"),
            header.oem_table_id.encode("latin-1"),
            header.oem_revision,
            header.creator_id.encode("latin-1"),
            header.creator_revision,
        )
        + body
    )
    table[_CHECKSUM_AT] = -sum(table) & 0xFF
    return bytes(table)


def decode_table(signature: str, data: bytes) -> tuple[TableHeader, bytes]:
    """Header and body of a table that must be `signature`; FormatError names the field and the byte at fault."""
    reader = Reader(data, signature, "little")
    found = _text(reader, 4, "the signature")
    if found != signature:
        raise reader.error(f"the signature must be {signature!r}, not {found!r}", at=0)
    length = reader.u32("the length")
    if not HEADER_SIZE <= length <= len(data):
        raise reader.error(f"the length must be {HEADER_SIZE} to {len(data)} (the bytes there are), not {length}", at=4)
    if length < len(data):
        raise FormatError(signature, f"nothing may follow the table, and {len(data) - length} B do", length)
    revision = reader.u8("the revision")
    reader.u8("the checksum")
    if total := sum(data) & 0xFF:
        raise reader.error(f"all bytes must add up to 0 modulo 256, not to {total}", at=_CHECKSUM_AT)
    header = TableHeader(
        revision,
        _text(reader, 6, "the OEM id"),
        _text(reader, 8, "the OEM table id"),
        reader.u32("the OEM revision"),
        _text(reader, 4, "the creator id"),
        reader.u32("the creator revision"),
    )
    return header, data[HEADER_SIZE:]


def _text(reader: Reader, length: int, field: str) -> str:
    """Fixed-length text; Latin-1, so that any byte encodes again as it was."""
    return reader.take(length, field).rstrip(b"\0").decode("latin-1")
