"""Altering something on purpose, to see the gate close: one flipped bit.

    appliance=NAME[:BIT]   the initramfs of one VM's image, as it is read
    kernel[:BIT]           the kernel that every VM boots, as it is read
    topology[:BIT]         the plan as it lies ready to be carried out, after it was measured

What runs the VMs, QEMU's own files, lies where the host keeps it, and is not altered by this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from vafw.errors import UsageError
from vafw.plan.plan import Plan
from vafw.provider.qemu.image import GuestImage

_FORM: Final = re.compile(r"(?P<part>appliance(?==)|kernel|topology)(?:=(?P<vm>[^:]+))?(?::(?P<bit>[0-9]+))?")


class Part(StrEnum):
    """What can be altered."""

    INITRAMFS = "appliance"
    KERNEL = "kernel"
    PLAN = "topology"


@dataclass(frozen=True, slots=True)
class Tamper:
    """One bit of one thing."""

    text: str
    """As it was asked for."""
    part: Part
    bit: int
    image: str = ""
    """The image, where it is an initramfs."""

    @classmethod
    def parse(cls, text: str, plan: Plan) -> Tamper:
        """What `--tamper` says; UsageError where it names nothing that can be altered here."""
        images = {vm.name: vm.image.name for vm in plan.vms}
        found = _FORM.fullmatch(text)
        if found is not None:
            part, bit = Part(found["part"]), int(found["bit"] or 0)
            if part is not Part.INITRAMFS and found["vm"] is None:
                return cls(text, part, bit)
            if part is Part.INITRAMFS and found["vm"] in images:
                return cls(text, part, bit, images[found["vm"]])
        raise UsageError(
            f"--tamper must be kernel, topology or appliance=NAME on the QEMU platform, each with :BIT or without, "
            f"with NAME one of {', '.join(images)}, not {text!r}"
        )

    def altered(self, image: GuestImage) -> GuestImage:
        """The image with its bit flipped, or as it is where it is not meant."""
        if self.part is Part.KERNEL:
            return replace(image, kernel=_flipped(image.kernel, self.bit))
        if self.part is Part.INITRAMFS and image.name == self.image:
            return replace(image, initramfs=_flipped(image.initramfs, self.bit))
        return image

    def altered_plan(self, staged: bytes) -> bytes:
        """The plan with its bit flipped, or as it is where it is not meant."""
        return _flipped(staged, self.bit) if self.part is Part.PLAN else staged


def _flipped(data: bytes, bit: int) -> bytes:
    altered = bytearray(data)
    altered[bit // 8 % len(altered)] ^= 1 << bit % 8
    return bytes(altered)
