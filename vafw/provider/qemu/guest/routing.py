"""Two ports joined by a router: the kernel forwards between two networks, translated, under the rules.

What the model's router does by leaving things out, a kernel has to be told: settings that keep it from believing what
neighbours say of routes, and a table of its own, the guard, with what holds whatever the rules are.

    prerouting   before everything: only frames to this router, no link-local and no group addresses, and sources only
                 from the side that leads back to them (RFC 3704), for both families
    input        neighbour discovery; echo requests from the inside
    forward      from one port to the other and never back out of the same
    output       neighbour discovery, echo replies, resets and errors that rules and hop limits call for; to and from
                 itself (lo) what its agent says

What differs from the model: the kernel asks for IPv6 neighbours with a link-local address, so that its ports have one;
it puts fragments together before the rules see them; an ICMP error that refuses a packet comes from the router, quotes
the packet with its hop taken, and comes at most as often as `icmp_ratelimit` lets it.

With several ways to the wire (`uplinks`) there is more than one side outside: a source of no network of the router's
may come in by any, one that a network holds only by its own card. What came in by a further card bears its mark, so
that a refusal goes back by it (`fwmark_reflect`). There is no flow table then: a flow would be led back into it by the
routing of its answers, which bear no mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, final

from vafw.provider.qemu.guest import interfaces
from vafw.provider.qemu.guest.packets import Listen
from vafw.provider.qemu.guest.uplinks import Watch, WaysOut, Words
from vafw.trace import Value
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE, uplink_port
from vafw.traffic.nftables.rendering import nftables_table
from vafw.traffic.nftables.statement import HEADER, address_set
from vafw.traffic.nftables.table import Table
from vafw.traffic.nftables.uplinks import uplink_mark
from vafw.traffic.reason import NOT_MINE, SPOOFED
from vafw.traffic.routed import Links
from vafw.traffic.rule import Ruleset

_NET: Final = Path("/sys/class/net")
_TRACKED: Final = Path("/proc/net/nf_conntrack")
_OFFLOADED: Final = b"[OFFLOAD]"
"""How the kernel marks a connection that its flow table passes."""
_UP: Final = 1
"""IFF_UP (netdevice(7))."""

_IPV4: Final = {
    "accept_redirects": 0,
    "secure_redirects": 0,
    "send_redirects": 0,
    "accept_source_route": 0,
    "rp_filter": 1,
    "log_martians": 0,
    "proxy_arp": 0,
    "arp_ignore": 1,
    "arp_announce": 2,
    "arp_accept": 0,
    "drop_gratuitous_arp": 1,
    "drop_unicast_in_l2_multicast": 1,
    "route_localnet": 0,
    "bootp_relay": 0,
}
_IPV6: Final = {
    "accept_ra": 0,
    "accept_redirects": 0,
    "accept_source_route": -1,
    "autoconf": 0,
    "accept_dad": 0,
    "dad_transmits": 0,
    "router_solicitations": 0,
    "addr_gen_mode": 0,
    "use_tempaddr": 0,
    "proxy_ndp": 0,
    "ndisc_notify": 0,
    "drop_unicast_in_l2_multicast": 1,
    "drop_unsolicited_na": 1,
    "disable_ipv6": 0,
    "forwarding": 1,
}
_WHOLE_STACK: Final = {
    "ipv4/icmp_echo_ignore_broadcasts": 1,
    "ipv4/icmp_ignore_bogus_error_responses": 1,
    "ipv4/icmp_errors_use_inbound_ifaddr": 1,
    "ipv4/fwmark_reflect": 1,
    "ipv6/fwmark_reflect": 1,
    "ipv4/conf/all/forwarding": 1,
}
"""Settings by interface, and of the whole stack (Linux documentation, "IP Sysctl")."""


@final
class Router:
    """The way between the network inside and those outside."""

    closed = frozenset({("vafw", "forward"), *(("guard", each) for each in ("input", "forward", "output"))})

    def __init__(self, config: Value, listen: Listen, log: Callable[[str], None]) -> None:
        """`config` is the plan's ``router``; ValueError says what is wrong with it."""
        self._config = config
        self._listen, self._log = listen, log
        self._links = Links.from_config(config)
        self._by_port = dict(sorted(self._links.by_port().items(), key=lambda each: each[0] == INSIDE))
        """In the order in which the cards are switched on: the kernel has only the first of them ready at once."""
        self._ways = WaysOut(self._links)
        self._watch: Watch | None = None
        for port in self._by_port:
            if not (_NET / port).exists():
                raise ValueError(f"router must have no more links than the VM has cards, and there is no {port}")
            found = (_NET / port / "address").read_text().strip()
            if bytes.fromhex(found.replace(":", "")) != self._by_port[port].mac:
                raise ValueError(f"router.{port}.mac must be that of the VM's card, which is {found}")
        interfaces.load_modules("router")

    def accepts(self, config: Mapping[str, Value]) -> None:
        """The same router only: addresses change with a new start."""
        if config.get("router") != self._config:
            raise ValueError("router must stay as it was when the guest began")

    def table(self, ruleset: Ruleset) -> Table:
        """The rules of family inet, one by one: verdict maps are cut by what is not in a guest."""
        return nftables_table(
            ruleset,
            inside=INSIDE,
            outside=OUTSIDE,
            family="inet",
            own=self._links.own_addresses(),
            further={uplink_port(at): link.marks for at, link in enumerate(self._links.further, start=1)},
            layout="flat",
        )

    def guard(self) -> str:
        """The router's own table."""
        return guard_text(self._links)

    def join(self) -> None:
        """Set the stack up, then switch both ports on; forwarding last."""
        several = bool(self._links.further)
        v4 = _IPV4 | {"rp_filter": 0} if several else _IPV4
        for name in ("all", "default", *self._by_port):
            for family, settings in (("ipv4", v4), ("ipv6", _IPV6)):
                for key, value in settings.items():
                    interfaces.write(f"/proc/sys/net/{family}/conf/{name}/{key}", str(value))
        for port, link in self._by_port.items():
            interfaces.up(port)
            for each in link.addresses:
                interfaces.run("ip", f"-{each.version}", "addr", "add", str(each), "dev", port)
        for words in self._ways.begin() if several else _first_way(self._links):
            interfaces.run("ip", *words)
        for key, value in _WHOLE_STACK.items():
            interfaces.write(f"/proc/sys/net/{key}", str(value))
        if several:
            self._watch = Watch(self._links.uplinks, self._listen, self._changed)

    def due_in_s(self) -> float | None:
        """Seconds until next hops are to be asked whether they are there."""
        return None if self._watch is None else self._watch.due_in_s()

    def act(self) -> None:
        """Ask them."""
        if self._watch is not None:
            self._watch.act()

    def fault(self) -> str:
        """Whether both ports are up and packets are forwarded."""
        down = [each for each in self._by_port if not int((_NET / each / "flags").read_text(), 16) & _UP]
        forwarding = Path("/proc/sys/net/ipv4/conf/all/forwarding").read_text().strip()
        if down or forwarding != "1":
            return f"the router must forward between its ports, and {' and '.join(down) or 'forwarding'} is down"
        return ""

    def forget_denied(self, ruleset: Ruleset) -> int:
        """The side of a connection is where its source is to be found: nothing else gets past the guard."""
        from vafw.provider.qemu.guest.tracked import forget_denied  # deferred: the engine is needed at a change only

        return forget_denied(ruleset, own=self._links.own_addresses(), side_of=self._links.side_of)

    def report(self, ruleset: Ruleset) -> Mapping[str, Value]:
        """How many connections the flow table passes, and which uplinks are up, where there are such things."""
        if self._watch is not None:
            return {"router": {"uplinks": self._watch.report()}}
        if not ruleset.offload:
            return {}
        return {"flowtable": {"offloaded": _TRACKED.read_bytes().count(_OFFLOADED)}}

    def _changed(self, gone: tuple[int, ...], news: str) -> None:
        """Lead packets by what is up now, and forget what left by what is not."""
        from vafw.provider.qemu.guest.tracked import forget_ending_at  # deferred, as above

        assert self._watch is not None, "only what is watched changes"
        for words in self._ways.change(self._watch.is_up):
            interfaces.run("ip", *words)
        forgotten = forget_ending_at([host for at in gone for host in self._links.uplinks[at].own()]) if gone else 0
        self._log(f"{news}; {forgotten} connections begin anew" if forgotten else news)


