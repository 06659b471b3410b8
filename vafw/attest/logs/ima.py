"""IMA's binary list: which files the kernel measured, as ``binary_runtime_measurements`` gives it.

Linux, Documentation/security/IMA-templates.rst; little-endian on the machines that vafw knows. An entry is a PCR, the
SHA-1 of its template data, the template's name and the data. Other banks are extended with their own hash of the same
data, since Linux 5.8; before, with the SHA-1 and zeros behind it.

A violation (a file that was written while it was measured) stands with a digest of zeros and is extended as ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vafw.attest.logs.model import Description, Entry, LogKind, MeasuredLog
from vafw.attest.logs.variable import printable
from vafw.tcg.algorithms import DIGEST_SIZES, SHA1, SHA256, digest
from vafw.tcg.eventlog import Event
from vafw.trace import Value
from vafw.wire import FormatError, Reader

STRUCTURE: Final = "IMA list"
PCR: Final = 10
EVENT_TYPE: Final = 0x1A
"""Stands for an IMA entry where event types are spoken of; no log on a disk holds it."""
_TEMPLATES: Final = {
    "ima": ("d", "n"),
    "ima-ng": ("d-ng", "n-ng"),
    "ima-ngv2": ("d-ngv2", "n-ng"),
    "ima-sig": ("d-ng", "n-ng", "sig"),
    "ima-sigv2": ("d-ngv2", "n-ng", "sig"),
    "ima-buf": ("d-ng", "n-ng", "buf"),
    "ima-modsig": ("d-ng", "n-ng", "sig", "d-modsig", "modsig"),
    "evm-sig": ("d-ng", "n-ng", "evmsig", "xattrnames", "xattrlengths", "xattrvalues", "iuid", "igid", "imode"),
}
_MOST_NAME_BYTES: Final = 256
_MOST_DATA_BYTES: Final = 1 << 20
_OLD_NAME_BYTES: Final = 256


def read_ima(data: bytes, banks: Sequence[int] = (SHA1, SHA256)) -> MeasuredLog:
    """The whole list, for PCRs of `banks`; FormatError names the byte that is wrong."""
    reader = Reader(data, STRUCTURE, "little")
    entries: list[Entry] = []
    while reader.remaining:
        entries.append(_entry(reader, len(entries) + 1, banks))
    return MeasuredLog(LogKind.IMA, tuple(entries), tuple(banks))


def _entry(reader: Reader, position: int, banks: Sequence[int]) -> Entry:
    start, pcr = reader.offset, reader.u32("the PCR of an entry")
    if pcr > 23:
        raise reader.error(f"the PCR of an entry must be 0 to 23, not {pcr}", at=start)
    logged = reader.take(20, "the digest of an entry")
    start, size = reader.offset, reader.u32("the length of a template's name")
    if not 1 <= size <= _MOST_NAME_BYTES:
        raise reader.error(f"a template's name must have 1 to {_MOST_NAME_BYTES} bytes, not {size}", at=start)
    name = reader.take(size, "a template's name").decode("ascii", "backslashreplace")
    old = name == "ima"
    data = _old_data(reader) if old else _sized(reader, "the data of an entry", _MOST_DATA_BYTES)
    violation = logged == bytes(20)
    hashed = _padded(data) if old else data
    lies = () if violation or digest(SHA1, hashed) == logged else ("the digest is not that of the data",)
    values = {bank: b"\xff" * DIGEST_SIZES[bank] if violation else digest(bank, hashed) for bank in banks}
    description, problem = _description(name, data, violation=violation)
    return Entry(position, name, Event(pcr, EVENT_TYPE, values, data), description, (*lies, *problem))


def _old_data(reader: Reader) -> bytes:
    """A digest and a name whose length stands before it."""
    return reader.take(20, "the digest of a file") + _sized(reader, "the name of a file", _OLD_NAME_BYTES)


def _padded(data: bytes) -> bytes:
    """What the digest of an entry of the oldest template covers: the name filled up with zeros."""
    return data[:20] + data[20:].ljust(_OLD_NAME_BYTES, b"\0")


def _sized(reader: Reader, what: str, at_most: int) -> bytes:
    start, size = reader.offset, reader.u32(f"the length of {what}")
    if size > at_most:
        raise reader.error(f"{what} must have at most {at_most} bytes, not {size}", at=start)
    return reader.take(size, what)


def _description(template: str, data: bytes, *, violation: bool) -> tuple[Description, tuple[str, ...]]:
    try:
        fields = _fields(template, data)
    except FormatError as error:
        return Description(), (f"the data is not what the template {template} holds: {error}",)
    name, digest_text = str(fields.get("name", "")), str(fields.get("digest", ""))
    told = "violation: it was written while it was measured" if violation else digest_text
    return Description(f"{name}  {told}".strip(), fields), ()


def _fields(template: str, data: bytes) -> dict[str, Value]:
    if template == "ima":
        return {"digest": f"sha1:{data[:20].hex()}", "name": _name(data[20:])}
    reader, fields = Reader(data, STRUCTURE, "little"), dict[str, Value]()
    for each in _TEMPLATES.get(template, ()):
        content = _sized(reader, f"the field {each}", _MOST_DATA_BYTES)
        if each in ("d-ng", "d-ngv2", "d-modsig"):
            fields["digest" if each != "d-modsig" else "digest-without-signature"] = _digest(content)
        elif each == "n-ng":
            fields["name"] = _name(content)
        elif content:
            fields[each] = content.hex()
    if template not in _TEMPLATES:
        fields["data"] = reader.take(reader.remaining, "the data").hex()
    reader.finish()
    return fields


def _digest(content: bytes) -> str:
    """``ALGORITHM:`` NUL and a digest; version two puts ``ima:`` or ``verity:`` before it."""
    head, separator, value = content.partition(b"\0")
    if not separator or not head.endswith(b":"):
        raise FormatError(STRUCTURE, f"a digest must begin with its algorithm, not {content[:8]!r}")
    return printable(head.decode("ascii", "backslashreplace")) + value.hex()


def _name(content: bytes) -> str:
    return printable(content.rstrip(b"\0").decode("utf-8", "backslashreplace"))
