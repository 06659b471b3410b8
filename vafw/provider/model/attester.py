"""The modelled TPM as an attester: what is soldered to the modelled board speaks for the modelled PC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from vafw.attest.attester import BootCounts, Offer
from vafw.hw.tpm.tpm import Tpm
from vafw.tcg.credential import Credential
from vafw.tcg.selection import PcrSelection


@final
class ModelAttester:
    """Fulfils `vafw.attest.attester.Attester`; its endorsement key has no certificate, as nobody made it."""

    def __init__(self, tpm: Tpm) -> None:
        self._tpm = tpm

    def offer(self) -> Offer:
        """Its keys."""
        return Offer(self._tpm.ek_area, self._tpm.ak_area)

    def activate(self, credential: Credential) -> bytes:
        """The secret in a credential that was made for its keys; TpmError where it was made for others."""
        return self._tpm.activate_credential(credential)

    def quote(self, nonce: bytes, selection: PcrSelection) -> tuple[bytes, bytes]:
        """TPMS_ATTEST and TPMT_SIGNATURE."""
        return self._tpm.quote(nonce, selection)

    def read(self, selection: PcrSelection) -> Mapping[int, Mapping[int, bytes]]:
        """PCR values by bank and index."""
        return {bank: {pcr: self._tpm.read(pcr, bank) for pcr in pcrs} for bank, pcrs in selection.banks}

    def boot_counts(self) -> BootCounts:
        """Which boot it is in."""
        clock = self._tpm.clock_info
        return BootCounts(clock.reset_count, clock.restart_count)
