"""Authenticated code modules, header version 0: how one is read and authenticated.

Not what a module does, nor how the model builds its own (`vafw.hw.txt`). Layout and authentication as Intel's "TXT
Software Development Guide", "Authenticated Code Module Format", has them; the unusual parts were checked against
modules of real PCs: numbers are little-endian, the public exponent is 17, the PKCS#1 padding carries no DigestInfo and
the digest stands in it byte-reversed.

    0     header           signed
    128   RSA modulus      not signed, but its hash is fused into the chipset
    384   exponent, 388 signature, 644 scratch space: not signed
    1216  user area        signed: information table, lists, code

`cryptography` refuses keys with an exponent of 17, so the modular power is taken here.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vafw.errors import VafwError

INFO_TABLE_UUID: Final = bytes.fromhex("aa3ac07fa746db182eac698f8d417f5a")

HEADER: Final = struct.Struct("<HHIIHHIIIHHIIIIII64sII")
MODULE_TYPE: Final = 2
HEADER_DWORDS: Final = 161
KEY_DWORDS: Final = 64
SCRATCH_DWORDS: Final = 143
_KEY_AT = 128
_EXPONENT_AT = 384
_SIGNATURE_AT = 388
SCRATCH_AT: Final = 644
USER_AT: Final = (HEADER_DWORDS + SCRATCH_DWORDS) * 4
EXPONENT: Final = 17

INFO: Final = struct.Struct("<16sBBHIIIIB3xII")
INFO_VERSION: Final = 5
CHIPSET_SINIT: Final = 1


class AcmFormatError(VafwError):
    """A module that no processor can take for one; the message says what must hold."""


@dataclass(frozen=True, slots=True)
class ChipsetId:
    """An entry of a module's chipset list: a chipset it runs on."""

    vendor: int
    device: int
    revision: int
    """Compared bit by bit when `flags` bit 0 is set: one shared bit is enough."""
    flags: int


@dataclass(frozen=True, slots=True)
class ProcessorId:
    """An entry of a module's processor list."""

    signature: int
    mask: int
    """Bits of CPUID leaf 1, EAX, that are compared."""


@dataclass(frozen=True, slots=True)
class SignedModule:
    """What a signature makes of a module; nothing in it is believed before `authenticates`."""

    data: bytes
    """The whole module."""
    modulus: int
    exponent: int
    signature: int

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed parts: header up to the key, and user area. What PCR 17 begins with."""
        return coverage_digest(self.data)

    @property
    def authenticates(self) -> bool:
        """Whether the signature holds for the key that the module brings along."""
        return pow(self.signature, self.exponent, self.modulus) == padded(self.digest)

    @property
    def signed_digest(self) -> bytes:
        """The digest that the signature speaks of, 32 bytes; nonsense where the signature is."""
        return pow(self.signature, self.exponent, self.modulus).to_bytes(256, "big")[:-33:-1]


@dataclass(frozen=True, slots=True)
class Acm(SignedModule):
    """A module whose whole layout was read."""

    security_version: int
    """TXT SVN."""
    os_sinit_version: int
    """The highest OS-SINIT data version it reads."""
    minimum_mle_version: int
    capabilities: int
    acm_version: int
    chipsets: tuple[ChipsetId, ...]
    processors: tuple[ProcessorId, ...]
    algorithms: tuple[int, ...]
    """TPM hash algorithms it extends."""
    code_at: int
    """Offset of the entry point."""

    def runs_on(self, didvid: int) -> bool:
        """Whether the chipset list names this TXT.DIDVID."""
        vendor, device, revision = didvid & 0xFFFF, didvid >> 16 & 0xFFFF, didvid >> 32 & 0xFFFF
        return any(
            each.vendor == vendor
            and each.device == device
            and (bool(each.revision & revision) if each.flags & 1 else each.revision == revision)
            for each in self.chipsets
        )

    def runs_on_processor(self, signature: int) -> bool:
        """Whether the processor list names this CPUID signature."""
        return any((signature ^ each.signature) & each.mask == 0 for each in self.processors)


def coverage_digest(module: bytes) -> bytes:
    """SHA-256 over bytes 0 to 127 and the user area; key, exponent, signature and scratch space are left out."""
    return hashlib.sha256(module[:_KEY_AT] + module[USER_AT:]).digest()


def padded(digest: bytes) -> int:
    """The number that a module's signature is the root of."""
    return int.from_bytes(b"\x00\x01" + b"\xff" * (256 - 3 - len(digest)) + b"\x00" + digest[::-1], "big")


