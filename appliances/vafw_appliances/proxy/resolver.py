"""Names to addresses, by a stub resolver's queries over UDP: one name at a time, asked anew for each request.

Nothing is kept: each request's query passes the DNS filter, which may have learnt a reason to refuse it, and tells the
firewall what the name stands for now. IPv4 addresses are asked for first, IPv6 ones where there are none.
An answer counts if it comes from the server that was asked, to the port and with the id that were drawn for it, and is
about that name (RFC 5452, section 9.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias, final

from vafw.traffic import build
from vafw.traffic.dns_answer import addresses_in
from vafw.traffic.host import names
from vafw.traffic.host.stack import Address, Arrival, Stack
from vafw.traffic.rule import UDP

Random: TypeAlias = Callable[[int], bytes]

PORT: Final = 53
TRIES_S: Final = (2.0, 4.0)
"""Seconds that an answer is waited for: the second query goes to the next resolver, where there is one."""
FIRST_PORT: Final = 49_152
"""IANA's first dynamic port."""
MOST_ADDRESSES: Final = 8
"""Addresses of a name that are of any use: each is tried only after the one before it has failed."""
_KINDS: Final = {4: names.A, 6: names.AAAA}


def drawn_port(random: Random) -> int:
    """A port that nobody can guess."""
    return FIRST_PORT + int.from_bytes(random(2), "big") % (65_536 - FIRST_PORT)


@final
class Lookup:
    """One name on its way to its addresses."""

    def __init__(self, name: str, versions: Sequence[int], now_s: float) -> None:
        self.name = name
        self.addresses: tuple[Address, ...] = ()
        self.failure = ""
        """Why there are none; empty where there are, or while nobody knows."""
        self.timed_out = False
        self.due_s = now_s
        self.server: Address | None = None
        self.port = self.number = 0
        self._versions = list(versions)
        self._tries = 0

    @property
    def is_over(self) -> bool:
        """Whether it is known what came of it."""
        return bool(self.addresses or self.failure)

    @property
    def kind(self) -> int:
        """The type of record asked for now."""
        return _KINDS[self._versions[0]]

    def next_try(self, now_s: float) -> int | None:
        """The number of the next query; None where there is to be none."""
        if self._tries == len(TRIES_S):
            self.failure, self.timed_out = "no resolver answers", True
            return None
        self.due_s = now_s + TRIES_S[self._tries]
        self._tries += 1
        return self._tries - 1

    def take(self, code: int, addresses: tuple[Address, ...], now_s: float) -> None:
        """An answer of the resolver."""
        if code == names.NAME_ERROR:
            self.failure = "the name does not exist"
        elif code != names.NO_ERROR:
            self.failure = "the resolver does not say what the name is"
        elif addresses:
            self.addresses = addresses[:MOST_ADDRESSES]
        elif len(self._versions) > 1:
            self._versions.pop(0)
            self._tries, self.due_s = 0, now_s
        else:
            self.failure = "the name has no address"


@final
class Resolver:
    """Asks for names, in the name of one host."""

    def __init__(self, stack: Stack, servers: Sequence[Address], random: Random) -> None:
        self._stack = stack
        self._servers = tuple(servers)
        self._random = random
        self._asked: list[Lookup] = []

    def ask(self, name: str, versions: Sequence[int], now_s: float) -> Lookup:
        """Begin to ask for a name's addresses of these IP versions."""
        lookup = Lookup(name, versions, now_s)
        if not versions or not self._reachable():
            lookup.failure = "there is no resolver"
            return lookup
        self._asked.append(lookup)
        self._ask(lookup, now_s)
        return lookup

    def forget(self, lookup: Lookup) -> None:
        """Nobody wants to know any more."""
        if lookup in self._asked:
            self._asked.remove(lookup)

    def advance(self, now_s: float) -> None:
        """It is `now_s`: ask again, or give up."""
        for lookup in tuple(self._asked):
            if lookup.due_s <= now_s:
                self._ask(lookup, now_s)

    def receive(self, arrival: Arrival, now_s: float) -> bool:
        """Take a datagram; whether it answers what was asked."""
        packet = arrival.packet
        if packet.protocol != UDP or packet.source_port != PORT:
            return False
        for lookup in self._waiting_at(packet.destination_port):
            message = names.read(arrival.data)
            if message is None or arrival.source != lookup.server or not message.is_response:
                continue
            if (message.number, message.name, message.kind) != (lookup.number, lookup.name, lookup.kind):
                continue
            found = addresses_in(arrival.data, lookup.name) if message.code == names.NO_ERROR else ()
            made = (IPv4Address(each.address) if each.version == 4 else IPv6Address(each.address) for each in found)
            wanted = 4 if lookup.kind == names.A else 6
            lookup.take(message.code, tuple(each for each in made if each.version == wanted), now_s)
            if not lookup.is_over:
                self._ask(lookup, now_s)
            else:
                self.forget(lookup)
            return True
        return False

    def _waiting_at(self, port: int) -> Iterator[Lookup]:
        yield from (each for each in tuple(self._asked) if each.port == port)

    def _reachable(self) -> list[Address]:
        return [each for each in self._servers if self._stack.source_for(each) is not None]

    def _ask(self, lookup: Lookup, now_s: float) -> None:
        at = lookup.next_try(now_s)
        if at is None:
            self.forget(lookup)
            return
        servers = self._reachable()
        server = lookup.server = servers[at % len(servers)]
        lookup.port, lookup.number = drawn_port(self._random), int.from_bytes(self._random(2), "big")
        own = self._stack.source_for(server)
        if own is not None:
            query = names.question(lookup.number, lookup.name, lookup.kind)
            self._stack.send(server, UDP, build.udp(int(own), int(server), lookup.port, PORT, query))
