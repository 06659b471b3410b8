"""The Attester (RFC 9334): a TPM as far as evidence and enrolment need one, whatever it is made of.

Three fulfil it: the modelled TPM (`vafw.provider.model.attester`), and swtpm or a chip through the TSS
(`vafw.attest.tss`). Localities, extends and the hash sequence are no part of it: whoever launches does those, and what
gives evidence never needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vafw.attest.evidence import Evidence, LaunchError, RootOfTrust
from vafw.tcg.algorithms import SHA256
from vafw.tcg.credential import Credential
from vafw.tcg.selection import PcrSelection


@dataclass(frozen=True, slots=True)
class Offer:
    """What a TPM says of itself when it asks to be enrolled; nothing of it is believed yet."""

    ek: bytes
    """TPMT_PUBLIC of the endorsement key."""
    ak: bytes
    """TPMT_PUBLIC of the attestation key."""
    ek_certificate: bytes = b""
    """X.509 in DER, from whoever made the TPM; empty where the TPM has none."""


@dataclass(frozen=True, slots=True)
class BootCounts:
    """Which boot a TPM is in, by its own counts ("TPMS_CLOCK_INFO")."""

    resets: int
    restarts: int
    """Restarts, resumes and dynamic launches since the last reset."""


class Attester(Protocol):
    """A TPM that vouches for one machine."""

    def offer(self) -> Offer:
        """Its keys, for enrolment."""
        ...

    def activate(self, credential: Credential) -> bytes:
        """The secret in a credential that was made for its keys; VafwError where it was made for others."""
        ...

    def quote(self, nonce: bytes, selection: PcrSelection) -> tuple[bytes, bytes]:
        """TPMS_ATTEST and TPMT_SIGNATURE."""
        ...

    def read(self, selection: PcrSelection) -> Mapping[int, Mapping[int, bytes]]:
        """PCR values by bank and index."""
        ...

    def boot_counts(self) -> BootCounts:
        """Which boot it is in now."""
        ...


def evidence_of(
    attester: Attester,
    nonce: bytes,
    selection: PcrSelection,
    *,
    event_log: bytes,
    root_of_trust: RootOfTrust,
    launch_error: LaunchError | None = None,
) -> Evidence:
    """Evidence for `nonce`: a quote of `selection`, the values it speaks of, and the log that explains them."""
    quote, signature = attester.quote(nonce, selection)
    banks = dict(attester.read(selection))
    return Evidence(quote, signature, banks.pop(SHA256), event_log, root_of_trust, launch_error, banks)
