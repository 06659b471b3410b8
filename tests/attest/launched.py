"""A machine that was launched, for the verifier's tests: a TPM, the log of its launch, and what was expected of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from vafw.attest.evidence import Evidence, RootOfTrust
from vafw.attest.key import AttestationKey
from vafw.attest.reference import AcceptedValue, ReferenceValues
from vafw.attest.result import AttestationResult
from vafw.attest.verifier import Verifier
from vafw.clock import ManualClock
from vafw.hw.tpm import Tpm
from vafw.tcg import LAUNCH_PCRS, LAUNCH_SELECTION, SHA1, SHA256, Event, EventType, encode_log
from vafw.tcg.algorithms import digest, hash_sequence_value

BANKS: Final = (SHA256, SHA1)
SINIT: Final = digest(SHA256, b"the SINIT module")
VMM: Final = b"the VMM"
PLAN: Final = b'{"name":"office"}'
DOCUMENTS: Final = {"topology": b"kind: topology", "policy": b"kind: policy"}
IMAGES: Final = {"firewall": b"the firewall", "desktop": b"the desktop"}


def random_bytes() -> Iterator[bytes]:
    """Different every time, the same in every run."""
    count = 0
    while True:
        count += 1
        yield hashlib.sha512(count.to_bytes(4, "big")).digest()


@dataclass
class Machine:
    """What was measured, in order, and where."""

    tpm: Tpm
    events: list[Event] = field(default_factory=list)
    root_of_trust: RootOfTrust = RootOfTrust.MODEL

    def hash_start(self, sinit: bytes, edx: bytes = bytes(4)) -> None:
        """The hash sequence of GETSEC[SENTER], and the events that SINIT logs first."""
        mapping, data = (1).to_bytes(4, "little"), sinit + edx
        self.tpm.hash_start()
        self.tpm.hash_data(data)
        self.tpm.hash_end()
        self.events.append(
            Event(255, EventType.TXT_PCR_MAPPING, {each: digest(each, mapping) for each in BANKS}, mapping)
        )
        values = {each: hash_sequence_value(each, data) for each in BANKS}
        self.events.append(Event(17, EventType.TXT_HASH_START, values, data))

    def extend(self, pcr: int, event_type: int, content: bytes, data: bytes) -> None:
        """Measure content, and log it with some data."""
        digests = {each: digest(each, content) for each in BANKS}
        self.tpm.extend(pcr, digests, 2)
        self.events.append(Event(pcr, event_type, digests, data))

    def evidence(self, nonce: bytes) -> Evidence:
        """What the machine hands over."""
        quote, signature = self.tpm.quote(nonce, LAUNCH_SELECTION)
        return Evidence(
            quote=quote,
            signature=signature,
            pcrs={pcr: self.tpm.read(pcr) for pcr in LAUNCH_PCRS},
            event_log=encode_log(self.events, BANKS),
            root_of_trust=self.root_of_trust,
            further_banks={SHA1: {pcr: self.tpm.read(pcr, SHA1) for pcr in LAUNCH_PCRS}},
        )


def powered_on() -> Machine:
    """No launch yet."""
    tpm = Tpm(BANKS, lambda length: bytes(range(length)))
    tpm.startup()
    return Machine(tpm)


def launched(
    *,
    sinit: bytes = SINIT,
    vmm: bytes = VMM,
    plan: bytes = PLAN,
    documents: Mapping[str, bytes] = DOCUMENTS,
    images: Mapping[str, bytes] = IMAGES,
) -> Machine:
    """The whole launch, as SINIT and the VMM do it."""
    machine = powered_on()
    machine.hash_start(sinit)
    for pcr, event_type, content in (
        (17, EventType.TXT_BIOSAC_REG_DATA, b"BIOS ACM registers"),
        (17, EventType.TXT_LCP_CONTROL_HASH, bytes(4)),
        (17, EventType.TXT_LCP_DETAILS_HASH, b"launch control policy data"),
        (18, EventType.TXT_SINIT_PUBKEY_HASH, b"modulus"),
        (18, EventType.TXT_LCP_CONTROL_HASH, bytes(4)),
        (18, EventType.TXT_OSSINITDATA_CAP_HASH, (0x627).to_bytes(4, "little")),
        (18, EventType.TXT_LCP_AUTHORITIES_HASH, b"policy hash"),
    ):
        machine.extend(pcr, event_type, content, content)
    machine.extend(17, EventType.TXT_MLE_HASH, vmm, b"")
    machine.extend(19, EventType.EV_IPL, plan, b"vafw plan office")
    for kind, content in documents.items():
        machine.extend(19, EventType.EV_IPL, content, f"vafw {kind}".encode())
    for name, content in images.items():
        machine.extend(19, EventType.EV_IPL, content, f"vafw image {name}".encode())
    return machine


def accepted(content: bytes) -> tuple[AcceptedValue, ...]:
    """One reference value."""
    return (AcceptedValue(digest(SHA256, content)),)


REFERENCE: Final = ReferenceValues(
    name="office",
    sinit=(AcceptedValue(SINIT),),
    vmm=accepted(VMM),
    images={name: accepted(content) for name, content in IMAGES.items()},
)


@dataclass
class Desk:
    """A verifier at work, and its clock."""

    machine: Machine
    reference: ReferenceValues = REFERENCE

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        stream = random_bytes()
        self.verifier = Verifier(
            self.reference, AttestationKey(self.machine.tpm.ak_area), self.clock, lambda length: next(stream)[:length]
        )

    def appraise(self, evidence: Evidence, nonce: bytes) -> AttestationResult:
        """Appraise for the plan that this page knows."""
        documents = {kind: digest(SHA256, content).hex() for kind, content in DOCUMENTS.items()}
        return self.verifier.appraise(
            evidence, nonce, digest(SHA256, PLAN), documents, tuple(IMAGES), plan_name="office"
        )

    def ask(self, **changes: object) -> AttestationResult:
        """Challenge, take evidence, change some of it on the way, appraise."""
        return self.ask_for(self.verifier.challenge(), **changes)

    def ask_for(self, nonce: bytes, **changes: object) -> AttestationResult:
        """The same for a challenge that was given already."""
        return self.appraise(replace(self.machine.evidence(nonce), **changes), nonce)  # type: ignore[arg-type]


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes with one bit the other way round."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
