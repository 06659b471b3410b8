"""Makes the captures: real programs between real network stacks, recorded by tcpdump on the user's interface.

    sudo .venv/bin/python -m tests.captures.make_captures

writes policies/office-laptop/captures/office.pcap (the shipped one: some hundred frames, everything once) and
tests/captures/office-10k.pcap.gz (more than 10,000 frames: the same, and much more browsing). Nothing leaves the
namespaces of `namespaces.py`. Only frames that no well-behaved program sends (VLAN tags, malformed headers) are built
by scapy, and they too are sent through a real interface by AF_PACKET. Two runs differ in ports, times and keys; what
tests may rely on is in README.md beside this file, and in test_captures.py, which holds it.
"""

from __future__ import annotations

import gzip
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.captures.namespaces import USER_LINK, Site, join_user, missing, site

ROOT: Final = Path(__file__).resolve().parents[2]
OFFICE: Final = ROOT / "policies/office-laptop/captures/office.pcap"
OFFICE_10K: Final = Path(__file__).with_name("office-10k.pcap.gz")
ODD_FRAMES: Final = "tests.captures.odd_frames"
TALK: Final = str(Path(__file__).with_name("talk.py"))
BLOCKED: Final = ("ads.example.net", "tracker.example.org")
CURL: Final = ("curl", "-sk", "--max-time", "10", "-o", "/dev/null")


def resolve(site: Site) -> None:
    """Names that exist, names that do not, blocked names; over UDP and TCP, IPv4 and IPv6."""
    for name in ("www.example.com", *BLOCKED, "no-such-name.example.com"):
        for kind in ("A", "AAAA"):
            site.user.run("dig", "+short", name, kind)
    site.user.run("dig", "+short", "@2001:db8:a::1", "six.example.com", "AAAA")
    site.user.run("dig", "+short", "@2001:db8:a::1", "ADS.example.NET", "A")
    site.user.run("dig", "+tcp", "+short", "www.example.com", "A")
    site.user.run("dig", "+tcp", "+short", "tracker.example.org", "A")
    site.user.run("dig", "+short", "example.com", "MX")


def browse(site: Site) -> None:
    """Pages over HTTP and HTTPS, IPv4 and IPv6; one from a blocked name, one from the LAN, one closed port."""
    site.user.run(*CURL, "http://www.example.com/", "http://news.example.org/")
    site.user.run(*CURL, "-4", "http://www.example.com/big/20000")
    site.user.run(*CURL, "-6", "http://six.example.com/big/9000")
    site.user.run(*CURL, "-4", "https://www.example.com/")
    site.user.run(*CURL, "-6", "https://six.example.com/")
    site.user.run(*CURL, "http://ads.example.net/")
    site.user.run(*CURL, "http://printer.example.com/")
    site.user.run(*CURL, "http://www.example.com:8080/", check=False)


def log_in(site: Site) -> None:
    """SSH to the internet and to the LAN: a whole key exchange, then no way in."""
    options = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    for host in ("198.51.100.10", "192.168.1.10", "2001:db8:b::10"):
        site.user.run("ssh", *options, "-o", "ConnectTimeout=5", f"guest@{host}", check=False)


def ping(site: Site) -> None:
    """Echo requests both ways, and some too big for one frame, so that they come as fragments."""
    for host in ("10.0.0.1", "198.51.100.10", "2001:db8:b::10", "192.168.1.10"):
        site.user.run("ping", "-c", "2", "-i", "0.01", host)
    for host in ("198.51.100.10", "2001:db8:b::10"):
        site.user.run("ping", "-c", "2", "-i", "0.01", "-s", "4000", host)
    site.servers.run("ping", "-c", "2", "-i", "0.01", "10.0.0.2")
    site.servers.run("ping", "-c", "1", "-s", "4000", "10.0.0.2")
    site.router.run("ping", "-c", "2", "-i", "0.01", "2001:db8:a::2")
    site.user.run("ping", "-c", "1", "-t", "1", "-W", "1", "198.51.100.10", check=False)


