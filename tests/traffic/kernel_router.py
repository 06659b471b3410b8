"""A Linux router in a network namespace, with the frames that enter and leave it in our hands.

    ends: inside0 ──veth── in0 :router: out0 ──veth── outside0 :ends

The far ends have no addresses, so nothing answers there; sockets on them put frames in and see what comes out. The
kernel forwards while `send` is still in its system call, and a marker packet sent behind each frame says when all of it
has been done: nothing sleeps, nothing is guessed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from vafw.traffic import build
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite
from vafw.traffic.frame import IPV4
from vafw.traffic.rule import UDP

ROUTER, ENDS = (f"vafw-{each}-{os.getpid()}" for each in ("router", "ends"))
"""Names of this process's own: two runs at a time do not meet."""
MARKER_PORT = 40404
MARKERS = {INSIDE: (0x0A0100FA, 0xCB0071FA), OUTSIDE: (0xCB0071FB, 0x0A0100FB)}
OUTGOING = 4
NETLINK_NETFILTER = 12

ROUTER_SYSCTL = [
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv4.conf.in0.rp_filter=0",
    "net.ipv4.conf.out0.rp_filter=0",
    "net.ipv4.conf.all.accept_source_route=0",
    "net.ipv6.conf.all.accept_ra=0",
    "net.ipv6.conf.in0.accept_dad=0",
    "net.ipv6.conf.out0.accept_dad=0",
]


def missing() -> str:
    """Why no kernel router can be had here; empty where it can."""
    if os.geteuid() != 0:
        return "a kernel router needs root"
    absent = [tool for tool in ("ip", "nft", "sysctl") if shutil.which(tool) is None]
    if absent:
        return f"a kernel router needs {absent[0]}"
    probed = f"vafw-probe-{os.getpid()}"
    probe = subprocess.run(["ip", "netns", "add", probed], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "del", probed], check=False, capture_output=True)
    return "" if probe.returncode == 0 else "network namespaces cannot be had here"


def run(*command: str, text: str | None = None) -> str:
    utc = {**os.environ, "TZ": "UTC"}  # nft reads times of day in its own time zone
    done = subprocess.run(command, check=False, capture_output=True, text=True, input=text, env=utc)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def in_router(*command: str, text: str | None = None) -> str:
    return run("ip", "netns", "exec", ROUTER, *command, text=text)


def forget_connections() -> None:
    """Empty the connection tracker of this network namespace (ctnetlink, IPCTNL_MSG_CT_DELETE without a tuple)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as tracker:
        header = struct.pack("=IHHII", 20, 1 << 8 | 2, 1 | 4, 1, 0)  # request, with acknowledgement
        tracker.send(header + struct.pack("=BBH", socket.AF_UNSPEC, 0, 0))
        answer = tracker.recv(4096)
    assert struct.unpack_from("=i", answer, 16)[0] == 0, "the connection tracker could not be emptied"


class KernelRouter:
    """The router, to be fed one frame after the other."""

    def __init__(self, sockets: dict[str, socket.socket], macs: dict[str, tuple[bytes, bytes]]) -> None:
        self._sockets = sockets
        self._macs = macs

    def load(self, ruleset: str) -> None:
        """Load rules in place of those before, and forget every connection."""
        in_router("nft", "-f", "-", text=ruleset)
        with inside_namespace(ROUTER):
            forget_connections()

    def listing(self) -> str:
        """What `nft list ruleset` says, counters included."""
        return in_router("nft", "list", "ruleset")

    def feed(self, side: str, frame: bytes) -> list[bytes]:
        """Put a frame in on one side; the frames that came out on the other while it was forwarded."""
        self._drain(opposite(side))
        header = b"".join(self._macs[side])
        self._sockets[side].send(header + frame[12:])
        self._sockets[side].send(header + IPV4.to_bytes(2, "big") + marker(side))
        return list(self._until_marker(opposite(side)))

    def _drain(self, side: str) -> None:
        """Forget what came before: answers of the kernel's own, such as rejections."""
        drained = self._sockets[side]
        patience = drained.gettimeout()
        drained.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                drained.recv(1)
        drained.settimeout(patience)

    def _until_marker(self, side: str) -> Iterator[bytes]:
        while True:
            frame, address = self._sockets[side].recvfrom(65536)
            if address[2] == OUTGOING or frame[0] & 1:  # a router says to groups which groups it listens to (MLD)
                continue
            if frame[36:38] == MARKER_PORT.to_bytes(2, "big") and frame[23] == UDP:
                return
            yield frame


