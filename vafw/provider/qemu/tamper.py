"""Altering an image on purpose, to see the gate close: ``appliance=NAME[:BIT]``, one flipped bit of its initramfs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from vafw.errors import UsageError
from vafw.plan.plan import Plan
from vafw.provider.qemu.image import GuestImage

_FORM: Final = re.compile(r"appliance=(?P<vm>[^:]+)(?::(?P<bit>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class ImageTamper:
    """One bit of one image."""

    text: str
    """As it was asked for."""
    image: str
    bit: int

    @classmethod
    def parse(cls, text: str, plan: Plan) -> ImageTamper:
        """What `--tamper` says; UsageError where it names nothing that can be altered here."""
        images = {vm.name: vm.image.name for vm in plan.vms}
        found = _FORM.fullmatch(text)
        if found is None or found["vm"] not in images:
            raise UsageError(
                f"--tamper must be appliance=NAME[:BIT] on the QEMU platform, with NAME one of {', '.join(images)}, "
                f"not {text!r}"
            )
        return cls(text, images[found["vm"]], int(found["bit"] or 0))

    def altered(self, image: GuestImage) -> GuestImage:
        """The image with its bit flipped, or any other image as it is."""
        if image.name != self.image:
            return image
        data = bytearray(image.initramfs)
        data[self.bit // 8 % len(data)] ^= 1 << self.bit % 8
        return replace(image, initramfs=bytes(data))
