"""TPMS_ATTEST of a quote: what a TPM signs (TPM 2.0 Library, Part 2, "TPMS_ATTEST"); big-endian.

Only quotes: every other attestation structure has another type and is refused. Decoding is strict, as these bytes are
the only thing that the signature covers: exactly one sequence of bytes decodes to each value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from vafw.tcg.selection import PcrSelection
from vafw.wire import Reader

STRUCTURE: Final = "TPMS_ATTEST"
TPM_GENERATED: Final = 0xFF544347
"""The magic that a TPM puts before what it made itself, and refuses to sign for anybody else ("TPM_GENERATED")."""
ATTEST_QUOTE: Final = 0x8018
"""TPM_ST_ATTEST_QUOTE."""
MOST_NONCE_BYTES: Final = 64
"""Qualifying data that fits TPM2B_DATA with SHA-512 as the largest digest."""
_MOST_NAME_BYTES: Final = 66
_MOST_DIGEST_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class ClockInfo:
    """When a TPM signed, in its own terms ("TPMS_CLOCK_INFO")."""

    clock_ms: int
    """Milliseconds that the TPM was powered since it was made."""
    reset_count: int
    """TPM resets: boots that kept no state."""
    restart_count: int
    """Restarts and resumes since the last reset."""
    safe: bool
    """Whether no greater `clock_ms` can have been reported before."""


@final
@dataclass(frozen=True, slots=True)
class QuoteAttest:
    """The decoded structure."""

    qualified_signer: bytes
    """The qualified name of the attestation key."""
    nonce: bytes
    """What the verifier sent (extraData)."""
    clock_info: ClockInfo
    firmware_version: int
    selection: PcrSelection
    pcr_digest: bytes

    def encode(self) -> bytes:
        """The bytes to sign."""
        clock = self.clock_info
        return b"".join(
            (
                TPM_GENERATED.to_bytes(4, "big"),
                ATTEST_QUOTE.to_bytes(2, "big"),
                _sized(self.qualified_signer),
                _sized(self.nonce),
                clock.clock_ms.to_bytes(8, "big"),
                clock.reset_count.to_bytes(4, "big"),
                clock.restart_count.to_bytes(4, "big"),
                bytes((clock.safe,)),
                self.firmware_version.to_bytes(8, "big"),
                self.selection.encode(),
                _sized(self.pcr_digest),
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> QuoteAttest:
        """Read a quote; FormatError names the byte that is wrong."""
        reader = Reader(data, STRUCTURE, "big")
        if (magic := reader.u32("the magic")) != TPM_GENERATED:
            raise reader.error(f"the magic must be {TPM_GENERATED:#x} (TPM_GENERATED), not {magic:#x}", at=0)
        if (kind := reader.u16("the type")) != ATTEST_QUOTE:
            raise reader.error(f"the type must be {ATTEST_QUOTE:#x} (TPM_ST_ATTEST_QUOTE), not {kind:#x}", at=4)
        quote = cls(
            qualified_signer=reader.sized("the qualified signer", at_most=_MOST_NAME_BYTES),
            nonce=reader.sized("the nonce", at_most=MOST_NONCE_BYTES),
            clock_info=_clock_info(reader),
            firmware_version=reader.u64("the firmware version"),
            selection=PcrSelection.read(reader),
            pcr_digest=reader.sized("the PCR digest", at_most=_MOST_DIGEST_BYTES),
        )
        reader.finish()
        return quote


def _clock_info(reader: Reader) -> ClockInfo:
    clock_ms = reader.u64("the clock")
    reset_count, restart_count = reader.u32("the reset count"), reader.u32("the restart count")
    start = reader.offset
    if (safe := reader.u8("the safe flag")) > 1:
        raise reader.error(f"the safe flag must be 0 or 1, not {safe}", at=start)
    return ClockInfo(clock_ms, reset_count, restart_count, bool(safe))


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content
