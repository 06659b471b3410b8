"""What the components of the modelled PC measure to, and the launch control policy that an owner makes of it.

`vafw measure` writes these digests into reference values; a provider makes the policy in the TPM from the
reference values that a plan carries. The sources of VMM and SINIT are read here, from the installed
package, and handed on as bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import vafw
from vafw.hw.tpm.nv import LCP_OWNER_INDEX
from vafw.hw.tpm.tpm import Tpm
from vafw.hw.txt import model_key
from vafw.hw.txt.sinit_build import SigningKey, build_sinit
from vafw.provider.model.image import Image
from vafw.txt.acm import coverage_digest
from vafw.txt.lcp import POLICY_SIZE, Policy, PolicyData, policy_for
from vafw.vmm.archive import pack
from vafw.vmm.image import build_image, image_hash

MODEL_KEY: Final = SigningKey(model_key.MODULUS, model_key.PRIVATE_EXPONENT)
"""Signs the model's SINIT; the modelled chipset holds its hash."""
SINIT_VERSION: Final = 1
VMM_PARTS: Final = (
    "__init__.py", "address.py", "errors.py", "register.py", "trace.py", "wire.py",
    "tcg", "txt", "fabric", "hw", "vmm", "traffic",
    "provider/__init__.py", "provider/model/__init__.py", "provider/model/guest.py",
    "provider/model/network_port.py", "provider/model/ring_driver.py",
)  # fmt: skip
"""Parts of the package that the VMM's image holds: the VMM with what it stands on, the kernel that it gives every VM,
and the library that appliances decide with. An image carries the program that calls these and not what it calls, so
that without them a changed packet filter would run unseen."""
SINIT_PARTS: Final = (
    "hw/txt/sinit.py", "txt/lcp.py", "txt/lcp_elements.py", "txt/mle.py", "hw/txt/mle_pages.py", "hw/txt/heap.py",
)  # fmt: skip
"""Parts of the package that are the SINIT module's code."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """Digests of everything that a verifier holds against reference values; SHA-256, 32 bytes each."""

    sinit: bytes
    """The SINIT module's signed coverage."""
    vmm: bytes
    """The MLE hash."""
    images: Mapping[str, bytes]
    """By image name."""


def read_sources(parts: Iterable[str]) -> dict[str, bytes]:
    """The Python files of these parts of the installed package, by name relative to it."""
    root = Path(vafw.__file__).parent
    files: dict[str, bytes] = {}
    for part in parts:
        place = root / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else (place,):
            files[path.relative_to(root).as_posix()] = path.read_bytes()
    return files


def vmm_image(command_line: str = "") -> bytes:
    """The image of this vafw's VMM."""
    return build_image(read_sources(VMM_PARTS), command_line)


def sinit_module(version: int = SINIT_VERSION) -> bytes:
    """The SINIT module of this vafw, signed with the model's key; another `version` is an older one, once as valid."""
    return build_sinit(pack(read_sources(SINIT_PARTS)), MODEL_KEY, acm_version=version)


def measure(sinit: bytes, vmm: bytes, images: Iterable[Image]) -> Measurements:
    """What these components measure to."""
    return Measurements(coverage_digest(sinit), image_hash(vmm), {each.name: each.digest for each in images})


def measure_installed(images: Iterable[Image]) -> Measurements:
    """What this vafw's own VMM and SINIT, and these images, measure to."""
    return measure(sinit_module(), vmm_image(), images)


@dataclass(frozen=True, slots=True)
class Ownership:
    """What an owner leaves on a machine: the policy for its TPM, and the policy data for its memory."""

    policy: Policy
    data: PolicyData
    locked: bool = True
    """The policy can never be written again."""


def owner_policy(mle_hashes: Sequence[bytes]) -> Ownership:
    """An owner who accepts exactly these VMMs, launched by a SINIT that is not older than this vafw's."""
    policy, data = policy_for(mle_hashes)
    return Ownership(replace(policy, sinit_minimum=SINIT_VERSION), data)


def provision(tpm: Tpm, policy: Policy, *, locked: bool = True) -> None:
    """Take ownership: write the policy into the TPM's NV storage, and lock it for ever."""
    tpm.nv_define(LCP_OWNER_INDEX, POLICY_SIZE)
    tpm.nv_write(LCP_OWNER_INDEX, policy.encode())
    if locked:
        tpm.nv_lock(LCP_OWNER_INDEX)
