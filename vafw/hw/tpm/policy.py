"""Enhanced authorization: a session that collects what has been shown, and the digest that an object asks for.

TPM 2.0 Library, Part 1, "Enhanced Authorization"; Part 3, "TPM2_PolicyPCR", "TPM2_PolicyLocality". Two assertions are
modelled, those that a measured launch needs: PCRs hold certain values, and the command comes at a certain locality.
Either extends the session's digest; the object is to be had if that is the one it was made with, the registers have not
moved since, and the command comes from where the session said it would.

The hard part is time: PCRs are read when the assertion is made and the object is used later. The TPM's update counter
bridges it: any change in between voids the session.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, final

from vafw.hw.tpm.rc import ResponseCode, TpmError
from vafw.tcg.algorithms import SHA256, digest
from vafw.tcg.selection import PcrSelection

EMPTY_POLICY: Final = bytes(32)
"""The digest of a session that has shown nothing."""
_POLICY_PCR: Final = 0x0000_017F
_POLICY_LOCALITY: Final = 0x0000_016F
_LOCALITIES: Final = range(5)


def with_pcrs(policy: bytes, selection: PcrSelection, pcr_digest: bytes) -> bytes:
    """The policy digest after TPM2_PolicyPCR; `pcr_digest` is SHA-256 over the selected values."""
    return digest(SHA256, policy, _POLICY_PCR.to_bytes(4, "big"), selection.encode(), pcr_digest)


def with_localities(policy: bytes, localities: Collection[int]) -> bytes:
    """The policy digest after TPM2_PolicyLocality; ValueError for anything but localities 0 to 4."""
    return digest(SHA256, policy, _POLICY_LOCALITY.to_bytes(4, "big"), bytes((_locality_bits(localities),)))


@final
@dataclass(slots=True)
class PolicySession:
    """A policy session with SHA-256; lives as long as whoever holds it, and no longer than the TPM's power."""

    policy: bytes = EMPTY_POLICY
    pcr_counter: int | None = None
    """The TPM's update counter when PCRs were shown; None where none were."""
    locality_bits: int = 0
    """TPMA_LOCALITY; 0 where any will do."""

    def show_pcrs(self, selection: PcrSelection, pcr_digest: bytes, pcr_counter: int) -> None:
        """What TPM2_PolicyPCR does to the session."""
        if self.pcr_counter not in (None, pcr_counter):
            raise TpmError(ResponseCode.PCR_CHANGED, "PCRs must not change between two assertions of a session")
        self.policy = with_pcrs(self.policy, selection, pcr_digest)
        self.pcr_counter = pcr_counter

    def show_localities(self, localities: Collection[int]) -> None:
        """What TPM2_PolicyLocality does to the session; a second one narrows the first."""
        bits = _locality_bits(localities)
        if self.locality_bits and not self.locality_bits & bits:
            raise TpmError(ResponseCode.RANGE_OF_LOCALITY, "a session must leave at least one locality possible")
        self.policy = with_localities(self.policy, localities)
        self.locality_bits = bits & self.locality_bits if self.locality_bits else bits

    def require(self, policy: bytes, pcr_counter: int, locality: int) -> None:
        """TpmError unless the session satisfies `policy` now, at this locality."""
        if self.pcr_counter not in (None, pcr_counter):
            raise TpmError(ResponseCode.PCR_CHANGED, "PCRs must not change between the assertion and the use")
        if self.policy != policy:
            raise TpmError(ResponseCode.POLICY_FAIL, "the session must show what the object's policy asks for")
        if self.locality_bits and not self.locality_bits >> locality & 1:
            raise TpmError(ResponseCode.LOCALITY, f"the object must be used at the session's locality, not {locality}")


def _locality_bits(localities: Collection[int]) -> int:
    if not localities or any(each not in _LOCALITIES for each in localities):
        raise ValueError(f"a policy must name localities from 0 to 4, not {sorted(localities)}")
    return sum(1 << each for each in set(localities))
