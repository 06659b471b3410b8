"""Software's way to the TPM: one page of registers a locality, and which of them the chipset lets an access through to.

TCG PC Client Platform TPM Profile, "Locality"; TXT SDG, "TPM Localities". A TPM cannot tell who is asking: it believes
the address. Localities 0 to 2 are software's, 1 and 2 while the measured environment has them open; 3 is SINIT's and 4
the processor's own, and no program reaches them whatever it writes. Everything that a PCR of the dynamic launch is
worth rests on that.

The command interface behind the pages is not modelled: a command is a call, as in `vafw.hw.tpm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from vafw.errors import VafwError
from vafw.hw.tpm.tpm import Tpm
from vafw.hw.txt.bits import Sts
from vafw.hw.txt.chipset import Chipset

LOCALITY_SPACE: Final = 0xFED4_0000
"""Locality 0's page; each of the others follows 4 KiB further on."""
_OPENED_BY: Final = {1: Sts.LOCALITY1_OPEN, 2: Sts.LOCALITY2_OPEN}


class LocalityClosed(VafwError):
    """The chipset has not let an access through; the TPM knows nothing of it."""


@final
class TpmPort:
    """The TPM as programs reach it."""

    def __init__(self, tpm: Tpm, chipset: Chipset) -> None:
        self._tpm = tpm
        self._chipset = chipset

    @property
    def banks(self) -> tuple[int, ...]:
        """The algorithms that have a bank of PCRs."""
        return self._tpm.banks

    def is_open(self, locality: int) -> bool:
        """Whether a program's access to that locality gets through."""
        opened_by = _OPENED_BY.get(locality)
        return locality == 0 or (opened_by is not None and bool(self._chipset.status & opened_by))

    def extend(self, pcr: int, digests: Mapping[int, bytes], locality: int) -> None:
        """TPM2_PCR_Extend; LocalityClosed, or the TPM's own refusal."""
        self._require_open(locality)
        self._tpm.extend(pcr, digests, locality)

    def reset(self, pcr: int, locality: int) -> None:
        """TPM2_PCR_Reset; LocalityClosed, or the TPM's own refusal."""
        self._require_open(locality)
        self._tpm.reset(pcr, locality)

    def hash_sequence(self, data: bytes) -> None:
        """What a program would have to write to locality 4 to look like a launch."""
        self._require_open(4)
        self._tpm.hash_start()
        self._tpm.hash_data(data)
        self._tpm.hash_end()

    def _require_open(self, locality: int) -> None:
        if not self.is_open(locality):
            page = LOCALITY_SPACE + locality * 0x1000
            raise LocalityClosed(f"TPM locality {locality} must be open to be used, but {page:#x} answers nothing")
