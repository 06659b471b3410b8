"""The launch control policy (LCP, version 3): which MLEs the owner of the TPM lets SINIT launch.

TXT SDG, "Launch Control Policy". The 70-byte policy sits in the TPM (NV index 0x01C10106), where only the
owner writes. It either allows anything (ANY) or holds the hash of a policy data file (LIST); the file lies
in ordinary memory, and is believed because it hashes to that value. In the file, lists (version 2.1) hold
elements (`lcp_elements`): accepted MLE hashes, and the platform configurations on which anything is accepted at all.

A list may be signed (RSASSA, RSA-2048 with SHA-256). The policy then holds the hash of the *key*, so that its
owner can publish new lists under the same policy; against old ones stands a revocation counter in each
list, which must not be below the policy's own.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from vafw.tcg.algorithms import SHA256
from vafw.txt.lcp_elements import (
    HASH_SIZE,
    Element,
    MleElement,
    PconfElement,
    PolicyFormatError,
    StaticPcrs,
    decode_element,
)

POLICY_SIZE: Final = 70
POLICY_VERSION: Final = 0x0300

_POLICY = struct.Struct("<HHBB8HIBBHIHH32s")
_FILE_SIGNATURE = b"Intel(R) TXT LCP_POLICY_DATA\0\0\0\0"
_FILE_HEADER = struct.Struct("<32s3sB")
_LIST = struct.Struct("<HHI")
_LIST_VERSION = 0x0201
_MAX_LISTS = 8
_UNSIGNED = 0x0010
_RSASSA = 0x0014
_SIGNATURE = struct.Struct("<HH")
_KEY_SIZE = 256
_LIST_KEY_EXPONENT = 65537
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_SHA256_MASK = 0x8
_RSA_2048_SHA256_MASK = 0x8


class PolicyType(IntEnum):
    """What a policy relies on."""

    LIST = 0
    ANY = 1


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy in the TPM."""

    type: PolicyType
    policy_hash: bytes = bytes(HASH_SIZE)
    """SHA-256 over the hashes of the lists; zeros for ANY."""
    sinit_minimum: int = 0
    """The least ACM version that may evaluate it."""
    control: int = 0
    hash_mask: int = _SHA256_MASK
    """Hash algorithms that elements may use; bit 3 is SHA-256."""
    signature_mask: int = _RSA_2048_SHA256_MASK
    """Signature algorithms that lists may use; bit 3 is RSA-2048 with SHA-256."""
    revocation_counters: tuple[int, ...] = (0,) * _MAX_LISTS
    """The least counter of each list, eight of them."""

    def encode(self) -> bytes:
        """The policy's 70 bytes."""
        return _POLICY.pack(
            POLICY_VERSION, SHA256, self.type, self.sinit_minimum, *self.revocation_counters, self.control, 0, 0,
            self.hash_mask, self.signature_mask, 0, 0, self.policy_hash,
        )  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> Policy:
        """Read the TPM's copy; PolicyFormatError says what must hold."""
        if len(data) != POLICY_SIZE:
            raise PolicyFormatError(f"a launch control policy must have {POLICY_SIZE} bytes, not {len(data)}")
        version, algorithm, kind, minimum, *rest = _POLICY.unpack(data)
        control, _, _, hash_mask, signature_mask, _, _, digest = rest[8:]
        if version >> 8 != POLICY_VERSION >> 8:
            raise PolicyFormatError(f"a launch control policy's version must be 3.x, not {version:#06x}")
        if algorithm != SHA256:
            raise PolicyFormatError(f"a launch control policy's hash must be SHA-256 (0x000b), not {algorithm:#06x}")
        if kind not in (PolicyType.LIST, PolicyType.ANY):
            raise PolicyFormatError(f"a launch control policy's type must be 0 (LIST) or 1 (ANY), not {kind}")
        return cls(PolicyType(kind), digest, minimum, control, hash_mask, signature_mask, tuple(rest[:8]))


@dataclass(frozen=True, slots=True)
class ListKey:
    """Whose key signs a list, and the list's revocation counter."""

    modulus: bytes
    """256 bytes, little-endian; the exponent is 65537."""
    revocation_counter: int