def guard_text(links: Links) -> str:
    """Text for ``nft -f`` that replaces the guard."""
    return "table inet guard\ndelete table inet guard\n\ntable inet guard {\n" + "\n".join(_chains(links)) + "\n}\n\n"


def _chains(links: Links) -> Iterator[str]:
    outer = [uplink_port(at) for at in range(len(links.uplinks))]
    outside = _named(outer)
    discovery = "ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
    own = {version: _own(links, version) for version in (4, 6)}
    yield from _chain(
        "prerouting",
        "type filter hook prerouting priority -310; policy accept;",  # after fragments are put together (-400)
        'iifname "lo" accept',
        f"iifname != {_named([*outer, INSIDE])} drop",
        discovery,
        *(
            f'{each} counter drop comment "{NOT_MINE}"'
            for each in (
                "meta pkttype != host",
                "ip daddr { 169.254.0.0/16, 224.0.0.0/3 }",
                "ip saddr 169.254.0.0/16",
                "ip6 daddr { fe80::/10, ff00::/8 }",
                "ip6 saddr fe80::/10",
            )
        ),
        *(_sources(links) if links.further else (f"fib saddr . iif oif missing {_FORGED}",)),
    )
    yield from _chain(
        "input",
        "type filter hook input priority filter; policy drop;",
        'iifname "lo" accept',
        discovery,
        *(
            f'iifname "{INSIDE}" {header} daddr {{ {", ".join(own[version])} }} {kind} type echo-request accept'
            for version, header, kind in ((4, "ip", "icmp"), (6, "ip6", "icmpv6"))
            if own[version]
        ),
    )
    yield from _chain(
        "forward",
        "type filter hook forward priority filter + 10; policy drop;",  # after the rules
        f'iifname "{INSIDE}" oifname {outside} accept',
        f'iifname {outside} oifname "{INSIDE}" accept',
    )
    yield from _chain(
        "output",
        "type filter hook output priority filter; policy drop;",
        'oifname "lo" accept',
        discovery,
        "icmp type echo-reply accept",
        "icmpv6 type echo-reply accept",
        "tcp flags & rst == rst accept",
        "icmp type destination-unreachable icmp code { frag-needed, admin-prohibited } accept",
        "icmp type time-exceeded icmp code 0 accept",
        "icmpv6 type destination-unreachable icmpv6 code admin-prohibited accept",
        "icmpv6 type packet-too-big accept",
        "icmpv6 type time-exceeded icmpv6 code 0 accept",
    )


