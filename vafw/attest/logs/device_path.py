"""Device paths in their text form: how firmware says where something was loaded from.

UEFI specification, "Device Path Protocol" and "Device Path Node"; little-endian. A node of a type that is not known
keeps its bytes: a path is never shortened.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

from vafw.wire import Reader

STRUCTURE: Final = "device path"
_HEAD_BYTES: Final = 4
_END, _END_ENTIRE, _END_INSTANCE = 0x7F, 0xFF, 0x01
_PNP: Final = 0x41D0
_PCI_ROOTS: Final = (0x0A03, 0x0A08)


def read_device_path(data: bytes) -> str:
    """All of `data` as one device path, nodes joined by slashes; FormatError names the byte that is wrong."""
    reader = Reader(data, STRUCTURE, "little")
    parts, instances = [], []
    while True:
        start = reader.offset
        kind, subtype = reader.u8("the type of a node"), reader.u8("the subtype of a node")
        size = reader.u16("the size of a node")
        if size < _HEAD_BYTES:
            raise reader.error(f"the size of a node must be at least {_HEAD_BYTES}, not {size}", at=start + 2)
        content = Reader(reader.take(size - _HEAD_BYTES, "a node"), STRUCTURE, "little")
        if kind != _END:
            parts.append(_node(kind, subtype, content))
            continue
        instances.append("/".join(parts))
        parts = []
        if subtype == _END_ENTIRE:
            reader.finish()
            return ", ".join(instances)
        if subtype != _END_INSTANCE:
            raise reader.error(f"the end of a path must have subtype 0xff or 0x1, not {subtype:#x}", at=start + 1)


def _node(kind: int, subtype: int, content: Reader) -> str:
    whole = content.remaining
    decode = _NODES.get((kind, subtype))
    if decode is None:
        return f"Path({kind},{subtype},{content.take(whole, 'a node').hex()})"
    return decode(content)


def _pci(node: Reader) -> str:
    function, device = node.u8("the function"), node.u8("the device")
    return f"Pci({device:#x},{function:#x})"


def _memory_mapped(node: Reader) -> str:
    kind, start, end = node.u32("the type of memory"), node.u64("the start"), node.u64("the end")
    return f"MemoryMapped({kind:#x},{start:#x},{end:#x})"


def _acpi(node: Reader) -> str:
    hid, uid = node.u32("the hardware id"), node.u32("the unique id")
    if hid & 0xFFFF == _PNP and hid >> 16 in _PCI_ROOTS:
        return f"PciRoot({uid:#x})" if hid >> 16 == _PCI_ROOTS[0] else f"PcieRoot({uid:#x})"
    vendor = f"PNP{hid >> 16:04X}" if hid & 0xFFFF == _PNP else f"{hid:#010x}"
    return f"Acpi({vendor},{uid:#x})"


def _sata(node: Reader) -> str:
    port, multiplier, lun = node.u16("the port"), node.u16("the multiplier port"), node.u16("the unit")
    return f"Sata({port:#x},{multiplier:#x},{lun:#x})"


def _scsi(node: Reader) -> str:
    target, lun = node.u16("the target"), node.u16("the unit")
    return f"Scsi({target:#x},{lun:#x})"


def _usb(node: Reader) -> str:
    port, interface = node.u8("the port"), node.u8("the interface")
    return f"USB({port:#x},{interface:#x})"


def _nvme(node: Reader) -> str:
    namespace, identifier = node.u32("the namespace"), node.take(8, "the identifier")
    return f"NVMe({namespace:#x},{'-'.join(f'{byte:02X}' for byte in identifier)})"


def _mac(node: Reader) -> str:
    address, kind = node.take(32, "the address"), node.u8("the type of interface")
    return f"MAC({address[:6].hex()},{kind:#x})"


def _uri(node: Reader) -> str:
    return f"Uri({_text(node.take(node.remaining, 'the address'), 'ascii')})"


def _hard_drive(node: Reader) -> str:
    number, start, size = node.u32("the partition"), node.u64("its start"), node.u64("its size")
    signature, form = node.take(16, "its signature"), node.u8("the form of the table")
    kind = node.u8("the form of the signature")
    if kind == 2:
        return f"HD({number},GPT,{uuid.UUID(bytes_le=signature)},{start:#x},{size:#x})"
    table = "MBR" if form == 1 else f"{form:#x}"
    return f"HD({number},{table},{signature[:4][::-1].hex()},{start:#x},{size:#x})"


def _file(node: Reader) -> str:
    return _text(node.take(node.remaining, "the path of a file"), "utf-16-le")


def _range(node: Reader) -> str:
    node.take(4, "reserved bytes")
    return f"Offset({node.u64('the start'):#x},{node.u64('the end'):#x})"


def _guid(name: str) -> Callable[[Reader], str]:
    def decode(node: Reader) -> str:
        guid = uuid.UUID(bytes_le=node.take(16, "the GUID"))
        rest = node.take(node.remaining, "the vendor's data").hex()
        return f"{name}({guid}{',' if rest else ''}{rest})"

    return decode


def _text(data: bytes, encoding: str) -> str:
    """Text without its closing NUL, with whatever does not print escaped."""
    text = data.decode(encoding, "backslashreplace").rstrip("\0")
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


_NODES: Final[dict[tuple[int, int], Callable[[Reader], str]]] = {
    (1, 1): _pci,
    (1, 3): _memory_mapped,
    (1, 4): _guid("VenHw"),
    (2, 1): _acpi,
    (3, 2): _scsi,
    (3, 5): _usb,
    (3, 10): _guid("VenMsg"),
    (3, 11): _mac,
    (3, 18): _sata,
    (3, 23): _nvme,
    (3, 24): _uri,
    (4, 1): _hard_drive,
    (4, 3): _guid("VenMedia"),
    (4, 4): _file,
    (4, 6): _guid("FvFile"),
    (4, 7): _guid("Fv"),
    (4, 8): _range,
}
"""Decoders by type and subtype; each reads what the specification gives the node."""
