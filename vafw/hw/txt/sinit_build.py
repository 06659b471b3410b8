"""Building the modelled PC's SINIT module, signed with the model's own key; its format is `vafw.txt.acm`."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from vafw.hw.txt.chipset import MODEL_CHIPSET, public_key_hash
from vafw.tcg.algorithms import SHA1, SHA256
from vafw.txt.acm import (
    CHIPSET_SINIT,
    EXPONENT,
    HEADER,
    HEADER_DWORDS,
    INFO,
    INFO_TABLE_UUID,
    INFO_VERSION,
    KEY_DWORDS,
    MODULE_TYPE,
    SCRATCH_DWORDS,
    USER_AT,
    padded,
)

MODEL_PROCESSOR: Final = (0x000906E9, 0x0FFF3FFF)
"""Family/model/stepping (CPUID leaf 1, EAX) of the modelled processor, and the mask a module compares it under."""

_ALIGN: Final = 64
_CAPABILITIES = 0b10_0010_0111
"""What the module can do, in the MLE header's bits: both wake-ups, ECX page table, DA PCR map, TCG event format."""
_TPM_CAPABILITIES = 1 | 0b0010 << 2 | 1 << 6
"""Maximum agility (every bank is extended), discrete TPM 2.0, NV indices of the TCG's set (0x01C1xxxx)."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA-2048 key with exponent 17, as the owner of the chipset's fused hash holds it."""

    modulus: int
    private_exponent: int

    @property
    def public_key_hash(self) -> bytes:
        """What the chipset's TXT.PUBLIC.KEY must hold, 32 bytes."""
        return public_key_hash(self.modulus)


def build_sinit(
    code: bytes, key: SigningKey, *, security_version: int = 1, acm_version: int = 1, date: int = 0x20260101
) -> bytes:
    """Build and sign a SINIT module around `code`; the same arguments give the same bytes. `date` is BCD."""
    user = _user_area(code, acm_version)
    header = HEADER.pack(
        MODULE_TYPE,
        0,  # module subtype: ACM
        HEADER_DWORDS,
        0,  # header version
        MODEL_CHIPSET[1],
        0,  # flags: production
        0x8086,
        date,
        (USER_AT + len(user)) // 4,
        security_version,
        0,  # SE SVN
        0,  # code control
        0,  # error entry point
        0x1F,  # GDT limit
        USER_AT + INFO.size,  # GDT base
        8,  # code segment selector
        USER_AT + len(user) - _padded_length(code),
        bytes(64),
        KEY_DWORDS,
        SCRATCH_DWORDS,
    )
    signed = padded(hashlib.sha256(header + user).digest())
    return b"".join(
        (
            header,
            key.modulus.to_bytes(256, "little"),
            EXPONENT.to_bytes(4, "little"),
            pow(signed, key.private_exponent, key.modulus).to_bytes(256, "little"),
            bytes(SCRATCH_DWORDS * 4),
            user,
        )
    )


def _padded_length(code: bytes) -> int:
    return -(-len(code) // _ALIGN) * _ALIGN


def _user_area(code: bytes, acm_version: int) -> bytes:
    """Information table, GDT, lists, then the code from a multiple of 64 on."""
    gdt = struct.pack("<4Q", 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0)
    vendor, device, revision = MODEL_CHIPSET
    chipsets = struct.pack("<IIHHHHI", 1, 1, vendor, device, revision, 0, 0)
    processors = struct.pack("<IIIQQ", 1, *MODEL_PROCESSOR, 0, 0)
    tpm = struct.pack("<IHHH", _TPM_CAPABILITIES, 2, SHA1, SHA256)
    chipsets_at = USER_AT + INFO.size + len(gdt)
    processors_at = chipsets_at + len(chipsets)
    tpm_at = processors_at + len(processors)
    info = INFO.pack(
        INFO_TABLE_UUID, CHIPSET_SINIT, INFO_VERSION, INFO.size, chipsets_at, 7, 0x20001, _CAPABILITIES,
        acm_version, processors_at, tpm_at,
    )  # fmt: skip
    tables = info + gdt + chipsets + processors + tpm
    return tables.ljust(_padded_length(tables), b"\0") + code.ljust(_padded_length(code), b"\0")
