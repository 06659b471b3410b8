"""Evidence (RFC 9334): what an attester hands over for one nonce, as bytes nobody has judged yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class RootOfTrust(StrEnum):
    """What measured the VMM first."""

    TXT = "txt"
    """A real TXT launch."""
    SOFTWARE_LAUNCH = "software-launch"
    """A launcher that did the same sequence on a TPM from outside."""
    MODEL = "model"
    """The modelled PC."""
    NONE = "none"
    """No measured launch took place."""


@dataclass(frozen=True, slots=True)
class LaunchError:
    """Why a measured launch was broken off, as the platform recorded it."""

    component: str
    """``sinit``, ``vmm``, ``lcp``, or another part of the launch."""
    reason: str
    error_code: int
    """TXT.ERRORCODE."""
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A quote, the register values it speaks of, and the log that explains them."""

    quote: bytes
    """TPMS_ATTEST, big-endian (TPM 2.0 Library, Part 2, "TPMS_ATTEST")."""
    signature: bytes
    """TPMT_SIGNATURE over `quote`."""
    pcrs: Mapping[int, bytes]
    """SHA-256 PCR values by index, as reported; nothing is believed before the quote's digest covers them."""
    event_log: bytes
    """TCG crypto-agile event log of the dynamic launch."""
    root_of_trust: RootOfTrust
    launch_error: LaunchError | None = None
    """What broke the launch off, if anything; explains, and never excuses."""
    further_banks: Mapping[int, Mapping[int, bytes]] = field(default_factory=dict)
    """PCR values of the other banks that the quote covers, by TCG algorithm and index. The quote must cover every
    bank that the event log carries, or the digests of that bank would be anybody's word."""
