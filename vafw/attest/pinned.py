"""Many quotes of one machine, checked quickly: what a good quote must say is made, and compared.

Everything in a quote but the clock and the firmware is known before it comes: the signer, the nonce, the selection, and
with the reported values the digest. So nothing is decoded: the bytes must begin and end as expected, with the fixed
length between. Strict as decoding is, for exactly one sequence of bytes has each form; and written without it, so that
one stands as a second opinion on the other (`tests/attest/test_second_opinion.py`).

Not the whole appraisal: no log, no component, no boot. For whoever watches many machines whose logs are appraised once
and whose registers must then stay what they were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, final

from cryptography.exceptions import InvalidSignature

from vafw.attest.key import AttestationKey
from vafw.tcg.attest import ATTEST_QUOTE, TPM_GENERATED
from vafw.tcg.selection import PcrSelection
from vafw.wire import FormatError

_HEAD: Final = TPM_GENERATED.to_bytes(4, "big") + ATTEST_QUOTE.to_bytes(2, "big")
_CLOCK_AND_FIRMWARE_BYTES: Final = 8 + 4 + 4 + 1 + 8
_SAFE_AT: Final = 8 + 4 + 4


@final
class PinnedQuotes:
    """One attestation key, one selection, and the values that each register may have."""

    def __init__(
        self,
        ak: AttestationKey,
        selection: PcrSelection,
        allowed: Mapping[int, frozenset[bytes]],
        *,
        signer: bytes | None = None,
    ) -> None:
        """`selection` names one bank, `allowed` the values of each PCR of it; ValueError where they do not fit.

        `signer` is the key's qualified name, where it is no primary key of the endorsement hierarchy.
        """
        if len(selection.banks) != 1 or set(selection.banks[0][1]) != set(allowed):
            raise ValueError(f"values must be allowed for exactly the PCRs of one bank, not of {selection}")
        self._verify = ak.verify
        self._order = selection.banks[0][1]
        self._fine = tuple(allowed[pcr] for pcr in self._order)
        name = ak.qualified_name if signer is None else signer
        self._begin = _HEAD + len(name).to_bytes(2, "big") + name
        self._selected = selection.encode() + (32).to_bytes(2, "big")

    def why_not(self, quote: bytes, signature: bytes, nonce: bytes, values: Mapping[int, bytes]) -> str:
        """Why the quote is not believed, as one sentence; empty where it is."""
        try:
            held = [values[pcr] for pcr in self._order]
        except KeyError as missing:
            return f"PCR {missing} must be reported, and is not"
        begin = self._begin + len(nonce).to_bytes(2, "big") + nonce
        end = self._selected + hashlib.sha256(b"".join(held)).digest()
        if len(quote) != len(begin) + _CLOCK_AND_FIRMWARE_BYTES + len(end):
            return "the quote must have the one length that a quote for this challenge has"
        if not quote.startswith(begin):
            return "the quote must begin with magic, type, signer and nonce as expected"
        if not quote.endswith(end):
            return "the quote must be of the selected registers with the values that are reported"
        if quote[len(begin) + _SAFE_AT] != 1:
            return "the TPM's clock must be safe"
        try:
            self._verify(quote, signature)
        except (InvalidSignature, FormatError):
            return "the quote must be signed by the attestation key"
        for value, fine in zip(held, self._fine, strict=True):
            if value not in fine:
                return f"PCR {self._order[held.index(value)]} must hold an allowed value, not {value.hex()}"
        return ""