def _chain(name: str, hook: str, *rules: str) -> Iterator[str]:
    yield f"\tchain {name} {{"
    yield f"\t\t{hook}"
    yield from (f"\t\t{each}" for each in rules)
    yield "\t}"


_FORGED: Final = f'counter drop comment "{SPOOFED}"'


def _sources(links: Links) -> Iterator[str]:
    """As `Links.may_come_from`: a source that a link holds comes in there, any other by an uplink.

    An uplink's own address is answered by that uplink, so that an answer to it comes by no other.
    """
    for version, header in HEADER.items():
        if own := _own(links, version):
            yield f"{header} saddr {{ {', '.join(own)} }} {_FORGED}"
        for port, link in links.by_port().items():
            held = AddressSet.of(each.network for each in link.addresses).ranges(version)
            if held:
                yield f'iifname != "{port}" {header} saddr {address_set(held, version)} {_FORGED}'
            if port == INSIDE:
                other = f"{header} saddr != {address_set(held, version)}" if held else f"meta nfproto ipv{version}"
                yield f'iifname "{port}" {other} {_FORGED}'
            elif here := [str(each.ip) for each in link.addresses if each.version == version]:
                yield f'iifname != {{ "{port}", "{INSIDE}" }} {header} daddr {{ {", ".join(here)} }} counter drop'
    for at in range(1, len(links.uplinks)):
        yield f'iifname "{uplink_port(at)}" meta mark set {uplink_mark(at):#x}'


def _named(ports: Sequence[str]) -> str:
    quoted = [f'"{each}"' for each in ports]
    return quoted[0] if len(quoted) == 1 else f"{{ {', '.join(quoted)} }}"


def _own(links: Links, version: int) -> list[str]:
    addresses = (each for link in (*links.uplinks, links.inside) for each in link.addresses)
    return [str(each.ip) for each in addresses if each.version == version]


def _first_way(links: Links) -> Iterator[Words]:
    """The default routes of a router with one uplink."""
    for version, address in links.outside.gateways:
        gateway = str((IPv4Address if version == 4 else IPv6Address)(address))
        yield (f"-{version}", "route", "add", "default", "via", gateway, "dev", OUTSIDE)
