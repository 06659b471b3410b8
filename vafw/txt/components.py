"""The files of a machine that launches with TXT, and what each of them is measured as.

Digests are SHA-256. Nothing here is a secret and nothing is believed: a SINIT module whose signature does not hold, or
policy data that the policy does not name, is refused, because no processor and no SINIT would go on with it either.
"""

from __future__ import annotations

from dataclasses import dataclass

from vafw.tcg.algorithms import SHA256, digest
from vafw.txt.acm import AcmFormatError, SignedModule, read_signed
from vafw.txt.elf import loaded_image, unpacked
from vafw.txt.lcp import Policy, PolicyData, PolicyType
from vafw.txt.lcp_elements import PolicyFormatError
from vafw.txt.mle import MLE_UUID, MleFormatError, mle_hash


@dataclass(frozen=True, slots=True)
class Module:
    """What the launched environment measures and starts: a kernel, an initrd."""

    name: str
    command_line: str
    image: bytes
    """Unpacked, as the boot loader puts it into memory."""

    @property
    def digest(self) -> bytes:
        """H(H(command line) || H(image)), as tboot's verified launch has it; the line without its NUL."""
        return digest(SHA256, digest(SHA256, self.command_line.encode()), digest(SHA256, self.image))


@dataclass(frozen=True, slots=True)
class Components:
    """The components of one launch."""

    sinit: SignedModule
    mle: bytes
    """The MLE hash."""
    policy: Policy | None = None
    """The owner's launch control policy in the TPM; None where it was not given."""
    policy_data: bytes = b""
    """The policy data file, where the policy has lists."""
    modules: tuple[Module, ...] = ()


def read_sinit(data: bytes) -> SignedModule:
    """A SINIT module whose signature holds; AcmFormatError else."""
    module = read_signed(data)
    if not module.authenticates:
        raise AcmFormatError("the module's signature must hold; no processor starts it")
    return module


def hash_of_mle(data: bytes, command_line: str = "") -> bytes:
    """The MLE hash of an executable, packed with gzip or not, as `lcp2_mlehash` computes it; VafwError says why not."""
    image = loaded_image(unpacked(data))
    at = image.find(MLE_UUID)
    if at < 0:
        raise MleFormatError("the image must hold an MLE header, and nowhere in it is the UUID of one")
    return mle_hash(image, header_at=at, command_line=command_line)


def read_policy(policy: bytes, data: bytes = b"") -> Policy:
    """The owner's policy, which must name the data that come with it; PolicyFormatError else."""
    held = Policy.decode(policy)
    if held.type is PolicyType.LIST and data:
        found = PolicyData.decode(data).policy_hash
        if found != held.policy_hash:
            raise PolicyFormatError(
                f"the policy must name its data: it has {held.policy_hash.hex()}, not {found.hex()}"
            )
    elif data:
        raise PolicyFormatError("a policy that allows any MLE must come without policy data")
    return held


def read_module(name: str, data: bytes, command_line: str = "") -> Module:
    """A module as a boot loader that unpacks gzip puts it into memory."""
    return Module(name, command_line, unpacked(data))