def parse(data: bytes) -> Acm:
    """Read a module of exactly its own size; AcmFormatError says what must hold."""
    signed = read_signed(data)
    fields = HEADER.unpack_from(data)
    _require_loadable(data, code_control=fields[11], gdt=(fields[14], fields[13]), selector=fields[15])
    entry = fields[16]
    if not USER_AT <= entry < len(data):
        raise AcmFormatError(f"the entry point must lie in the user area, not at {entry:#x}")
    return _with_info_table(signed, svn=fields[9], entry=entry)


def read_signed(data: bytes) -> SignedModule:
    """The header and signature of a module, whatever its user area holds; AcmFormatError says what must hold."""
    if len(data) < USER_AT + INFO.size:
        raise AcmFormatError(
            f"a module must have at least {USER_AT + INFO.size} bytes of header and information table, not {len(data)}"
        )
    fields = HEADER.unpack_from(data)
    _require("module type", fields[0], MODULE_TYPE)
    _require("module subtype", fields[1], 0)
    _require("header length", fields[2], HEADER_DWORDS)
    _require("header version", fields[3], 0)
    _require("module vendor", fields[6], 0x8086)
    _require("size", fields[8] * 4, len(data))
    _require("key size", fields[18], KEY_DWORDS)
    _require("scratch size", fields[19], SCRATCH_DWORDS)
    exponent = int.from_bytes(data[_EXPONENT_AT:_SIGNATURE_AT], "little")
    _require("RSA public exponent", exponent, EXPONENT)
    modulus = int.from_bytes(data[_KEY_AT:_EXPONENT_AT], "little")
    return SignedModule(data, modulus, exponent, int.from_bytes(data[_SIGNATURE_AT:SCRATCH_AT], "little"))


def _require_loadable(data: bytes, *, code_control: int, gdt: tuple[int, int], selector: int) -> None:
    """What the processor looks at before it jumps: `gdt` is base and limit (Intel SDM Vol. 2, "GETSEC[SENTER]")."""
    base, limit = gdt
    if code_control & ~0b11:
        raise AcmFormatError(f"the module's code control must have reserved bits clear, not be {code_control:#x}")
    if not USER_AT <= base < base + limit < len(data):
        raise AcmFormatError(f"the module's GDT must lie in the user area, not at {base:#x} with limit {limit:#x}")
    if not 8 <= selector <= limit - 15 or selector & 7:
        raise AcmFormatError(f"the module's code segment must be an entry of its GDT, not {selector:#x}")


def _require(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise AcmFormatError(f"the module's {name} must be {expected:#x}, not {found:#x}")


def _with_info_table(signed: SignedModule, *, svn: int, entry: int) -> Acm:
    data = signed.data
    (uuid, chipset_type, version, length, chipsets_at, os_sinit, mle, capabilities, acm_version,
     processors_at, tpm_at) = INFO.unpack_from(data, USER_AT)  # fmt: skip
    if uuid != INFO_TABLE_UUID:
        raise AcmFormatError(f"the information table must begin with its UUID, not {uuid.hex()}")
    _require("chipset type", chipset_type, CHIPSET_SINIT)
    _require("information table version", version, INFO_VERSION)
    _require("information table length", length, INFO.size)
    chipsets = _list(data, chipsets_at, struct.Struct("<IHHHHI"), "chipset list")
    processors = _list(data, processors_at, struct.Struct("<IIQQ"), "processor list")
    return Acm(
        data=data,
        security_version=svn,
        modulus=signed.modulus,
        exponent=signed.exponent,
        signature=signed.signature,
        os_sinit_version=os_sinit,
        minimum_mle_version=mle,
        capabilities=capabilities,
        acm_version=acm_version,
        chipsets=tuple(ChipsetId(vid, did, rid, flags) for flags, vid, did, rid, _, _ in chipsets),
        processors=tuple(ProcessorId(signature, mask) for signature, mask, _, _ in processors),
        algorithms=_algorithms(data, tpm_at),
        code_at=entry,
    )


def _list(data: bytes, at: int, entry: struct.Struct, name: str) -> Sequence[tuple[int, ...]]:
    count = int.from_bytes(data[at : at + 4], "little")
    end = at + 4 + count * entry.size
    if not USER_AT <= at < end <= len(data):
        raise AcmFormatError(f"the {name} must lie in the user area, not at {at:#x} with {count} entries")
    return tuple(entry.iter_unpack(data[at + 4 : end]))


def _algorithms(data: bytes, at: int) -> tuple[int, ...]:
    count = int.from_bytes(data[at + 4 : at + 6], "little")
    end = at + 6 + 2 * count
    if not USER_AT <= at < end <= len(data):
        raise AcmFormatError(f"the TPM information list must lie in the user area, not at {at:#x}")
    return struct.unpack(f"<{count}H", data[at + 6 : end])