@dataclass(frozen=True, slots=True)
class PolicyList:
    """A list of elements, signed where it has a key."""

    elements: tuple[Element, ...]
    key: ListKey | None = None
    signature: bytes = b""
    """256 bytes, little-endian."""

    def encode(self) -> bytes:
        """The whole list."""
        return self.signed_part() + self.signature

    def signed_part(self) -> bytes:
        """What the signature covers: all of the list before it."""
        body = b"".join(element.encode() for element in self.elements)
        if self.key is None:
            return _LIST.pack(_LIST_VERSION, _UNSIGNED, len(body)) + body
        tail = _SIGNATURE.pack(self.key.revocation_counter, _KEY_SIZE) + self.key.modulus
        return _LIST.pack(_LIST_VERSION, _RSASSA, len(body)) + body + tail

    @property
    def authority(self) -> bytes:
        """What the policy's hash is made of: SHA-256 of the key, or of the whole list where nobody signed it."""
        return hashlib.sha256(self.key.modulus if self.key else self.encode()).digest()

    @property
    def authentic(self) -> bool:
        """Whether the signature, if there is one, holds (RFC 8017, "RSASSA-PKCS1-v1_5")."""
        if self.key is None:
            return True
        tail = _DIGEST_INFO + hashlib.sha256(self.signed_part()).digest()
        padded = b"\x00\x01" + b"\xff" * (_KEY_SIZE - 3 - len(tail)) + b"\x00" + tail
        modulus = int.from_bytes(self.key.modulus, "little")
        number = int.from_bytes(self.signature, "little")
        return number < modulus and pow(number, _LIST_KEY_EXPONENT, modulus) == int.from_bytes(padded, "big")


@dataclass(frozen=True, slots=True)
class PolicyData:
    """The policy data file."""

    lists: tuple[PolicyList, ...]

    def encode(self) -> bytes:
        """The file's bytes."""
        head = _FILE_HEADER.pack(_FILE_SIGNATURE, bytes(3), len(self.lists))
        return head + b"".join(each.encode() for each in self.lists)

    @property
    def policy_hash(self) -> bytes:
        """What the policy in the TPM must hold."""
        return hashlib.sha256(b"".join(one.authority for one in self.lists)).digest()

    @classmethod
    def decode(cls, data: bytes) -> PolicyData:
        """Read a file to its last byte; PolicyFormatError says what must hold."""
        if len(data) < _FILE_HEADER.size:
            raise PolicyFormatError(f"policy data must have at least {_FILE_HEADER.size} bytes, not {len(data)}")
        signature, reserved, count = _FILE_HEADER.unpack_from(data)
        if signature != _FILE_SIGNATURE or reserved != bytes(3):
            raise PolicyFormatError('policy data must begin with "Intel(R) TXT LCP_POLICY_DATA" and zeros')
        if not 1 <= count <= _MAX_LISTS:
            raise PolicyFormatError(f"policy data must hold 1 to {_MAX_LISTS} lists, not {count}")
        at = _FILE_HEADER.size
        lists = []
        for _ in range(count):
            one, at = _decode_list(data, at)
            lists.append(one)
        if at != len(data):
            raise PolicyFormatError(f"policy data must end with its last list at {at:#x}, not at {len(data):#x}")
        return cls(tuple(lists))


def _decode_list(data: bytes, at: int) -> tuple[PolicyList, int]:
    if at + _LIST.size > len(data):
        raise PolicyFormatError(f"a policy list must have {_LIST.size} bytes of head at {at:#x}")
    version, signature, size = _LIST.unpack_from(data, at)
    if version != _LIST_VERSION:
        raise PolicyFormatError(f"a policy list's version must be 2.1 (0x0201), not {version:#06x}")
    if signature not in (_UNSIGNED, _RSASSA):
        raise PolicyFormatError(
            f"a policy list must be unsigned (0x0010) or signed by RSASSA (0x0014), not {signature:#06x}"
        )
    at += _LIST.size
    end = at + size
    if end > len(data):
        raise PolicyFormatError(f"a policy list's elements must end within the data, not at {end:#x}")
    elements = []
    while at < end:
        element, at = decode_element(data, at, end)
        elements.append(element)
    if signature == _UNSIGNED:
        return PolicyList(tuple(elements)), at
    return _decode_signature(data, at, tuple(elements))