def scan(site: Site) -> None:
    """A port scan of the user from outside, and one of the LAN by the user; TCP connects and UDP."""
    python = sys.executable
    site.servers.run(python, TALK, "scan", "10.0.0.2", "20-27,53,80,110,135,139,443,445,3389,5900,8080")
    site.servers.run(python, TALK, "scan", "2001:db8:a::2", "22,80,443")
    site.user.run(python, TALK, "scan", "192.168.1.10", "20-25,53,80,135,139,443,445,631,9100")
    site.servers.run(python, TALK, "datagram", "10.0.0.2", "161", "1900", "5353")


def datagrams(site: Site) -> None:
    """QUIC's port and shape, NTP, and the noise of a desktop on its own network."""
    python = sys.executable
    site.user.run(python, TALK, "quic", "198.51.100.10", "2001:db8:b::10")
    site.user.run(python, TALK, "datagram", "203.0.113.20", "123", "5060")
    site.user.run(python, TALK, "multicast", "224.0.0.251", "5353")
    site.user.run(python, TALK, "multicast", "239.255.255.250", "1900")


def odd(site: Site) -> None:
    """VLAN tags, other ethertypes and malformed headers, from both ends."""
    for namespace, link, side in ((site.user, USER_LINK, "user"), (site.router, "lan0", "wire")):
        namespace.run(sys.executable, "-m", ODD_FRAMES, link, side)


EVERYTHING: Final = (resolve, browse, log_in, ping, scan, datagrams, odd)


def browse_more(site: Site) -> None:
    """Enough pages, names and pings for ten thousand frames."""
    urls = [f"http://www.example.com/big/{size}" for size in range(50_000, 290_000, 6_000)]
    for url in urls:
        site.user.run(*CURL, "-4", url)
        site.user.run(*CURL, "-6", url.replace("www", "six").replace("000", "00"))
        site.user.run("dig", "+short", *(word for name in BLOCKED for word in (name, "A", name, "AAAA")))
        site.user.run(*CURL, "-4", "https://www.example.com/")
        site.user.run("ping", "-c", "3", "-i", "0.002", "198.51.100.10")


@contextmanager
def recorded(site: Site, capture: Path) -> Iterator[None]:
    """tcpdump on the user's interface while the block runs; the capture must be whole."""
    words = ("tcpdump", "-i", USER_LINK, "-w", str(capture), "-U", "-Z", "root", "-B", "65536", "--immediate-mode")
    with site.user.running(*words, ready="listening on") as tcpdump:
        yield
        site.user.run("ping", "-c", "1", "10.0.0.1")  # what was sent before it has been seen
        tcpdump.send_signal(signal.SIGINT)
        assert tcpdump.stdout is not None
        summary = tcpdump.stdout.read()
        if "0 packets dropped by kernel" not in summary:
            raise RuntimeError(f"the capture must be whole, not: {summary.strip()}")
        print(f"{capture.name}: {summary.split(' packets captured')[0].strip()} frames")


def main() -> None:
    """Make both captures."""
    if why := missing():
        raise SystemExit(f"captures cannot be made: {why}")
    with tempfile.TemporaryDirectory(prefix="vafw-captures-") as name:
        folder = Path(name)
        with site(folder) as made:
            join_user(made.user, made.router)
            with recorded(made, folder / "office.pcap"):
                for step in EVERYTHING:
                    step(made)
            with recorded(made, folder / "office-10k.pcap"):
                for step in (*EVERYTHING, browse_more, *EVERYTHING):
                    step(made)
        OFFICE.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "office.pcap", OFFICE)
        OFFICE_10K.write_bytes(gzip.compress((folder / "office-10k.pcap").read_bytes(), 9, mtime=0))


if __name__ == "__main__":
    main()
