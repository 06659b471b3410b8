"""A TPM 2.0 as far as a measured launch needs one: PCRs behind localities, the hash sequence, quotes, sealing, NV.

Commands are method calls with the locality as an argument; command marshalling, passwords and HMAC sessions are not
modelled, policy sessions are (`policy`). Pure: keys come from the `random` that is handed in, signatures are
deterministic (RFC 6979), and time passes only by `advance`.

    powered (after _TPM_Init)  --startup()-->  started  --power_cycle()-->  powered
    hash sequence: H-CRTM, PCR 0               hash sequence: dynamic launch, PCR 17

The hard part is the hash sequence: three signals that only the processor can send, at locality 4, and the only way
to turn PCR 17 to 22 from ones to zeros (TPM 2.0 Library, Part 3, "_TPM_Hash_Start").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from vafw.hw.tpm.nv import NvStorage
from vafw.hw.tpm.pcr import (
    DYNAMIC_LAUNCH_PCRS,
    PCR_COUNT,
    SAVED_PCRS,
    UNCOUNTED_PCRS,
    PcrBank,
    extend_localities,
    reset_localities,
)
from vafw.hw.tpm.policy import PolicySession
from vafw.hw.tpm.rc import ResponseCode, TpmError
from vafw.hw.tpm.sealing import SealedData, StorageKey
from vafw.tcg.algorithms import SHA256, algorithm_name, digest, extended, hash_sequence_value
from vafw.tcg.attest import MOST_NONCE_BYTES, ClockInfo, QuoteAttest
from vafw.tcg.credential import Credential, open_credential
from vafw.tcg.public import (
    ENDORSEMENT_HIERARCHY,
    attestation_key_area,
    endorsement_key_area,
    name_of,
    qualified_name,
)
from vafw.tcg.selection import PcrSelection
from vafw.tcg.signature import P256_ORDER, encode_signature
from vafw.wire import FormatError

FIRMWARE_VERSION: Final = 0x0000_0001_0000_0000
CLOCK_UPDATE_MS: Final = 4096
"""How often the clock is written to NV: a power cut sets it back to the last of these, and it is not safe until it has
caught up."""


class StartupType(Enum):
    """How a TPM starts or was shut down (TPM_SU_CLEAR, TPM_SU_STATE)."""

    CLEAR = "clear"
    STATE = "state"


@final
class Tpm:
    """One TPM, soldered to one board: keys, NV indices and counts live as long as the object."""

    def __init__(
        self,
        banks: tuple[int, ...],
        random: Callable[[int], bytes],
        *,
        reset_count: int = 0,
        clock_ms: int = 0,
    ) -> None:
        """A TPM that is powered and not started.

        `banks` are the hash algorithms that get a bank of PCRs; `random(n)` gives n random bytes; `reset_count` is the
        count before the first startup.
        """
        self._banks = {algorithm: PcrBank(algorithm) for algorithm in banks}
        self._ak = _derive_key(random)
        self._storage = StorageKey(random(32))
        self._ek = _derive_key(random)
        self._nv = NvStorage()
        self._started = False
        self._shut_down: StartupType | None = StartupType.CLEAR
        self._saved_pcrs: dict[int, dict[int, bytes]] = {}
        self._reset_count = reset_count
        self._restart_count = 0
        self._clock_ms = clock_ms
        self._clock_safe_from_ms = clock_ms
        self._update_counter = 0
        self._saved_restart_count = self._saved_update_counter = 0
        self._sequence: bytearray | None = None
        self._h_crtm = False
        self._saved_h_crtm = False
        self._established = False

    @property
    def banks(self) -> tuple[int, ...]:
        """The algorithms that have a bank of PCRs."""
        return tuple(self._banks)

    @property
    def started(self) -> bool:
        """Whether commands are accepted."""
        return self._started

    @property
    def tpm_established(self) -> bool:
        """Whether a dynamic launch ever took place; survives power cycles until locality 3 or 4 clears it."""
        return self._established

    @property
    def ak_public(self) -> ec.EllipticCurvePublicKey:
        """The public part of the attestation key: P-256, restricted, made under the endorsement hierarchy."""
        return self._ak.public_key()

    @property
    def clock_info(self) -> ClockInfo:
        """What a quote says of time and boots."""
        safe = self._clock_ms >= self._clock_safe_from_ms
        return ClockInfo(self._clock_ms, self._reset_count, self._restart_count, safe)

    @property
    def update_counter(self) -> int:
        """How often PCRs changed since power on (pcrUpdateCounter of TPM2_PCR_Read)."""
        return self._update_counter

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self._clock_ms += milliseconds

    def power_cycle(self) -> None:
        """Power off and on (_TPM_Init): PCRs are lost; only the hash sequence is accepted before startup."""
        if self._started and self._shut_down is None:
            self._clock_safe_from_ms = self._clock_ms
            self._clock_ms -= self._clock_ms % CLOCK_UPDATE_MS
        self._started = False
        self._sequence = None
        self._h_crtm = False
        self._update_counter = 0
        for bank in self._banks.values():
            bank.start()

    def startup(self, kind: StartupType = StartupType.CLEAR) -> None:
        """TPM2_Startup: a reset; after `shutdown(STATE)` a restart (CLEAR) or a resume (STATE)."""
        if self._started:
            raise TpmError(ResponseCode.INITIALIZE, "a TPM must be started once after power on")
        resumable = self._shut_down is StartupType.STATE and self._h_crtm == self._saved_h_crtm
        if kind is StartupType.STATE and not resumable:
            raise TpmError(ResponseCode.VALUE_OF_STARTUP, "a TPM must have saved its state before it can resume")
        if self._shut_down is StartupType.STATE:
            self._restart_count, self._update_counter = self._saved_restart_count + 1, self._saved_update_counter
        else:
            self._reset_count += 1
            self._restart_count = self._update_counter = 0
        given = set(range(PCR_COUNT)) - (set(SAVED_PCRS) if kind is StartupType.STATE else set())
        self._update_counter += len(given - UNCOUNTED_PCRS)
        if kind is StartupType.STATE:
            self._restore_pcrs()
        self._shut_down = None
        self._started = True

    def shutdown(self, kind: StartupType = StartupType.CLEAR) -> None:
        """TPM2_Shutdown: makes ready for an orderly end; STATE keeps PCR 0 to 15. Void once one of these changes."""
        self._require_started()
        self._saved_pcrs = {
            algorithm: {pcr: bank.read(pcr) for pcr in SAVED_PCRS} for algorithm, bank in self._banks.items()
        }
        self._saved_h_crtm = self._h_crtm
        self._saved_restart_count, self._saved_update_counter = self._restart_count, self._update_counter
        self._shut_down = kind

    def hash_start(self) -> None:
        """_TPM_Hash_Start at locality 4, which only the processor can send: begins a launch or an H-CRTM.

        A launch counts as a restart (TPM 2.0 Library, Part 2, "TPMS_CLOCK_INFO").
        """
        self._sequence = bytearray()
        self._established = True
        if self._started:
            self._restart_count += 1
            for bank in self._banks.values():
                for pcr in DYNAMIC_LAUNCH_PCRS:
                    bank.reset(pcr)
            self._update_counter += len(set(DYNAMIC_LAUNCH_PCRS) - UNCOUNTED_PCRS)

    def hash_data(self, data: bytes) -> None:
        """_TPM_Hash_Data; ignored where no sequence is open, as the library specification has it."""
        if self._sequence is not None:
            self._sequence += data

    def hash_end(self) -> None:
        """_TPM_Hash_End: PCR 17 (or 0, before startup) gets its value; ignored where no sequence is open."""
        if self._sequence is None:
            return
        data, self._sequence = bytes(self._sequence), None
        self._h_crtm |= not self._started
        for algorithm, bank in self._banks.items():
            if self._started:
                bank.load(17, hash_sequence_value(algorithm, data))
            else:
                at_locality_4 = bytes(bank.size - 1) + b"\x04"
                bank.load(0, extended(algorithm, at_locality_4, digest(algorithm, data)))

    def clear_established(self, locality: int) -> None:
        """Take `tpm_established` back; only locality 3 or 4 may."""
        if locality not in (3, 4):
            raise TpmError(ResponseCode.LOCALITY, f"tpmEstablished must be cleared at locality 3 or 4, not {locality}")
        self._established = False

    def read(self, pcr: int, algorithm: int = SHA256) -> bytes:
        """TPM2_PCR_Read of one register, at any locality."""
        self._require_started()
        _require_pcr(pcr)
        return self._bank(algorithm).read(pcr)

    def extend(self, pcr: int, digests: Mapping[int, bytes], locality: int) -> None:
        """TPM2_PCR_Extend: each bank with its own digest; nothing is extended where one of them is refused."""
        self._require_started()
        _require_pcr(pcr)
        if locality not in extend_localities(pcr):
            raise TpmError(ResponseCode.LOCALITY, f"PCR {pcr} must not be extended at locality {locality}")
        for algorithm, value in digests.items():
            if len(value) != (size := self._bank(algorithm).size):
                name = algorithm_name(algorithm)
                raise TpmError(ResponseCode.SIZE, f"a digest of {name} must have {size} bytes, not {len(value)}")
        self._void_shutdown(pcr)
        for algorithm, value in digests.items():
            self._banks[algorithm].extend(pcr, value)
        self._count(pcr, len(digests))

    def reset(self, pcr: int, locality: int) -> None:
        """TPM2_PCR_Reset: zeros in every bank."""
        self._require_started()
        _require_pcr(pcr)
        if locality not in reset_localities(pcr):
            raise TpmError(ResponseCode.LOCALITY, f"PCR {pcr} must not be reset at locality {locality}")
        self._void_shutdown(pcr)
        for bank in self._banks.values():
            bank.reset(pcr)
        self._count(pcr, 1)

    def quote(self, nonce: bytes, selection: PcrSelection, locality: int = 0) -> tuple[bytes, bytes]:
        """TPM2_Quote with the attestation key: TPMS_ATTEST and TPMT_SIGNATURE. Any locality may."""
        self._require_started()
        if len(nonce) > MOST_NONCE_BYTES:
            raise TpmError(ResponseCode.SIZE, f"a nonce must have at most {MOST_NONCE_BYTES} bytes, not {len(nonce)}")
        values = {
            algorithm: {pcr: self._bank(algorithm).read(pcr) for pcr in pcrs} for algorithm, pcrs in selection.banks
        }
        attest = QuoteAttest(
            qualified_signer=self.ak_qualified_name,
            nonce=nonce,
            clock_info=self.clock_info,
            firmware_version=FIRMWARE_VERSION,
            selection=selection,
            pcr_digest=selection.digest(SHA256, values),
        ).encode()
        der = self._ak.sign(attest, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        return attest, encode_signature(der)

    @property
    def ak_area(self) -> bytes:
        """TPMT_PUBLIC of the attestation key."""
        point = self.ak_public.public_numbers()
        return attestation_key_area(point.x, point.y)

    @property
    def ek_area(self) -> bytes:
        """TPMT_PUBLIC of the endorsement key, which whoever made the TPM gave it."""
        point = self._ek.public_key().public_numbers()
        return endorsement_key_area(point.x, point.y)

    @property
    def ak_qualified_name(self) -> bytes:
        """What a quote names as its signer."""
        return qualified_name(ENDORSEMENT_HIERARCHY, name_of(self.ak_area))

    def activate_credential(self, credential: Credential) -> bytes:
        """TPM2_ActivateCredential for the attestation key: the secret, if it was made for both keys of this TPM."""
        self._require_started()
        try:
            return open_credential(self._ek, name_of(self.ak_area), credential)
        except FormatError as error:
            raise TpmError(ResponseCode.INTEGRITY, f"the credential must be for this TPM: {error}") from error

    def policy_pcr(self, session: PolicySession, selection: PcrSelection, expected: bytes = b"") -> None:
        """TPM2_PolicyPCR: show what PCRs hold now; `expected`, if given, is the digest that they must have."""
        self._require_started()
        values = {bank: {pcr: self._bank(bank).read(pcr) for pcr in pcrs} for bank, pcrs in selection.banks}
        pcr_digest = selection.digest(SHA256, values)
        if expected not in (b"", pcr_digest):
            raise TpmError(ResponseCode.VALUE_OF_DIGEST, "PCRs must hold what the caller of PolicyPCR says")
        session.show_pcrs(selection, pcr_digest, self._update_counter)

    def seal(self, secret: bytes, policy: bytes = b"") -> SealedData:
        """Seal 1 to 128 bytes to a policy digest; an empty one lets anybody unseal."""
        self._require_started()
        return self._storage.seal(secret, policy)

    def unseal(self, sealed: SealedData, session: PolicySession | None = None, locality: int = 0) -> bytes:
        """TPM2_Unseal; TpmError where the object is not this TPM's or its policy is not satisfied."""
        self._require_started()
        secret = self._storage.open(sealed)
        self._require_policy(sealed.policy, session, locality)
        return secret

    def nv_define(self, index: int, size: int, write_policy: bytes = b"") -> None:
        """Make an NV index of `size` bytes; `write_policy` is the policy digest that writing asks for."""
        self._require_started()
        self._nv.define(index, size, write_policy)

    def nv_write(
        self, index: int, data: bytes, offset: int = 0, *, session: PolicySession | None = None, locality: int = 0
    ) -> None:
        """Write inside an NV index that is not locked, with a session that satisfies its policy if it has one."""
        self._require_started()
        self._require_policy(self._nv.write_policy(index), session, locality)
        self._nv.write(index, data, offset)

    def nv_read(self, index: int, size: int | None = None, offset: int = 0) -> bytes:
        """`size` bytes of an NV index, or all from `offset` on."""
        self._require_started()
        return self._nv.read(index, size, offset)

    def nv_lock(self, index: int) -> None:
        """Lock an NV index against writing, for ever."""
        self._require_started()
        self._nv.lock(index)

    def _require_policy(self, policy: bytes, session: PolicySession | None, locality: int) -> None:
        if not policy:
            return
        if session is None:
            raise TpmError(ResponseCode.AUTH_UNAVAILABLE, "an object with a policy must be used with a policy session")
        session.require(policy, self._update_counter, locality)

    def _void_shutdown(self, pcr: int) -> None:
        """What was made ready for a shutdown no longer holds once a register changes that a suspend keeps."""
        if pcr in SAVED_PCRS:
            self._shut_down = None

    def _count(self, pcr: int, changes: int) -> None:
        if pcr not in UNCOUNTED_PCRS:
            self._update_counter += changes

    def _restore_pcrs(self) -> None:
        for algorithm, values in self._saved_pcrs.items():
            for pcr, value in values.items():
                self._banks[algorithm].load(pcr, value)

    def _bank(self, algorithm: int) -> PcrBank:
        if (bank := self._banks.get(algorithm)) is None:
            raise TpmError(ResponseCode.HASH, f"the TPM must have a bank of {algorithm_name(algorithm)} PCRs")
        return bank

    def _require_started(self) -> None:
        if not self._started:
            raise TpmError(ResponseCode.INITIALIZE, "a TPM must be started before it takes commands")

    def __repr__(self) -> str:
        state = "started" if self._started else "powered"
        return f"<Tpm {state} resets={self._reset_count} restarts={self._restart_count}>"


def _require_pcr(pcr: int) -> None:
    if not 0 <= pcr < PCR_COUNT:
        raise TpmError(ResponseCode.VALUE_OF_PCR, f"a PCR must be 0 to {PCR_COUNT - 1}, not {pcr}")


def _derive_key(random: Callable[[int], bytes]) -> ec.EllipticCurvePrivateKey:
    """A key from 64 bits more than its size, so that no scalar is likelier (FIPS 186-5, "Extra Random Bits")."""
    scalar = int.from_bytes(random(40), "big") % (P256_ORDER - 1) + 1
    return ec.derive_private_key(scalar, ec.SECP256R1())
