"""What the components of the QEMU platform measure to on this host, for its reference values."""

from __future__ import annotations

from collections.abc import Iterable

from vafw.plan.plan import VmPlan
from vafw.provider.qemu.base import load_base
from vafw.provider.qemu.image import build_image
from vafw.provider.qemu.launch import Measurements, measure


def measure_installed(vms: Iterable[VmPlan]) -> Measurements:
    """The launcher, this host's QEMU, and the images of these VMs; PlatformUnable where one is not there."""
    base = load_base()
    return measure([build_image(vm, base) for vm in vms])
