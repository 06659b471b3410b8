"""Small clients that no packaged program covers: a connect scan, lone datagrams, QUIC-shaped datagrams, multicast.

python talk.py scan HOST PORTS | datagram HOST PORT... | quic HOST... | multicast GROUP PORT
"""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Sequence


def ports(text: str) -> Iterator[int]:
    """The ports of a list such as ``20-25,80``."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def family(host: str) -> socket.AddressFamily:
    """The address family of a literal address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def scan(host: str, listed: str) -> None:
    """Try to connect to each port and hang up at once."""
    for port in ports(listed):
        with socket.socket(family(host), socket.SOCK_STREAM) as tcp:
            tcp.settimeout(0.5)
            tcp.connect_ex((host, port))


def datagram(host: str, *listed: str) -> None:
    """One datagram to each port; what comes back (ICMP port unreachable, mostly) is not waited for."""
    for port in listed:
        with socket.socket(family(host), socket.SOCK_DGRAM) as udp:
            udp.sendto(b"\x1b" + bytes(47), (host, int(port)))


def quic(*hosts: str) -> None:
    """Long-header datagrams of 1200 bytes to UDP 443 (RFC 9000, "Long Header Packets"), and their answers."""
    for host in hosts:
        with socket.socket(family(host), socket.SOCK_DGRAM) as udp:
            udp.settimeout(2)
            for _ in range(3):
                initial = b"\xc0\x00\x00\x00\x01\x08" + secrets.token_bytes(8) + b"\x00\x00\x44\x9e"
                udp.sendto(initial.ljust(1200, b"\0"), (host, 443))
                udp.recv(2048)


def multicast(group: str, port: str) -> None:
    """One datagram to a group on the local network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.0.0.2"))
        udp.sendto(bytes(12), (group, int(port)))


def main(words: Sequence[str]) -> None:
    """Run the client that the first word names."""
    clients: dict[str, Callable[..., None]] = {"scan": scan, "datagram": datagram, "quic": quic, "multicast": multicast}
    clients[words[0]](*words[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
