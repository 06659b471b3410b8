"""The firewall guest as a router, with a host on each side that stands for all hosts there.

    inside hosts ──dgram── inside :firewall guest: outside ──dgram── gateway, and all behind it

The host of a side has one MAC address and answers every ARP request and neighbour solicitation with it. A marker
packet behind each frame says when the guest is done with it, as in `guest_bridge`; the answers of the guest to the
sender, such as rejections, have left by then too.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.provider.qemu.guest_bridge import PATIENCE_S, FirewallGuest, firewall_guest, is_marker
from tests.provider.qemu.office import home_plan
from tests.traffic.kernel_router import marker
from vafw.machine.report import Health
from vafw.trace import Value
from vafw.traffic import build
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite
from vafw.traffic.frame import ARP, IPV4, Frame, parse
from vafw.traffic.packet import ICMPV6
from vafw.traffic.rule import Ruleset

HOST_MACS: Final = {OUTSIDE: bytes.fromhex("02000000fffe"), INSIDE: bytes.fromhex("02000000fffd")}
Seen = dict[str, list[bytes]]
"""Frames that came out, by side."""


class GuestRouter:
    """The guest, to be fed one frame after the other."""

    def __init__(self, guest: FirewallGuest, router: Mapping[str, Any]) -> None:
        """`router` is its configuration but for the MAC addresses, which are the VM's."""
        self._guest = guest
        self._asked = False
        self.macs = {side: bytes.fromhex(guest.ports[side].replace(":", "")) for side in (OUTSIDE, INSIDE)}
        self.router: dict[str, Value] = {side: {"mac": guest.ports[side], **router[side]} for side in (OUTSIDE, INSIDE)}

    def configure(self, ruleset: Ruleset) -> Health:
        """Have it enforce a ruleset."""
        return self._guest.configure({"ruleset": ruleset.to_config(), "router": self.router})

    def report(self) -> Mapping[str, Any]:
        """What it says of itself."""
        return self._guest.report()

    def frame(self, side: str, packet: bytes) -> bytes:
        """A packet as the host of that side sends it."""
        kind = {4: b"\x08\x00", 6: b"\x86\xdd"}[packet[0] >> 4]
        return self.macs[side] + HOST_MACS[side] + kind + packet

    def feed(self, side: str, frame: bytes) -> Seen:
        """Put a frame in on one side; the frames that came out on both but for questions after neighbours.

        The second marker is for what the first one's poll kept back (generic receive offload), and there is one more
        for as long as the guest asks after neighbours: what it asks for them waits.
        """
        self._send(side, frame)
        seen: Seen = {OUTSIDE: [], INSIDE: []}
        rounds = 2
        while rounds:
            self._asked = False
            for each, frames in self.until_marker(side).items():
                seen[each] += frames
            rounds = 2 if self._asked else rounds - 1
        return seen

    def until_marker(self, side: str) -> Seen:
        """What comes out before a marker that goes in now on that side."""
        self._send(side, self.macs[side] + HOST_MACS[side] + IPV4.to_bytes(2, "big") + marker(side))
        seen: Seen = {OUTSIDE: [], INSIDE: []}
        while not any(map(is_marker, seen[opposite(side)])):
            for each in self._ready(PATIENCE_S):
                seen[each] += self._taken(each)
        for each in self._ready(0):
            seen[each] += self._taken(each)
        return {each: [frame for frame in frames if not is_marker(frame)] for each, frames in seen.items()}

    def _ready(self, patience_s: float) -> list[str]:
        ends = self._guest.ends
        ready, _, _ = select.select(list(ends.values()), [], [], patience_s)
        assert ready or not patience_s, f"the guest is silent: {self._guest.said}"
        return [side for side, end in ends.items() if end in ready]

    def _taken(self, side: str) -> list[bytes]:
        frame = self._guest.ends[side].recv(65536, socket.MSG_DONTWAIT)
        answer = answered(frame, HOST_MACS[side])
        if answer is not None:
            self._asked = True
            self._send(side, answer)
        return [] if answer is not None else [frame]

    def _send(self, side: str, frame: bytes) -> None:
        self._guest.ends[side].sendto(frame, self._guest.into[side])


def answered(frame: bytes, mac: bytes) -> bytes | None:
    """The answer to a question after a neighbour, whoever it is; None where the frame is none."""
    packet = parse(frame)
    if not isinstance(packet, Frame):
        return None
    if packet.ethertype == ARP:
        return build.arp_reply(frame, packet, mac)
    if packet.protocol == ICMPV6 and packet.icmp_type == 135:
        return build.neighbour_advertisement(frame, packet, mac)
    return None


@contextmanager
def guest_router(folder: Path, router: Mapping[str, Any]) -> Iterator[GuestRouter]:
    """A booted firewall guest of the shipped example that routes; its addresses are `router`'s."""
    with firewall_guest(folder, home_plan()) as guest:
        yield GuestRouter(guest, router)
