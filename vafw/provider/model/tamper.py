"""Tampering on purpose: which bit of which component is flipped, and when, to see the gate close.

`--tamper COMPONENT[:BIT]`, COMPONENT being one of ``vmm``, ``sinit``, ``lcp``, ``log``, ``topology``, ``launch`` or
``appliance=NAME``. Parts of the launch are altered in memory between the loader and SENTER, an image as it is read, the
topology after it was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from vafw.errors import UsageError
from vafw.plan.plan import Plan
from vafw.provider.model.image import Image
from vafw.provider.model.loader import LaunchComponent, Tamper

_TOPOLOGY: Final = "topology"
_APPLIANCE: Final = "appliance="
_DEFAULT_BIT: Final = 256
"""A bit in the middle of a JSON document or an archive's first file."""


@dataclass(frozen=True, slots=True)
class TamperPlan:
    """What is altered in one run."""

    text: str
    """As the person wrote it."""
    at_launch: Tamper | None = None
    image: str | None = None
    """Name of the image that is altered."""
    image_bit: int = _DEFAULT_BIT
    staged_plan_bit: int | None = None

    @classmethod
    def parse(cls, text: str, plan: Plan) -> TamperPlan:
        """Read ``COMPONENT[:BIT]``; UsageError names what there is."""
        component, _, number = text.partition(":")
        bit = _bit(component, number)
        if component.startswith(_APPLIANCE):
            name = component.removeprefix(_APPLIANCE)
            names = [vm.name for vm in plan.vms]
            if name not in names:
                raise UsageError(f"--tamper appliance= must name one of {', '.join(names)}, not {name!r}")
            return cls(text, image=plan.vm(name).image.name, image_bit=_DEFAULT_BIT if bit is None else bit)
        if component == _TOPOLOGY:
            return cls(text, staged_plan_bit=_DEFAULT_BIT if bit is None else bit)
        try:
            return cls(text, at_launch=Tamper(LaunchComponent(component), bit))
        except ValueError:
            raise UsageError(
                f"--tamper must name one of vmm, sinit, lcp, log, topology, launch or appliance=NAME, not {component!r}"
            ) from None

    def altered(self, image: Image) -> Image:
        """The image, with a bit flipped where it is the one to be altered."""
        if image.name != self.image:
            return image
        data = bytearray(image.data)
        data[self.image_bit // 8 % len(data)] ^= 1 << self.image_bit % 8
        return replace(image, data=bytes(data))


def _bit(component: str, number: str) -> int | None:
    if not number:
        return None
    if not number.isdecimal():
        raise UsageError(f"--tamper {component}: the bit must be a number, not {number!r}")
    return int(number)