def marker(side: str) -> bytes:
    source, destination = MARKERS[side]
    return build.ipv4(source, destination, UDP, build.udp(source, destination, 40000, MARKER_PORT, b"marker"))


def is_forwarded(seen: bytes, sent: bytes) -> bool:
    """Whether `seen` is what a router makes of `sent`, both without Ethernet header: one hop less, padding cut off."""
    addresses = 12 if sent[0] >> 4 == 4 else 8
    return len(seen) > 20 and seen[0] == sent[0] and sent[addresses:].startswith(seen[addresses:])


@contextmanager
def kernel_router(ruleset: str, *, inside: tuple[str, ...]) -> Iterator[KernelRouter]:
    """A router under these nftables rules; `inside` are the networks behind its inner interface."""
    remove()
    opened = ExitStack()
    try:
        build_namespaces(inside)
        in_router("nft", "-f", "-", text=ruleset)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        names = {INSIDE: ("inside0", "in0"), OUTSIDE: ("outside0", "out0")}
        with inside_namespace(ENDS):
            sockets = {side: opened.enter_context(packet_socket(end)) for side, (end, _) in names.items()}
        macs = {side: (mac(ROUTER, port), mac(ENDS, end)) for side, (end, port) in names.items()}
        yield KernelRouter(sockets, macs)
    finally:
        opened.close()
        remove()
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def remove() -> None:
    for name in (ROUTER, ENDS):
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def build_namespaces(inside: tuple[str, ...]) -> None:
    for name in (ROUTER, ENDS):
        run("ip", "netns", "add", name)
    for end, port in (("inside0", "in0"), ("outside0", "out0")):
        run("ip", "-n", ENDS, "link", "add", end, "type", "veth", "peer", "name", port, "netns", ROUTER)
        run("ip", "netns", "exec", ENDS, "sysctl", "-qw", f"net.ipv6.conf.{end}.disable_ipv6=1")
        run("ip", "-n", ENDS, "link", "set", end, "arp", "off", "up")
    in_router("sysctl", "-qw", *ROUTER_SYSCTL)
    run("ip", "-n", ROUTER, "link", "set", "lo", "up")
    for number, (end, port) in enumerate((("inside0", "in0"), ("outside0", "out0")), 1):
        run("ip", "-n", ROUTER, "addr", "add", f"198.18.{number}.1/24", "dev", port)
        run("ip", "-n", ROUTER, "link", "set", port, "up")
        run("ip", "-n", ROUTER, "addr", "add", f"fd00:1234:{number}::1/64", "dev", port, "nodad")
        lladdr = mac(ENDS, end).hex(":")
        for neighbour in (f"198.18.{number}.2", f"fd00:1234:{number}::2"):
            run("ip", "-n", ROUTER, "neigh", "add", neighbour, "lladdr", lladdr, "dev", port, "nud", "permanent")
    run("ip", "-n", ROUTER, "route", "add", "default", "via", "198.18.2.2", "dev", "out0")
    run("ip", "-n", ROUTER, "-6", "route", "add", "default", "via", "fd00:1234:2::2", "dev", "out0")
    for network in ("10.1.0.251/32", *inside):
        family, gateway = ("-6", "fd00:1234:1::2") if ":" in network else ("-4", "198.18.1.2")
        run("ip", "-n", ROUTER, family, "route", "add", network, "via", gateway, "dev", "in0")


def mac(namespace: str, interface: str) -> bytes:
    command = ["ip", "netns", "exec", namespace, "cat", f"/sys/class/net/{interface}/address"]
    return bytes.fromhex(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().replace(":", "")
    )


def packet_socket(interface: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    opened.bind((interface, 0))
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    opened.settimeout(10)
    return opened


@contextmanager
def inside_namespace(name: str) -> Iterator[None]:
    """Open sockets in another network namespace; the thread comes back afterwards."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open() as home, (Path("/run/netns") / name).open() as there:
        assert libc.setns(there.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), 0) == 0
