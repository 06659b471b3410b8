"""The firewall guest alone, with the frames that enter and leave it in our hands.

    this test ──dgram── outside :firewall guest: inside ──dgram── this test

What is under test is what runs in production: the image, Debian's kernel, nftables on a bridge. A marker packet sent
behind each frame, which the rules let pass, says when the guest is done with that frame.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tests.provider.qemu.office import office_plan
from tests.traffic.kernel_router import MARKER_PORT, marker
from vafw.machine.report import Health
from vafw.plan.plan import Plan, Port
from vafw.provider.qemu.argv import Boot, Places, command_line, far_end, mac_of
from vafw.provider.qemu.base import load_base
from vafw.provider.qemu.child import path_of, sealed
from vafw.provider.qemu.image import build_image
from vafw.provider.qemu.processes import VirtualMachine
from vafw.trace import Value
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite
from vafw.traffic.frame import IPV4
from vafw.traffic.rule import UDP, Ruleset

PATIENCE_S: Final = 10.0
_MACS: Final = {OUTSIDE: bytes.fromhex("02000000fffe"), INSIDE: bytes.fromhex("02000000fffd")}


class FirewallGuest:
    """A firewall's guest of some plan, and the far ends of its links."""

    def __init__(self, runner: asyncio.Runner, folder: Path, plan: Plan) -> None:
        firewall = plan.vm("firewall")
        places, image = Places(folder), build_image(firewall, load_base())
        ports = [Port("firewall", each) for each in firewall.ports]
        joined = {each: far for each in ports if (far := far_end(plan, each)) is not None}
        self._runner = runner
        self.ports = {port: mac_of(plan, Port("firewall", port)) for port in firewall.ports}
        self.into = {each.port: str(places.link_end(each)) for each in joined}
        self.ends = {each.port: _bound(places.link_end(far)) for each, far in joined.items()}
        self._descriptors = (sealed("kernel", image.kernel), sealed("initramfs", image.initramfs))
        kernel, initramfs = map(path_of, self._descriptors)
        boot = Boot(kernel, initramfs, image.command_line)
        command = command_line(plan, firewall, boot, places)
        self._machine = VirtualMachine("firewall", command, self._descriptors, places)
        self.said: list[str] = []

    def start(self) -> None:
        """Boot it."""
        self._runner.run(self._machine.start(self.said.append))

    def configure(self, config: Mapping[str, Value]) -> Health:
        """Give it a configuration, as the platform does."""
        return self._runner.run(self._machine.configure(config, self.ports))

    def report(self) -> Mapping[str, Any]:
        """What it says of itself."""
        answer: Any = self._runner.run(self._machine.request("report"))
        report: Mapping[str, Any] = answer["report"]
        return report

    def close(self) -> None:
        """End the VM, and let go of everything."""
        self._runner.run(self._machine.end())
        for each in self.ends.values():
            each.close()
        for descriptor in self._descriptors:
            os.close(descriptor)


class GuestBridge:
    """The guest, to be fed one frame after the other."""

    def __init__(self, guest: FirewallGuest) -> None:
        self._guest = guest
        self._ends, self._into = guest.ends, guest.into

    def configure(self, ruleset: Ruleset, **more: Value) -> Health:
        """Have it enforce a ruleset."""
        return self._guest.configure({"ruleset": ruleset.to_config(), **more})

    def report(self) -> Mapping[str, Any]:
        """What it says of itself."""
        return self._guest.report()

    def send(self, side: str, frame: bytes) -> None:
        """Put a frame in on one side, and wait for nothing."""
        self._ends[side].sendto(frame, self._into[side])

    def receive(self, side: str) -> bytes:
        """The next frame that comes out on one side."""
        return self._ends[side].recv(65536)

    def feed(self, side: str, frame: bytes) -> list[bytes]:
        """Put a frame in on one side; the frames that came out on the other.

        Segments of TCP that came in one poll are kept back until its end (generic receive offload), behind the marker:
        all came out that will only when a second marker did, which is another poll's.
        """
        self._ends[side].sendto(frame, self._into[side])
        return self._until_marker(side) + self._until_marker(side)

    def _until_marker(self, side: str) -> list[bytes]:
        """What comes out opposite `side` before a marker that goes in now."""
        header = _MACS[opposite(side)] + _MACS[side] + IPV4.to_bytes(2, "big")
        self._ends[side].sendto(header + marker(side), self._into[side])
        seen: list[bytes] = []
        while not is_marker(frame := self._ends[opposite(side)].recv(65536)):
            seen.append(frame)
        return seen


def is_marker(frame: bytes) -> bool:
    """Whether it is a marker packet."""
    return frame[12:14] == b"\x08\x00" and frame[23] == UDP and frame[36:38] == MARKER_PORT.to_bytes(2, "big")


@contextmanager
def firewall_guest(folder: Path, plan: Plan) -> Iterator[FirewallGuest]:
    """A booted firewall guest; `folder` must have a path short enough for sockets."""
    with ExitStack() as opened:
        guest = FirewallGuest(opened.enter_context(asyncio.Runner()), folder, plan)
        opened.callback(guest.close)
        guest.start()
        yield guest


@contextmanager
def guest_bridge(folder: Path) -> Iterator[GuestBridge]:
    """That of the shipped example."""
    with firewall_guest(folder, office_plan()) as guest:
        yield GuestBridge(guest)


def _bound(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    opened.bind(str(path))
    opened.settimeout(PATIENCE_S)
    return opened
