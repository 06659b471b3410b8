"""Runs as the first process of the Linux that `linux_pc` boots: makes devices issue DMA, and says what the kernel saw.

A program of the guest, not of the tests: it stands in the initramfs and uses what Debian's Python has there.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import subprocess
import time
from pathlib import Path

DEVICES = Path("/sys/bus/pci/devices")
EDU, VIRTIO_NET = ("0x1234", "0x11e8"), ("0x1af4", "0x1041")
SOURCE, DESTINATION, COUNT, COMMAND = 0x80, 0x88, 0x90, 0x98
BUFFER = 0x4_0000
ATTEMPTS = ((0x10_0000, "read"), (0x20_0000, "write"), (0xFFFF_F000, "read"))


def find(ids: tuple[str, str]) -> Path:
    """The PCI function with this vendor and device."""
    return next(
        each
        for each in DEVICES.iterdir()
        if ((each / "vendor").read_text().strip(), (each / "device").read_text().strip()) == ids
    )


def enable(device: Path) -> None:
    """Memory space and bus mastering, as a driver would."""
    with (device / "config").open("r+b") as config:
        config.seek(4)
        config.write(b"\x06\x00")


def window(path: Path, length: int, offset: int = 0) -> mmap.mmap:
    """Registers of a device."""
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), length, offset=offset)


def dma(registers: mmap.mmap, iova: int, verb: str) -> None:
    """Make `edu` move 8 bytes, and wait until it has. It takes accesses of 8 bytes only, so no slices here."""
    words = memoryview(registers).cast("Q")
    write = verb == "write"
    for offset, value in (
        (SOURCE, BUFFER if write else iova),
        (DESTINATION, iova if write else BUFFER),
        (COUNT, 8),
        (COMMAND, 3 if write else 1),
    ):
        words[offset // 8] = value
    while words[COMMAND // 8] & 1:
        pass


def queues(nic: Path) -> list[list[int]]:
    """The device addresses (descriptors, driver, device area) of a virtio network card's first two queues."""
    config = (nic / "config").read_bytes()
    at = config[0x34]
    while config[at] != 9 or config[at + 3] != 1:
        at = config[at + 1]
    bar, offset = config[at + 4], int.from_bytes(config[at + 8 : at + 12], "little")
    common = window(nic / f"resource{bar}", 0x1000, 0)
    found = []
    for number in (0, 1):
        common[offset + 22 : offset + 24] = struct.pack("<H", number)
        found.append(list(struct.unpack("<QQQ", common[offset + 32 : offset + 56])))
    return found


def settle() -> None:
    """Let the kernel's fault handler run."""
    time.sleep(0.2)


def faults() -> list[str]:
    """What the kernel's VT-d driver logged of faults."""
    log = subprocess.run(["/bin/busybox", "dmesg"], capture_output=True, text=True, check=True).stdout
    return [line.partition("DMAR: ")[2] for line in log.splitlines() if "fault addr" in line]


def main() -> None:
    """Everything, then one line of JSON on the console."""
    edu, nic = find(EDU), find(VIRTIO_NET)
    subprocess.run(["/bin/busybox", "ip", "link", "set", "eth0", "up"], check=True)
    enable(edu)
    address = int((edu / "resource").read_text().split()[0], 16)
    registers = window(Path("/dev/mem"), 0x1000, address)
    for iova, verb in ATTEMPTS:
        dma(registers, iova, verb)
    settle()
    seen = {
        "edu": edu.name,
        "nic": nic.name,
        "queues": queues(nic),
        "dmar": Path("/sys/firmware/acpi/tables/DMAR").read_bytes().hex(),
        "groups": {
            each.name: (each / "iommu_group").resolve().name
            for each in sorted(DEVICES.iterdir())
            if (each / "iommu_group").exists()
        },
        "faults": faults(),
    }
    print(f"\nSEEN {json.dumps(seen)}", flush=True)
    while True:
        os.wait()


if __name__ == "__main__":
    main()
