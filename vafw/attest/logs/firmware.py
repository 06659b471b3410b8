"""What the data of each event of the firmware profile says.

TCG PC Client Platform Firmware Profile, "Event Types" and the structures that it names; little-endian. A decoder raises
FormatError where the data is not what an event of its type holds; `vafw.attest.logs.describe` makes a lie of that.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

from vafw.attest.logs.device_path import read_device_path
from vafw.attest.logs.guid import named, read_guid
from vafw.attest.logs.model import Description
from vafw.attest.logs.variable import Variable, authority, printable
from vafw.tcg.events import EventType
from vafw.trace import Value
from vafw.wire import FormatError, Reader

Decoder = Callable[[bytes], Description]

_SEPARATORS: Final = {0: "no error", 0xFFFFFFFF: "no error (all ones)", 1: "an error happened before it"}
_PARTITION_BYTES: Final = 128
_MOST_PARTITIONS: Final = 1024
_MOST_TABLES: Final = 1024


def text(data: bytes) -> Description:
    """ASCII or UTF-8, a closing NUL or none."""
    return Description(printable(data.rstrip(b"\0").decode("utf-8", "backslashreplace")))


def version(data: bytes) -> Description:
    """A version in UTF-16, in ASCII, or as a GUID."""
    if len(data) == 16 and any(each > 0x7E for each in data):
        return Description(str(uuid.UUID(bytes_le=data)))
    if len(data) >= 2 and len(data) % 2 == 0 and (data[1] == 0 or not data.strip(b"\0")):
        return Description(printable(data.decode("utf-16-le", "backslashreplace").rstrip("\0")) or "(empty)")
    return text(data)


def separator(data: bytes) -> Description:
    """Four bytes between what the firmware measured and what came after."""
    value = int.from_bytes(data, "little")
    if len(data) != 4 or value not in _SEPARATORS:
        raise FormatError("EV_SEPARATOR", f"the data must be 4 bytes of 0, 1 or all ones, not {data[:16].hex()}")
    return Description(_SEPARATORS[value])


def no_action(data: bytes) -> Description:
    """What is told and not measured."""
    if data[:-1] == b"StartupLocality\0":
        return Description(f"TPM2_Startup came from locality {data[-1]}", {"locality": data[-1]})
    if data.startswith(b"SP800-155 Event"):
        return Description("points to reference values of the maker (SP 800-155)", {"data": data[16:].hex()})
    return Description(
        f"{len(data)} bytes: {printable(data[:16].rstrip(bytes(1)).decode('ascii', 'backslashreplace'))}"
    )


def variable(data: bytes) -> Description:
    """A UEFI variable."""
    found = Variable.decode(data)
    return Description(found.summary(), found.fields())


def variable_authority(data: bytes) -> Description:
    """The entry of a signature database that let an image run."""
    found = Variable.decode(data)
    if len(found.content) < 16:
        raise FormatError("EFI_SIGNATURE_DATA", f"it must have at least 16 bytes, not {len(found.content)}")
    fields = authority(found.content)
    return Description(f"{found.name}: {fields['says']}", {"name": found.name, "guid": found.guid, **fields})


def image(data: bytes) -> Description:
    """An application or driver that the firmware loaded (UEFI_IMAGE_LOAD_EVENT)."""
    reader = Reader(data, "UEFI_IMAGE_LOAD_EVENT", "little")
    location, size, link_time = (reader.u64(what) for what in ("the location", "the length", "the link time address"))
    start, length = reader.offset, reader.u64("the length of the device path")
    if length != reader.remaining:
        raise reader.error(
            f"the device path must fill the {reader.remaining} bytes that are left, not {length}", at=start
        )
    path = read_device_path(reader.take(length, "the device path")) if length else ""
    fields: dict[str, Value] = {"path": path, "location": location, "bytes": size, "link-time-address": link_time}
    return Description(path or f"{size} bytes at {location:#x}", fields)


def blob(data: bytes) -> Description:
    """A part of the firmware by its place (EFI_PLATFORM_FIRMWARE_BLOB)."""
    reader = Reader(data, "EFI_PLATFORM_FIRMWARE_BLOB", "little")
    return _placed("", reader)


def named_blob(data: bytes) -> Description:
    """The same with a description (EFI_PLATFORM_FIRMWARE_BLOB2)."""
    reader = Reader(data, "UEFI_PLATFORM_FIRMWARE_BLOB2", "little")
    name = reader.take(reader.u8("the length of the description"), "the description")
    return _placed(text(name).summary + ", ", reader)


def _placed(name: str, reader: Reader) -> Description:
    base, size = reader.u64("the base"), reader.u64("the length")
    reader.finish()
    return Description(f"{name}{size} bytes at {base:#x}", {"base": base, "bytes": size})


def tables(data: bytes) -> Description:
    """Tables that the firmware hands over (UEFI_HANDOFF_TABLE_POINTERS)."""
    return _tables(Reader(data, "UEFI_HANDOFF_TABLE_POINTERS", "little"), "")


def named_tables(data: bytes) -> Description:
    """The same with a description (UEFI_HANDOFF_TABLE_POINTERS2)."""
    reader = Reader(data, "UEFI_HANDOFF_TABLE_POINTERS2", "little")
    name = reader.take(reader.u8("the length of the description"), "the description")
    return _tables(reader, text(name).summary + ": ")


def _tables(reader: Reader, name: str) -> Description:
    start, count = reader.offset, reader.u64("the number of tables")
    if count > _MOST_TABLES:
        raise reader.error(f"there must be at most {_MOST_TABLES} tables, not {count}", at=start)
    found = [(read_guid(reader, "a GUID"), reader.u64("an address")) for _ in range(count)]
    reader.finish()
    return Description(name + ", ".join(named(guid) for guid, _ in found), {"tables": dict(found)})


def partitions(data: bytes) -> Description:
    """The partition table that was booted from (UEFI_GPT_DATA)."""
    reader = Reader(data, "UEFI_GPT_DATA", "little")
    if (signature := reader.take(8, "the signature")) != b"EFI PART":
        raise reader.error(f"the signature must be 'EFI PART', not {signature!r}", at=0)
    reader.take(48, "the header")
    disk = read_guid(reader, "the GUID of the disk")
    reader.take(20, "the rest of the header")
    start, count = reader.offset, reader.u64("the number of partitions")
    if count > _MOST_PARTITIONS or count * _PARTITION_BYTES != reader.remaining:
        raise reader.error(f"{count} partitions must fill the {reader.remaining} bytes that are left", at=start)
    found = [_partition(reader) for _ in range(count)]
    names = ", ".join(f"{each['type']} {each['name']}".strip() for each in found)
    return Description(f"disk {disk}: {names}", {"disk": disk, "partitions": list(found)})


def _partition(reader: Reader) -> dict[str, Value]:
    kind, guid = read_guid(reader, "the type of a partition"), read_guid(reader, "the GUID of a partition")
    first, last, attributes = (reader.u64(what) for what in ("the first block", "the last block", "the attributes"))
    name = printable(reader.take(72, "the name").decode("utf-16-le", "backslashreplace").rstrip("\0"))
    return {"type": named(kind), "guid": guid, "first": first, "last": last, "attributes": attributes, "name": name}


def tagged(data: bytes) -> Description:
    """What an operating system measured, under a number of its own (TCG_PCClientTaggedEvent)."""
    reader = Reader(data, "TCG_PCClientTaggedEvent", "little")
    number, start, size = reader.u32("the number"), reader.offset, reader.u32("the size")
    if size != reader.remaining:
        raise reader.error(f"the data must fill the {reader.remaining} bytes that are left, not {size}", at=start)
    told = text(reader.take(size, "the data"))
    return Description(told.summary, {"id": number})


def opaque(data: bytes) -> Description:
    """Bytes whose form nobody laid down."""
    plain = data.rstrip(b"\0")
    if plain and all(0x20 <= each < 0x7F for each in plain):
        return text(data)
    return Description(f"{len(data)} bytes{', ' if data else ''}{data[:16].hex()}{'…' if len(data) > 16 else ''}")


def bootloader(data: bytes) -> Description:
    """What a boot loader measured: a command line, or the name of a file; in ASCII or UTF-16."""
    if len(data) >= 4 and data[1] == 0 and data[3] == 0:
        return Description(printable(data.decode("utf-16-le", "backslashreplace").rstrip("\0")))
    return opaque(data)


def contents(data: bytes) -> Description:
    """A place in the firmware where it is one, otherwise a text such as ``ACPI DATA``."""
    return blob(data) if len(data) == 16 else opaque(data)


DECODERS: Final[dict[int, Decoder]] = {
    EventType.EV_NO_ACTION: no_action,
    EventType.EV_SEPARATOR: separator,
    EventType.EV_ACTION: text,
    EventType.EV_EFI_ACTION: text,
    EventType.EV_S_CRTM_VERSION: version,
    EventType.EV_EVENT_TAG: tagged,
    EventType.EV_IPL: bootloader,
    EventType.EV_OMIT_BOOT_DEVICE_EVENTS: text,
    EventType.EV_EFI_HCRTM_EVENT: text,
    EventType.EV_EFI_VARIABLE_DRIVER_CONFIG: variable,
    EventType.EV_EFI_VARIABLE_BOOT: variable,
    EventType.EV_EFI_VARIABLE_BOOT2: variable,
    EventType.EV_EFI_VARIABLE_AUTHORITY: variable_authority,
    EventType.EV_EFI_SPDM_DEVICE_POLICY: variable,
    EventType.EV_EFI_SPDM_DEVICE_AUTHORITY: variable,
    EventType.EV_EFI_BOOT_SERVICES_APPLICATION: image,
    EventType.EV_EFI_BOOT_SERVICES_DRIVER: image,
    EventType.EV_EFI_RUNTIME_SERVICES_DRIVER: image,
    EventType.EV_EFI_GPT_EVENT: partitions,
    EventType.EV_EFI_GPT_EVENT2: partitions,
    EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB: blob,
    EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2: named_blob,
    EventType.EV_POST_CODE2: named_blob,
    EventType.EV_POST_CODE: contents,
    EventType.EV_S_CRTM_CONTENTS: contents,
    EventType.EV_EFI_HANDOFF_TABLES: tables,
    EventType.EV_EFI_HANDOFF_TABLES2: named_tables,
}
"""By event type; every other type is opaque."""
