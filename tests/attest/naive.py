"""A second verifier, written to be obviously right and nothing else: what the first affirms, this one must not refuse.

It shares no decoder with the first: a quote is held against the bytes that it must be (`vafw.attest.pinned`), the log
is read by offsets, registers are hashed with hashlib. It knows one machine, launched in software, with SHA-256 only.
"""

from __future__ import annotations

import hashlib
import random
import struct
from dataclasses import dataclass
from typing import Final

from tests.attest.launched import DOCUMENTS, IMAGES, PLAN, REFERENCE, SINIT, VMM
from vafw.attest.evidence import Evidence, RootOfTrust
from vafw.attest.key import AttestationKey
from vafw.attest.pinned import PinnedQuotes
from vafw.attest.result import AttestationResult
from vafw.attest.verifier import Verifier
from vafw.clock import ManualClock
from vafw.hw.tpm import Tpm
from vafw.tcg import LAUNCH_PCRS, SHA256, Event, EventType, PcrSelection, encode_log
from vafw.tcg.algorithms import digest, hash_sequence_value

SELECTION: Final = PcrSelection.of({SHA256: LAUNCH_PCRS})


def _sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@dataclass
class Bench:
    """One launched machine, its verifier, and a quote for a nonce."""

    seed: int

    def __post_init__(self) -> None:
        draw = random.Random(self.seed)
        self.tpm = Tpm((SHA256,), draw.randbytes)
        self.tpm.startup()
        data = SINIT + bytes(4)
        self.tpm.hash_start()
        self.tpm.hash_data(data)
        self.tpm.hash_end()
        self.events = [Event(17, EventType.TXT_HASH_START, {SHA256: hash_sequence_value(SHA256, data)}, data)]
        self._extend(18, EventType.TXT_MLE_HASH, VMM, VMM)
        self._extend(19, EventType.EV_IPL, PLAN, b"vafw plan office")
        for kind, content in DOCUMENTS.items():
            self._extend(19, EventType.EV_IPL, content, f"vafw {kind}".encode())
        for name, content in IMAGES.items():
            self._extend(19, EventType.EV_IPL, content, f"vafw image {name}".encode())
        self.ak = AttestationKey(self.tpm.ak_area)
        self.verifier = Verifier(REFERENCE, self.ak, ManualClock(), draw.randbytes)
        self.nonce = self.verifier.challenge()
        quote, signature = self.tpm.quote(self.nonce, SELECTION)
        values = {pcr: self.tpm.read(pcr) for pcr in LAUNCH_PCRS}
        log = encode_log(self.events, (SHA256,))
        self.evidence = Evidence(quote, signature, values, log, RootOfTrust.SOFTWARE_LAUNCH)

    def _extend(self, pcr: int, event_type: int, content: bytes, data: bytes) -> None:
        value = {SHA256: digest(SHA256, content)}
        self.tpm.extend(pcr, value, 2)
        self.events.append(Event(pcr, event_type, value, data))

    def first(self, evidence: Evidence) -> AttestationResult:
        """What vafw's verifier says."""
        documents = {kind: _sha(content).hex() for kind, content in DOCUMENTS.items()}
        return self.verifier.appraise(evidence, self.nonce, _sha(PLAN), documents, tuple(IMAGES), plan_name="office")

    def second(self, evidence: Evidence) -> str:
        """Why the naive one refuses; empty where it does not."""
        expected = _registers()
        if dict(evidence.pcrs) != expected or evidence.further_banks:
            return "the registers are not those of what is accepted"
        pinned = PinnedQuotes(self.ak, SELECTION, {pcr: frozenset({value}) for pcr, value in expected.items()})
        return pinned.why_not(evidence.quote, evidence.signature, self.nonce, evidence.pcrs) or _log(evidence.event_log)


def _measured() -> list[tuple[int, int, bytes, bytes]]:
    """PCR, type, digest and data of every event that there must be."""
    labelled = [(b"vafw plan office", PLAN)]
    labelled += [(f"vafw {kind}".encode(), content) for kind, content in DOCUMENTS.items()]
    labelled += [(f"vafw image {name}".encode(), content) for name, content in IMAGES.items()]
    first = (17, 0x402, _sha(bytes(32) + _sha(SINIT + bytes(4))), SINIT + bytes(4))
    return [first, (18, 0x404, _sha(VMM), VMM), *((19, 13, _sha(content), label) for label, content in labelled)]


def _registers() -> dict[int, bytes]:
    values = {18: bytes(32), 19: bytes(32)}
    for pcr, _, value, _ in _measured():
        values[pcr] = value if pcr == 17 else _sha(values[pcr] + value)
    return values


def _log(data: bytes) -> str:
    """Why a log is not the one that must be there; its header is 65 bytes long."""
    at = 65
    if data[32:48] != b"Spec ID Event03\0":
        return "the log has no header"
    for pcr, event_type, value, told in _measured():
        head = struct.pack("<IIIH", pcr, event_type, 1, 11) + value + struct.pack("<I", len(told)) + told
        if data[at : at + len(head)] != head:
            return f"the log has another event at byte {at}"
        at += len(head)
    return "" if at == len(data) else "the log goes on"
