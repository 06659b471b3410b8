"""Services a policy may name without defining them (IANA, "Service Name and Transport Protocol Port Numbers")."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from vafw.traffic.packet import ICMP, ICMPV6, TCP, UDP, ServiceMatch


def _ports(protocol: int, *ports: int) -> ServiceMatch:
    return ServiceMatch(protocol, tuple((port, port) for port in ports))


def _both(*ports: int) -> tuple[ServiceMatch, ...]:
    return (_ports(UDP, *ports), _ports(TCP, *ports))


SERVICES: Final[Mapping[str, tuple[ServiceMatch, ...]]] = MappingProxyType(
    {
        "tcp": (ServiceMatch(TCP),),
        "udp": (ServiceMatch(UDP),),
        "icmp": (ServiceMatch(ICMP), ServiceMatch(ICMPV6)),
        "ping": (ServiceMatch(ICMP, icmp_types=(8,)), ServiceMatch(ICMPV6, icmp_types=(128,))),
        "dns": _both(53),
        "dns-over-tls": (_ports(TCP, 853), _ports(UDP, 853)),
        "http": (_ports(TCP, 80),),
        "https": (_ports(TCP, 443),),
        "quic": (_ports(UDP, 443),),
        "ssh": (_ports(TCP, 22),),
        "telnet": (_ports(TCP, 23),),
        "ftp": (_ports(TCP, 21),),
        "ntp": (_ports(UDP, 123),),
        "dhcp": (_ports(UDP, 67, 68),),
        "dhcpv6": (_ports(UDP, 546, 547),),
        "smtp": (_ports(TCP, 25),),
        "submission": (_ports(TCP, 587),),
        "submissions": (_ports(TCP, 465),),
        "imap": (_ports(TCP, 143),),
        "imaps": (_ports(TCP, 993),),
        "pop3": (_ports(TCP, 110),),
        "pop3s": (_ports(TCP, 995),),
        "ldap": _both(389),
        "ldaps": (_ports(TCP, 636),),
        "kerberos": _both(88),
        "smb": (_ports(TCP, 445),),
        "nfs": (_ports(TCP, 2049),),
        "rdp": _both(3389),
        "vnc": (_ports(TCP, 5900),),
        "syslog": (_ports(UDP, 514),),
        "snmp": (_ports(UDP, 161),),
        "mqtt": (_ports(TCP, 1883),),
        "mqtts": (_ports(TCP, 8883),),
        "ipp": (_ports(TCP, 631),),
        "mdns": (_ports(UDP, 5353),),
        "wireguard": (_ports(UDP, 51820),),
        "openvpn": _both(1194),
        "ipsec": (_ports(UDP, 500, 4500), ServiceMatch(50)),
        "postgresql": (_ports(TCP, 5432),),
        "mysql": (_ports(TCP, 3306),),
        "redis": (_ports(TCP, 6379),),
    }
)
"""Name, then the packets it means; a policy's own service of the same name takes its place."""
