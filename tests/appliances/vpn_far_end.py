"""A far end for the VPN at the modelled wire: the same tunnel the other way round, and a small internet behind it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256
from ipaddress import ip_address

from vafw.provider.peer import PEER_MAC, Peer, Site
from vafw.traffic import build
from vafw.traffic.frame import IPV4, IPV6, Frame, parse
from vafw.traffic.packet import UDP
from vafw_appliances.vpn import noise
from vafw_appliances.vpn.guest import PORT
from vafw_appliances.vpn.noise import Identity
from vafw_appliances.vpn.tunnel import Tunnel

FAR_PRIVATE = sha256(b"road-warrior: the office's far end").digest()
FAR_ADDRESS = int(ip_address("198.51.100.7"))


def initiator_of(initiation: bytes) -> bytes:
    """The public key of who sent a handshake's first message to the far end: only the far end can read it."""
    chain, hash_ = noise._start(noise.public_key(FAR_PRIVATE))
    theirs, sealed = initiation[8:40], initiation[40:88]
    chain, hash_ = noise._kdf(chain, theirs, 1)[0], noise._digest(hash_ + theirs)
    _, key = noise._kdf(chain, noise._shared(FAR_PRIVATE, theirs), 2)
    static = noise._open(key, sealed, hash_)
    assert static is not None
    return static


def dice(seed: bytes) -> Callable[[int], bytes]:
    """Randomness that is the same each time."""
    state = [seed]

    def roll(count: int) -> bytes:
        state[0] = sha256(state[0]).digest()
        return (state[0] * 2)[:count]

    return roll


class FarEnd:
    """Answers ARP for the gateway as `Peer` does, and everything else through the tunnel alone."""

    def __init__(self, public_key: str = "") -> None:
        """Told the laptop's key, or taking that of the first who comes."""
        self.tunnel = self._tunnel(b64decode(public_key)) if public_key else None
        self.seen: list[bytes] = []
        """Frames of the wire."""
        self.carried: list[bytes] = []
        """Packets out of the tunnel."""
        self._wire = Peer()
        self._internet = Peer(Site(gateways=(ip_address("10.77.0.53"), ip_address("10.0.0.1"))))

    def handle(self, frame: bytes, now_s: float) -> list[bytes]:
        self.seen.append(frame)
        packet = parse(frame)
        if not (isinstance(packet, Frame) and packet.protocol == UDP and packet.destination == FAR_ADDRESS):
            return self._wire.handle(frame, now_s)
        datagram = frame[packet.payload : packet.end]
        if self.tunnel is None:
            self.tunnel = self._tunnel(initiator_of(datagram))
        plain, answers = self.tunnel.receive(datagram, now_s)
        out = list(answers)
        for each in self._answered(plain) if plain else ():
            out += self.tunnel.send(each, now_s)
        return [self._wrapped(frame, packet, each) for each in out]

    def _tunnel(self, peer: bytes) -> Tunnel:
        return Tunnel(Identity(FAR_PRIVATE, peer), dice(b"far"))

    def _answered(self, plain: bytes) -> list[bytes]:
        self.carried.append(plain)
        inner = build.ethernet(PEER_MAC, bytes.fromhex("020000000001"), IPV4 if plain[0] >> 4 == 4 else IPV6, plain)
        return [each[14:] for each in self._internet.handle(inner, 0.0)]

    def _wrapped(self, frame: bytes, packet: Frame, datagram: bytes) -> bytes:
        body = build.udp(packet.destination, packet.source, PORT, packet.source_port, datagram)
        return build.answer_header(frame, packet) + build.ipv4(packet.destination, packet.source, UDP, body)
