"""UEFI variables as events carry them: name, GUID, and content decoded where the name says what it is.

TCG PC Client Platform Firmware Profile, "UEFI_VARIABLE_DATA"; UEFI specification, "Globally Defined Variables",
"Load Options", "EFI_SIGNATURE_LIST"; little-endian. Every length must fill the space it is given, exactly.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from vafw.attest.logs.device_path import read_device_path
from vafw.attest.logs.guid import X509, named, read_guid
from vafw.trace import Value
from vafw.wire import FormatError, Reader

STRUCTURE: Final = "UEFI_VARIABLE_DATA"
_MOST_NAME_CHARACTERS: Final = 1024
_SIGNATURES: Final = frozenset({"PK", "KEK", "db", "dbx", "dbt", "dbr", "MokList", "MokListX", "MokListRT"})
_SWITCHES: Final = frozenset({"SecureBoot", "SetupMode", "AuditMode", "DeployedMode", "MokSBState", "MokIgnoreDB"})
_BOOT_OPTION: Final = re.compile(r"(Boot|Driver|SysPrep|PlatformRecovery)[0-9A-F]{4}")


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable."""

    guid: str
    name: str
    content: bytes

    @classmethod
    def decode(cls, data: bytes) -> Variable:
        """Read UEFI_VARIABLE_DATA; FormatError names the byte that is wrong."""
        reader = Reader(data, STRUCTURE, "little")
        guid = read_guid(reader, "the GUID")
        start = reader.offset
        characters, size = reader.u64("the length of the name"), reader.u64("the length of the content")
        if characters > _MOST_NAME_CHARACTERS:
            raise reader.error(
                f"the name must have at most {_MOST_NAME_CHARACTERS} characters, not {characters}", at=start
            )
        name = reader.take(2 * characters, "the name").decode("utf-16-le", "backslashreplace")
        content = reader.take(size, "the content")
        reader.finish()
        return cls(guid, printable(name), content)

    def summary(self) -> str:
        """One line: the name, and what it is set to."""
        return f"{self.name}: {self._says()}"

    def fields(self) -> dict[str, Value]:
        """Name, GUID and content."""
        members: dict[str, Value] = {"name": self.name, "guid": self.guid, "bytes": len(self.content)}
        if self.name in _SIGNATURES and self.content:
            members["signatures"] = list(signature_lists(self.content))
        elif _BOOT_OPTION.fullmatch(self.name):
            members |= load_option(self.content)
        elif self.name in ("BootOrder", "DriverOrder"):
            members["order"] = list(_order(self.content))
        else:
            members["content"] = self.content.hex()
        return members

    def _says(self) -> str:
        if not self.content:
            return "not set"
        if self.name in _SWITCHES and len(self.content) == 1:
            return "on" if self.content[0] else "off"
        if self.name in _SIGNATURES:
            count = len(signature_lists(self.content))
            return f"{count} signature{'s' if count != 1 else ''}"
        if _BOOT_OPTION.fullmatch(self.name):
            option = load_option(self.content)
            return f"{option['description']}, {option['path']}"
        if self.name in ("BootOrder", "DriverOrder"):
            return ", ".join(_order(self.content))
        return f"{len(self.content)} bytes, {self.content[:16].hex()}{'…' if len(self.content) > 16 else ''}"


def load_option(content: bytes) -> dict[str, Value]:
    """A boot option (EFI_LOAD_OPTION): description, device path, what follows."""
    reader = Reader(content, "EFI_LOAD_OPTION", "little")
    attributes, path_bytes = reader.u32("the attributes"), reader.u16("the length of the device path")
    characters = []
    while (character := reader.u16("the description")) != 0:
        characters.append(character)
    description = b"".join(each.to_bytes(2, "little") for each in characters).decode("utf-16-le", "backslashreplace")
    path = read_device_path(reader.take(path_bytes, "the device path"))
    rest = reader.take(reader.remaining, "the optional data")
    members: dict[str, Value] = {"description": printable(description), "path": path, "active": bool(attributes & 1)}
    return members | ({"data": rest.hex()} if rest else {})


def signature_lists(content: bytes) -> tuple[dict[str, Value], ...]:
    """Every signature of every list in a signature database: owner, type, and what identifies it."""
    reader = Reader(content, "EFI_SIGNATURE_LIST", "little")
    found: list[dict[str, Value]] = []
    while reader.remaining:
        start = reader.offset
        kind = read_guid(reader, "the type")
        size, header, each = (reader.u32(f"the size of {what}") for what in ("the list", "its header", "a signature"))
        space = size - 28 - header
        if each < 16 or space < 0 or space % each:
            raise reader.error(f"a list of {size} bytes cannot hold signatures of {each} bytes", at=start)
        reader.take(header, "the header")
        for _ in range(space // each):
            owner, data = read_guid(reader, "the owner"), reader.take(each - 16, "a signature")
            found.append({"type": named(kind), "owner": named(owner), "says": _signature(kind, data)})
    return tuple(found)


def authority(content: bytes) -> dict[str, Value]:
    """EFI_SIGNATURE_DATA: the one entry of a database that let an image run."""
    reader = Reader(content, "EFI_SIGNATURE_DATA", "little")
    owner = read_guid(reader, "the owner")
    data = reader.take(reader.remaining, "the signature")
    return {"owner": named(owner), "says": _signature(X509, data)}


def _signature(kind: str, data: bytes) -> str:
    if kind != X509:
        return data.hex()
    from cryptography import x509  # deferred: most logs are read without looking into a certificate

    try:
        subject = x509.load_der_x509_certificate(data).subject.rfc4514_string()
    except ValueError:
        subject = "no readable certificate"
    return f"{printable(subject)} (SHA-256 {hashlib.sha256(data).hexdigest()[:16]}…)"


def _order(content: bytes) -> tuple[str, ...]:
    if len(content) % 2:
        raise FormatError(STRUCTURE, f"an order must have an even number of bytes, not {len(content)}")
    numbers = (int.from_bytes(content[at : at + 2], "little") for at in range(0, len(content), 2))
    return tuple(f"Boot{number:04X}" for number in numbers)


def printable(text: str) -> str:
    """Text with whatever does not print escaped: a name comes from a machine nobody trusts yet."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
