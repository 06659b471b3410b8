"""The guest's network interfaces, found by their MAC address and named as the plan names its ports."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from vafw.trace import Value

_BUSYBOX: Final = "/bin/busybox"
_NET: Final = Path("/sys/class/net")
_TIMEOUT_S: Final = 20
_COUNTERS: Final = {
    "frames-in": "rx_packets",
    "bytes-in": "rx_bytes",
    "frames-out": "tx_packets",
    "bytes-out": "tx_bytes",
}


def name_ports(ports: Mapping[str, str]) -> None:
    """Give each interface the name of the port that its MAC address stands for; ValueError where one is missing."""
    found = {(each / "address").read_text().strip(): each.name for each in _NET.iterdir()}
    for port, mac in ports.items():
        if mac not in found:
            raise ValueError(f"the VM must have an interface with the address {mac} for its port {port}")
        run("ip", "link", "set", "dev", found[mac], "name", port)


def up(name: str) -> None:
    """Switch an interface on."""
    run("ip", "link", "set", "dev", name, "up")


def counted(names: Iterable[str]) -> dict[str, Value]:
    """Frames and bytes of each interface, as the kernel counted them: received and sent."""
    return {
        name: {key: int((_NET / name / "statistics" / counter).read_text()) for key, counter in _COUNTERS.items()}
        for name in names
    }


def keep_silent() -> None:
    """No interface that comes up from now on gets an IPv6 address of its own: an appliance has none on the path."""
    for scope in ("all", "default"):
        write(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6", "1")


def write(path: str, text: str) -> None:
    """Write a setting of the kernel."""
    Path(path).write_text(text)


def run(*words: str, text: str | None = None) -> str:
    """Run one of busybox's commands and return what it printed; CalledProcessError where it fails."""
    done = subprocess.run(
        [_BUSYBOX, *words], input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
    )
    return done.stdout


def load_modules(listed_in: str) -> None:
    """Load the kernel modules that a list in the image names, in its order."""
    for name in Path("/modules", listed_in).read_text().split():
        if not Path("/sys/module", name).exists():
            run("insmod", f"/modules/{name}.ko")
