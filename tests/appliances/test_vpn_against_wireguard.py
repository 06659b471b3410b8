"""The VPN and a WireGuard that we did not write: `wireguard-go` in a namespace, a cable between it and the program."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

from tests.appliances.test_vpn import CONFIG, INNER_MAC, USER_MAC, from_user
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw_appliances.vpn.guest import Vpn, create
from vafw_appliances.vpn.noise import public_key

TOOLS = [each for each in ("ip", "wg", "wireguard-go", "ping", "ethtool") if shutil.which(each) is None]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.skipif(bool(TOOLS), reason=f"not installed: {', '.join(TOOLS)}"),
    pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="wireguard-go needs /dev/net/tun"),
]
NUMBERS = count()
PATIENCE_S = 10.0


def run(*words: str, text: str | None = None) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, input=text, timeout=20).stdout.strip()


class Cable:
    """The program with a user who answers pings, and its port `outside` in a real interface."""

    def __init__(self, wire: socket.socket, namespace: str, far_key: str) -> None:
        peer = {**CONFIG["tunnel"]["peers"][0], "public-key": far_key}
        router = {
            **CONFIG["router"],
            "outside": {**CONFIG["router"]["outside"], "addresses": ["198.51.100.2/24"], "gateway": []},
        }
        program = create({"router": router, "tunnel": {"addresses": [], "peers": [peer]}}, token_bytes)
        assert isinstance(program, Vpn)
        self.program = program
        self.echoes: list[Any] = []
        self.namespace = namespace
        self._wire = wire
        self._began_s = time.monotonic()

    def enter(self, port: str, frame: Any) -> None:
        """A frame, and what follows from it."""
        for leaves_by, out in self.program.handle(port, bytes(frame), time.monotonic() - self._began_s).emit:
            if leaves_by == OUTSIDE:
                self._wire.send(out)
            else:
                self._at_user(Ether(out))

    def _at_user(self, frame: Any) -> None:
        if ARP in frame:
            told = ARP(op=2, hwsrc=USER_MAC, psrc=frame.pdst, hwdst=INNER_MAC, pdst=frame.psrc)
            self.enter(INSIDE, Ether(src=USER_MAC, dst=INNER_MAC) / told)
        elif ICMP in frame:
            self.echoes.append(frame)
            if frame[ICMP].type == 8:
                reply = IP(src=frame[IP].dst, dst=frame[IP].src) / ICMP(type=0, id=frame[ICMP].id, seq=frame[ICMP].seq)
                self.enter(INSIDE, from_user(reply / bytes(frame[ICMP].payload)))

    def until_an_echo(self) -> Any:
        """Carry frames from the wire until the user has one."""
        end_s = time.monotonic() + PATIENCE_S
        while not self.echoes and time.monotonic() < end_s:
            try:
                frame, place = self._wire.recvfrom(65536)
            except TimeoutError:
                continue
            if place[2] != socket.PACKET_OUTGOING:
                self.enter(OUTSIDE, frame)
        return self.echoes[0]


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    private, name = run("wg", "genkey"), f"vw{os.getpid() % 100000}x{next(NUMBERS)}"
    try:
        run("ip", "netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
    inside = ("ip", "netns", "exec", name)
    tunnel = None
    try:
        run("ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        run("ip", "link", "set", f"{name}a", "up")
        run(*inside, "ip", "addr", "add", "198.51.100.7/24", "dev", f"{name}b")
        run(*inside, "ip", "link", "set", f"{name}b", "up")
        run(*inside, "ethtool", "-K", f"{name}b", "tx", "off")
        tunnel = subprocess.Popen(
            [*inside, "wireguard-go", "--foreground", f"{name}w"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end_s = time.monotonic() + PATIENCE_S
        while not Path(f"/var/run/wireguard/{name}w.sock").exists() and time.monotonic() < end_s:
            os.sched_yield()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
            wire.bind((f"{name}a", 0))
            wire.settimeout(0.2)
            made = Cable(wire, name, run("wg", "pubkey", text=private))
            key_file = tmp_path / "key"
            key_file.write_text(private)
            key_file.chmod(0o600)
            own = str(made.program.report()["public-key"])
            run(*inside, "wg", "set", f"{name}w", "listen-port", "51820", "private-key", str(key_file),
                "peer", own, "allowed-ips", "10.66.0.0/24", "endpoint", "198.51.100.2:51820")  # fmt: skip
            run(*inside, "ip", "addr", "add", "10.77.0.1/24", "dev", f"{name}w")
            run(*inside, "ip", "link", "set", f"{name}w", "up")
            run(*inside, "ip", "route", "add", "10.66.0.0/24", "dev", f"{name}w")
            yield made
    finally:
        if tunnel is not None:
            tunnel.terminate()
            tunnel.wait(10)
        subprocess.run(["ip", "link", "del", f"{name}a"], check=False, capture_output=True, timeout=20)
        run("ip", "netns", "del", name)


def test_a_handshake_that_we_begin_leads_to_an_answered_ping(cable: Cable) -> None:
    ping = IP(src="10.66.0.2", dst="10.77.0.1") / ICMP(id=77, seq=1) / b"through the tunnel"
    cable.enter(INSIDE, from_user(ping))
    echo = cable.until_an_echo()
    assert (echo[IP].src, echo[ICMP].type, echo[ICMP].id, bytes(echo[ICMP].payload)[:18]) == (
        "10.77.0.1", 0, 77, b"through the tunnel",
    )  # fmt: skip


def test_a_handshake_that_wireguard_begins_leads_to_an_answered_ping(cable: Cable) -> None:
    with subprocess.Popen(
        ["ip", "netns", "exec", cable.namespace, "ping", "-c", "1", "-W", "8", "10.66.0.2"],
        stdout=subprocess.PIPE,
        text=True,
    ) as ping:
        echo = cable.until_an_echo()
        out, _ = ping.communicate(timeout=PATIENCE_S)
    assert (echo[IP].src, echo[ICMP].type) == ("10.77.0.1", 8)
    assert "1 received" in out


def test_both_ends_derive_the_same_public_key() -> None:
    private = run("wg", "genkey")
    assert run("wg", "pubkey", text=private) == b64encode(public_key(b64decode(private))).decode()
