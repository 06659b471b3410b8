"""Which accelerator runs the VMs: KVM only where a guest really booted under it, TCG everywhere else.

That /dev/kvm opens, and that QEMU says it runs, means nothing: there are hosts on which both hold and no guest executes
its first instruction. So one is booted, with no port and no device, until its first process serves. What came of it is
kept beside the images, for this boot of this host.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from vafw.errors import PlatformUnable
from vafw.plan.plan import Plan, VmPlan
from vafw.provider.qemu.argv import Boot, Places, command_line
from vafw.provider.qemu.base import images_folder
from vafw.provider.qemu.processes import VirtualMachine

TCG: Final = "tcg"
KVM: Final = "kvm"
PROBE_TIMEOUT_S: Final = 8.0
"""Ten times what a guest takes under a KVM that works."""
_DEVICE: Final = Path("/dev/kvm")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


async def choose(plan: Plan, boot: Boot, descriptors: tuple[int, int], places: Places) -> str:
    """The accelerator for this host; `boot` and `descriptors` are of a measured image of the plan."""
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return TCG
    kept, host = images_folder() / "accelerator.json", _BOOT_ID.read_text().strip()
    found = _kept(kept, host)
    if found is None:
        found = KVM if await _boots(plan, boot, descriptors, places) else TCG
        kept.write_text(json.dumps({"host": host, "accelerator": found}), encoding="utf-8")
    return found


def _kept(path: Path, host: str) -> str | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.get("host") != host:
        return None
    return KVM if kept.get("accelerator") == KVM else TCG


async def _boots(plan: Plan, boot: Boot, descriptors: tuple[int, int], places: Places) -> bool:
    command = command_line(plan, _alone(plan.vms[0]), boot, places, accelerator=KVM)
    machine = VirtualMachine("probe", command, descriptors, places)
    try:
        await machine.start(lambda line: None, boot_timeout_s=PROBE_TIMEOUT_S)
    except PlatformUnable:
        return False
    finally:
        await machine.end()
    return True


def _alone(vm: VmPlan) -> VmPlan:
    """A VM of that image with nothing to reach."""
    return replace(vm, name="probe", ports=(), functions=())
