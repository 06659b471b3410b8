"""A PC with VT-d under QEMU and Debian's Linux on it: its driver writes the tables, and its memory is taken out whole.

Nobody of this project wrote the driver or the remapping unit. The guest (`linux_guest`) makes devices issue DMA and
reports what the kernel logged; then the machine is stopped, and registers and memory are read from outside.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.hw.vtd import linux_guest
from vafw.provider.qemu.base import build_base, load_base
from vafw.provider.qemu.cpio import Entry, archive

UNIT: Final = 0xFED9_0000
CAP, ECAP, RTADDR, IRTA = 0x08, 0x10, 0x20, 0xB8
MEMORY_MIB: Final = 256
AVAILABLE: Final = shutil.which("qemu-system-x86_64") is not None and shutil.which("dpkg-deb") is not None
_INIT: Final = b"""#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
while read -r module; do /bin/busybox insmod "/modules/$module.ko"; done < /modules/devices
exec /usr/bin/python3.11 -S -s -B /linux_guest.py
"""


@dataclass(frozen=True, slots=True)
class LinuxPc:
    """What one boot left."""

    memory: Path
    """All RAM, from address 0."""
    registers: dict[int, int]
    """CAP, ECAP, RTADDR and IRTA by offset."""
    seen: dict[str, Any]
    """What the guest reported."""


def boot(folder: Path) -> LinuxPc:
    """Boot, wait for the guest's report, stop, and take memory and registers out; about ten seconds under TCG."""
    build_base()
    base = load_base()
    guest = {
        "init": Entry.file(_INIT, executable=True),
        "linux_guest.py": Entry.file(Path(linux_guest.__file__).read_bytes()),
    }
    (folder / "initrd").write_bytes(base.initramfs + archive(guest))
    (folder / "kernel").write_bytes(base.kernel)
    command = [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", str(MEMORY_MIB)),
        *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"),
        *("-kernel", str(folder / "kernel"), "-initrd", str(folder / "initrd")),
        *("-append", "console=ttyS0 quiet intel_iommu=on iommu.strict=1 iomem=relaxed pcie_port_pm=off panic=-1"),
        *("-device", "intel-iommu,intremap=on,caching-mode=on,aw-bits=48"),
        *("-device", "pcie-root-port,id=rp0,chassis=1,slot=1,addr=3.0"),
        *("-device", "pcie-root-port,id=rp1,chassis=2,slot=2,addr=4.0", "-netdev", "user,id=n0,restrict=on"),
        *("-device", "virtio-net-pci,netdev=n0,bus=rp0,iommu_platform=on,disable-legacy=on,romfile="),
        *("-device", f"edu,bus=rp1,dma_mask={(1 << 64) - 1:#x}"),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            return _observe(process, folder)
        finally:
            process.kill()


def _observe(process: subprocess.Popen[bytes], folder: Path) -> LinuxPc:
    console: list[str] = []
    assert process.stdout is not None
    for raw in process.stdout:
        console.append(raw.decode(errors="replace"))
        if (line := console[-1].strip()).startswith("SEEN "):
            break
    else:
        raise RuntimeError("Linux must report, and it ended:\n" + "".join(console[-30:]))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(300)
        connection.connect(str(folder / "qmp"))
        with connection.makefile("rw", encoding="utf-8") as stream:
            stream.readline()
            for each in ({"execute": "qmp_capabilities"}, {"execute": "stop"}):
                _ask(stream, each)
            registers = {offset: _register(stream, offset) for offset in (CAP, ECAP, RTADDR, IRTA)}
            memory = folder / "memory"
            arguments = {"val": 0, "size": MEMORY_MIB << 20, "filename": str(memory)}
            _ask(stream, {"execute": "pmemsave", "arguments": arguments})
    return LinuxPc(memory, registers, json.loads(line.removeprefix("SEEN ")))


def _register(stream: Any, offset: int) -> int:
    line = f"xp /1gx {UNIT + offset:#x}"
    answer = _ask(stream, {"execute": "human-monitor-command", "arguments": {"command-line": line}})
    return int(answer.split(":")[1], 16)


def _ask(stream: Any, request: dict[str, Any]) -> Any:
    stream.write(json.dumps(request) + "\n")
    stream.flush()
    while True:
        answer = json.loads(stream.readline())
        if "return" in answer:
            return answer["return"]
        if "error" in answer:
            raise RuntimeError(f"{request['execute']} must succeed: {answer['error']['desc']}")
