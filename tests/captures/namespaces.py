"""Network namespaces with programs in them: the real machines that captures and live tests talk between.

A `Site` is three namespaces on one host and touches nothing outside them:

    user  10.0.0.2 ──── router 10.0.0.1, dnsmasq ──── servers 198.51.100.10  203.0.113.20  192.168.1.10
          2001:db8:a::2        2001:db8:a::1                  2001:db8:b::10

The user's interface is a veth pair for a capture, and two taps with the modelled PC between them for a live test.
Needs root, iproute2, ethtool, dnsmasq, sshd and Python; every program is real, none is imitated.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USER_MAC: Final = "52:54:00:aa:00:01"
ROUTER_MAC: Final = "52:54:00:bb:00:01"
USER, ROUTER, SERVERS = (f"vafw-{each}-{os.getpid()}" for each in ("user", "router", "servers"))
UPLINK: Final = "lan0"
"""The router's interface towards the user."""
USER_LINK: Final = "eth0"
"""The user's interface."""

NAMES: Final = (
    "www.example.com,198.51.100.10,2001:db8:b::10",
    "news.example.org,203.0.113.20",
    "six.example.com,2001:db8:b::10",
    "printer.example.com,192.168.1.10",
    "ads.example.net,203.0.113.20,2001:db8:b::10",
    "tracker.example.org,198.51.100.10",
)
"""What dnsmasq answers; the last two are in the block list of policies/office-laptop."""

SERVER_LINKS: Final = (
    ("198.51.100.1/24", "198.51.100.10/24"),
    ("203.0.113.1/24", "203.0.113.20/24"),
    ("192.168.1.1/24", "192.168.1.10/24"),
    ("2001:db8:b::1/64", "2001:db8:b::10/64"),
)
"""Addresses of the router and of the servers, by network."""
NEEDED: Final = ("ip", "ethtool", "dnsmasq", "sshd", "ssh-keygen", "openssl", "curl", "dig", "ping")
SEARCH_PATH: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def missing() -> str:
    """Why a site cannot be had on this host, or an empty string."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [each for each in NEEDED if shutil.which(each, path=SEARCH_PATH) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    probed = f"vafw-probe-{os.getpid()}"
    probe = subprocess.run(["ip", "netns", "add", probed], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        return f"no network namespaces here: {probe.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", probed], check=True)
    return ""


@dataclass(frozen=True, slots=True)
class Namespace:
    """One network namespace, by name."""

    name: str

    def command(self, *words: str) -> list[str]:
        """The command line that runs `words` inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def attempt(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end, however it ends."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=timeout)

    def run(self, *words: str, check: bool = True, timeout: float = 60) -> str:
        """Run a program inside to its end; its standard output."""
        done = self.attempt(*words, timeout=timeout)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def ip(self, line: str) -> None:
        """Run one `ip` command, written as one line."""
        self.run("ip", *line.split())

    @contextmanager
    def running(self, *words: str, ready: str) -> Iterator[subprocess.Popen[str]]:
        """A program that runs inside until the block ends; the block begins when it has printed `ready`."""
        with subprocess.Popen(
            self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        ) as process:
            assert process.stdout is not None
            try:
                said: list[str] = []
                for line in process.stdout:
                    said.append(line)
                    if ready in line:
                        break
                else:
                    raise RuntimeError(f"{words[0]} ended before it was ready: {''.join(said)}")
                yield process
            finally:
                process.terminate()


@dataclass(frozen=True, slots=True)
class Site:
    """The three namespaces, with the router's and the servers' programs running."""

    user: Namespace
    router: Namespace
    servers: Namespace


def _namespaces(stack: ExitStack, names: Sequence[str]) -> Iterator[Namespace]:
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
        stack.callback(subprocess.run, ["ip", "netns", "delete", name], check=False)
        namespace = Namespace(name)
        namespace.ip("link set lo up")
        namespace.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")
        yield namespace


def _honest_checksums(namespace: Namespace, link: str) -> None:
    """Without this a capture shows checksums that no hardware ever filled in, and frames of 60 kB."""
    namespace.run("ethtool", "-K", link, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off")


def _link_servers(router: Namespace, servers: Namespace) -> None:
    router.ip(f"link add wan0 type veth peer name eth0 netns {servers.name}")
    for namespace, link in ((router, "wan0"), (servers, "eth0")):
        namespace.ip(f"link set {link} up")
        _honest_checksums(namespace, link)
    for ours, theirs in SERVER_LINKS:
        router.ip(f"address add {ours} dev wan0")
        servers.ip(f"address add {theirs} dev eth0")
    servers.ip("route add 10.0.0.0/24 via 198.51.100.1")
    servers.ip("-6 route add default via 2001:db8:b::1")
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


def address_user(user: Namespace, link: str) -> None:
    """Give the user's interface its MAC, addresses and default routes."""
    user.ip(f"link set {link} address {USER_MAC} up")
    _honest_checksums(user, link)
    user.ip(f"address add 10.0.0.2/24 dev {link}")
    user.ip(f"address add 2001:db8:a::2/64 dev {link} nodad")
    user.ip("route add default via 10.0.0.1")
    user.ip("-6 route add default via 2001:db8:a::1")


def address_router(router: Namespace, link: str) -> None:
    """Give the router's inner interface its MAC and addresses."""
    router.ip(f"link set {link} address {ROUTER_MAC} up")
    _honest_checksums(router, link)
    router.ip(f"address add 10.0.0.1/24 dev {link}")
    router.ip(f"address add 2001:db8:a::1/64 dev {link} nodad")


def join_user(user: Namespace, router: Namespace) -> None:
    """Join user and router by a veth pair, as a cable would."""
    router.ip(f"link add {UPLINK} type veth peer name {USER_LINK} netns {user.name}")
    address_router(router, UPLINK)
    address_user(user, USER_LINK)


def adopt_tap(namespace: Namespace, tap: str) -> None:
    """Move a tap that a program of the host holds open into a namespace."""
    subprocess.run(["ip", "link", "set", tap, "netns", namespace.name], check=True)


def resolver(router: Namespace) -> list[str]:
    """dnsmasq's command line: the names above, NXDOMAIN for the rest of their domains."""
    records = [f"--host-record={each}" for each in NAMES]
    zones = [f"--local=/{each}/" for each in ("com", "net", "org")]
    quiet = ("--keep-in-foreground", "--log-facility=-", "--no-resolv", "--no-hosts", "--conf-file=/dev/null")
    return ["dnsmasq", *quiet, "--user=root", "--pid-file", *records, *zones]


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A site whose user is not joined yet; keys and a resolv.conf go to `folder`. All of it ends with the block."""
    with ExitStack() as stack:
        user, router, servers = _namespaces(stack, (USER, ROUTER, SERVERS))
        _link_servers(router, servers)
        settings = Path("/etc/netns") / user.name
        settings.mkdir(parents=True, exist_ok=True)
        stack.callback(shutil.rmtree, settings)
        (settings / "resolv.conf").write_text("nameserver 10.0.0.1\noptions timeout:2 attempts:1\n")
        stack.enter_context(router.running(*resolver(router), ready="started"))
        program = str(Path(__file__).with_name("servers.py"))
        stack.enter_context(servers.running(sys.executable, program, str(folder), ready="serving"))
        yield Site(user, router, servers)