def _decode_signature(data: bytes, at: int, elements: tuple[Element, ...]) -> tuple[PolicyList, int]:
    key_at = at + _SIGNATURE.size
    end = key_at + 2 * _KEY_SIZE
    if end > len(data):
        raise PolicyFormatError(f"a policy list's signature must end within the data, not at {end:#x}")
    counter, key_size = _SIGNATURE.unpack_from(data, at)
    if key_size != _KEY_SIZE:
        raise PolicyFormatError(f"a policy list's key must have {_KEY_SIZE} bytes, not {key_size}")
    key = ListKey(data[key_at : key_at + _KEY_SIZE], counter)
    return PolicyList(elements, key, data[key_at + _KEY_SIZE : end]), end


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a policy says of one MLE."""

    allowed: bool
    component: str
    """``lcp`` where the policy itself is at fault, ``vmm`` where it does not accept the MLE."""
    reason: str
    expected: str = ""
    found: str = ""


def evaluate(
    policy: bytes, data: bytes, mle_hash: bytes, acm_version: int, static_pcrs: StaticPcrs | None = None
) -> Evaluation:
    """Hold an MLE hash against the policy in the TPM and the policy data in memory; never raises.

    `static_pcrs` are PCR 0 to 7; without them no platform configuration that a policy asks for is met.
    """
    try:
        held = Policy.decode(policy)
        if held.sinit_minimum > acm_version:
            reason = f"the launch control policy asks for SINIT version {held.sinit_minimum}"
            return Evaluation(False, "lcp", reason, str(held.sinit_minimum), str(acm_version))
        if held.type is PolicyType.ANY:
            return Evaluation(True, "lcp", "the launch control policy allows any MLE")
    except PolicyFormatError as error:
        return Evaluation(False, "lcp", error.message)
    try:
        found = PolicyData.decode(data)
    except PolicyFormatError as error:
        whole = hashlib.sha256(hashlib.sha256(data[_FILE_HEADER.size :]).digest())
        return Evaluation(False, "lcp", error.message, held.policy_hash.hex(), whole.hexdigest())
    if found.policy_hash != held.policy_hash:
        return Evaluation(
            False,
            "lcp",
            "the policy data in memory is not the one that the owner's policy in the TPM names",
            held.policy_hash.hex(),
            found.policy_hash.hex(),
        )
    return (
        _signatures(found, held)
        or _configuration(found, static_pcrs or {})
        or _match(found, held, mle_hash, acm_version)
    )


def _signatures(data: PolicyData, policy: Policy) -> Evaluation | None:
    """What is wrong with the lists' signatures, or None."""
    for number, (each, least) in enumerate(zip(data.lists, policy.revocation_counters, strict=False)):
        if each.key is None:
            continue
        if not (policy.signature_mask & _RSA_2048_SHA256_MASK and each.authentic):
            return Evaluation(False, "lcp", f"the signature of policy list {number} does not hold")
        if each.key.revocation_counter < least:
            reason = f"policy list {number} was revoked: its counter is below the policy's"
            return Evaluation(False, "lcp", reason, str(least), str(each.key.revocation_counter))
    return None


def _configuration(data: PolicyData, static_pcrs: StaticPcrs) -> Evaluation | None:
    """What is wrong with the platform's configuration, or None; nothing is where the policy asks for none."""
    accepted = [
        info
        for each in data.lists
        for element in each.elements
        if isinstance(element, PconfElement)
        for info in element.infos
    ]
    if not accepted or any(each.holds(static_pcrs) for each in accepted):
        return None
    reason = "PCR 0 to 7 are in no platform configuration that the launch control policy lists"
    return Evaluation(False, "lcp", reason, ", ".join(each.pcr_digest.hex() for each in accepted))


def _match(data: PolicyData, policy: Policy, mle_hash: bytes, acm_version: int) -> Evaluation:
    usable: list[bytes] = []
    for element in (element for each in data.lists for element in each.elements):
        if not isinstance(element, MleElement):
            continue
        if policy.hash_mask & _SHA256_MASK and element.sinit_minimum <= acm_version:
            usable += element.hashes
    if mle_hash in usable:
        return Evaluation(True, "lcp", "the launch control policy lists the MLE's hash")
    return Evaluation(
        False,
        "vmm",
        "the VMM in memory is none that the launch control policy lists",
        ", ".join(each.hex() for each in usable),
        mle_hash.hex(),
    )


def policy_for(mle_hashes: Sequence[bytes]) -> tuple[Policy, PolicyData]:
    """The owner's policy and policy data that accept exactly these MLE hashes (SHA-256)."""
    data = PolicyData((PolicyList((MleElement(tuple(mle_hashes)),)),))
    return Policy(PolicyType.LIST, data.policy_hash), data
