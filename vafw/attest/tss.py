"""A TPM through the TCG software stack: swtpm over a socket, a chip through the kernel's resource manager.

    open_device("/dev/tpmrm0")    a chip
    open_swtpm("path=/run/tpm")   swtpm's own interface, as the TSS knows it
    TssTpm(tcti)                  any other transmission interface, such as the provider's socket pair

The attestation key is a primary key of the endorsement hierarchy: made anew from the TPM's seed, it is the same in
each life, needs no storage, and its quotes carry the real reset and restart counts. The endorsement key is the one that
the maker certified, where there is a certificate.

Needs tpm2-pytss, the extra ``vafw[tpm]``; without it, importing this module is PlatformUnable and says what to install.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, final

from vafw.attest.attester import BootCounts, Offer
from vafw.errors import PlatformUnable
from vafw.tcg.credential import Credential
from vafw.tcg.public import attestation_key_area, endorsement_key_area, rsa_endorsement_key_area
from vafw.tcg.selection import PcrSelection

os.environ.setdefault("TSS2_LOG", "all+none")  # the library would print what is raised here anyway

try:
    from tpm2_pytss import ESAPI, ESYS_TR, TPM2_ALG, TPM2_SE, PyTCTI, TCTILdr, TSS2_Exception
    from tpm2_pytss.types import (
        TPM2B_DATA,
        TPM2B_ENCRYPTED_SECRET,
        TPM2B_ID_OBJECT,
        TPM2B_PUBLIC,
        TPM2B_SENSITIVE_CREATE,
        TPML_DIGEST_VALUES,
        TPML_PCR_SELECTION,
        TPMT_PUBLIC,
        TPMT_SYM_DEF,
    )
except ImportError as missing:
    raise PlatformUnable(
        "a TPM must be spoken to through tpm2-pytss, and it is not installed",
        hint="`make qemu` builds it; it needs Debian's libtss2-dev, pkg-config and gcc, and as root installs them",
    ) from missing

__all__ = [
    "TssTpm",
    "open_device",
    "open_swtpm",
    "selection_of",
    "digest_values",
    "ESAPI",
    "ESYS_TR",
    "PyTCTI",
    "TSS2_Exception",
]

_CERTIFICATES: Final = {0x01C00002: rsa_endorsement_key_area(0), 0x01C0000A: endorsement_key_area(0, 0)}
"""Where endorsement key certificates lie, and the template of the key that each is of (TCG EK Credential Profile)."""
_MOST_NV_BYTES: Final = 1024
"""Bytes of an NV index that every TPM reads at once."""


def open_device(path: str = "/dev/tpmrm0") -> TssTpm:
    """A chip; PlatformUnable where there is none, or it does not answer."""
    return _opened("device", path)


def open_swtpm(where: str) -> TssTpm:
    """A swtpm that listens: ``path=SOCKET`` or ``host=HOST,port=PORT``; PlatformUnable where it does not answer."""
    return _opened("swtpm", where)


def _opened(interface: str, where: str) -> TssTpm:
    try:
        tpm = TssTpm(TCTILdr(interface, where))
        tpm.boot_counts()
    except (TSS2_Exception, OSError) as error:
        raise PlatformUnable(f"the TPM at {where} must answer, and does not: {error}") from error
    return tpm


@final
class TssTpm:
    """A started TPM, as an `Attester`."""

    def __init__(self, tcti: Any) -> None:
        """`tcti` is a transmission interface of tpm2-pytss, kept open for as long as this lives."""
        self._tcti = tcti
        self.esapi = ESAPI(tcti)
        """For commands that an attester does not need."""
        self._ak: tuple[ESYS_TR, bytes] | None = None

    def offer(self) -> Offer:
        """Endorsement key, attestation key, and the certificate where the TPM has one."""
        try:
            handle, ek, certificate = self._endorsement_key()
            self.esapi.flush_context(handle)
            return Offer(ek, self._attestation_key()[1], certificate)
        except TSS2_Exception as error:
            raise PlatformUnable(f"the TPM must make its keys, and does not: {error}") from error

    def activate(self, credential: Credential) -> bytes:
        """TPM2_ActivateCredential; PlatformUnable where the credential is for other keys."""
        esapi = self.esapi
        try:
            ak, _ = self._attestation_key()
            ek, _, _ = self._endorsement_key()
            session = esapi.start_auth_session(
                ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.POLICY, TPMT_SYM_DEF(TPM2_ALG.NULL), TPM2_ALG.SHA256
            )
            try:
                esapi.policy_secret(ESYS_TR.ENDORSEMENT, session, expiration=0)
                blob, seed = TPM2B_ID_OBJECT(credential.id_object), TPM2B_ENCRYPTED_SECRET(credential.encrypted_seed)
                return bytes(esapi.activate_credential(ak, ek, blob, seed, ESYS_TR.PASSWORD, session))
            finally:
                esapi.flush_context(session)
                esapi.flush_context(ek)
        except TSS2_Exception as error:
            raise PlatformUnable(f"the TPM does not open the credential: {error}") from error

    def quote(self, nonce: bytes, selection: PcrSelection) -> tuple[bytes, bytes]:
        """TPM2_Quote: TPMS_ATTEST and TPMT_SIGNATURE; PlatformUnable where the TPM does not give one."""
        try:
            attest, signature = self.esapi.quote(self._attestation_key()[0], selection_of(selection), TPM2B_DATA(nonce))
        except (OSError, TSS2_Exception) as error:
            raise PlatformUnable(f"the TPM must quote, and does not: {error}") from error
        return bytes(attest), bytes(signature.marshal())

    def read(self, selection: PcrSelection) -> Mapping[int, Mapping[int, bytes]]:
        """PCR values by bank and index, read bank by bank until all are there."""
        found: dict[int, dict[int, bytes]] = {}
        for bank, pcrs in selection.banks:
            values = found.setdefault(bank, {})
            while left := tuple(pcr for pcr in pcrs if pcr not in values):
                digests = self._read_some(PcrSelection.of({bank: left}))
                if not digests:
                    raise PlatformUnable(f"the TPM must have the PCRs {left} of bank {bank:#x}, and does not")
                values.update(zip(left, digests, strict=False))
        return found

    def boot_counts(self) -> BootCounts:
        """TPM2_ReadClock."""
        clock = self.esapi.read_clock().clockInfo
        return BootCounts(int(clock.resetCount), int(clock.restartCount))

    def forget_keys(self) -> None:
        """Keys that were loaded are gone after a reset of the TPM; they are made again when they are needed."""
        self._ak = None

    def close(self) -> None:
        """Let go of the TPM; safe to call twice."""
        self.esapi.close()

    def _read_some(self, selection: PcrSelection) -> tuple[bytes, ...]:
        try:
            _, _, digests = self.esapi.pcr_read(selection_of(selection))
        except (OSError, TSS2_Exception) as error:
            raise PlatformUnable(f"the TPM must read its PCRs, and does not: {error}") from error
        return tuple(bytes(each) for each in digests)

    def _attestation_key(self) -> tuple[ESYS_TR, bytes]:
        if self._ak is None:
            self._ak = self._primary(attestation_key_area(0, 0))
        return self._ak

    def _endorsement_key(self) -> tuple[ESYS_TR, bytes, bytes]:
        """Handle, public area and certificate; the key without a certificate is one on P-256."""
        for index, template in _CERTIFICATES.items():
            if certificate := self._nv(index):
                return *self._primary(template), certificate
        return *self._primary(endorsement_key_area(0, 0)), b""

    def _primary(self, template: bytes) -> tuple[ESYS_TR, bytes]:
        area, _ = TPMT_PUBLIC.unmarshal(template)
        handle, public, *_ = self.esapi.create_primary(
            TPM2B_SENSITIVE_CREATE(), TPM2B_PUBLIC(area), ESYS_TR.ENDORSEMENT
        )
        return handle, bytes(public.publicArea.marshal())

    def _nv(self, index: int) -> bytes:
        """An NV index; empty where there is none."""
        try:
            handle = self.esapi.tr_from_tpmpublic(index)
        except TSS2_Exception:
            return b""
        public, _ = self.esapi.nv_read_public(handle)
        size, data = int(public.nvPublic.dataSize), b""
        while len(data) < size:
            piece = min(size - len(data), _MOST_NV_BYTES)
            data += bytes(self.esapi.nv_read(handle, piece, len(data), auth_handle=handle))
        return data


def selection_of(selection: PcrSelection) -> TPML_PCR_SELECTION:
    """The selection as tpm2-pytss takes it."""
    made, _ = TPML_PCR_SELECTION.unmarshal(selection.encode())
    return made


def digest_values(digests: Mapping[int, bytes]) -> TPML_DIGEST_VALUES:
    """Digests by bank as tpm2-pytss takes them."""
    values = b"".join(bank.to_bytes(2, "big") + value for bank, value in digests.items())
    made, _ = TPML_DIGEST_VALUES.unmarshal(len(digests).to_bytes(4, "big") + values)
    return made
