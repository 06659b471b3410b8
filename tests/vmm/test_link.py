"""Links: whatever two guests do with their rings, no frame is lost, doubled or overtaken, and lies are contained."""

from __future__ import annotations

import struct
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vafw.address import Gpa, Hpa
from vafw.errors import NoSuchObject
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.pci.ring import DESCRIPTOR_SIZE
from vafw.hw.vmx.ept import EptCapability
from vafw.trace import EventKind
from vafw.vmm.ept_tables import EptTables
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.guest_memory import GuestMemory
from vafw.vmm.port import RX_REGISTERS, TX_REGISTERS, LinkPort, RingFault
from vafw.vmm.record import Journal
from vafw.vmm.refusal import VmmError
from vafw.vmm.wiring import Wiring

SIZE = 0x20_0000
REGISTERS, RX_RING, TX_RING, RX_BUFFERS, TX_BUFFERS = 0x1000, 0x2000, 0x3000, 0x4_0000, 0x8_0000
BUFFER = 2048


class Guest:
    """A guest's side of a port: its own idea of its rings, kept in its own memory."""

    def __init__(self, host: PhysicalMemory, frames: FrameAllocator, name: str, number: int) -> None:
        tables = EptTables(host, frames)
        tables.map(Gpa(0), Hpa(0x100_0000 + number * SIZE), SIZE)
        self.memory = GuestMemory(host, tables.eptp, EptCapability())
        self.port = LinkPort(name, "inside", 0, 0x40, self.memory)
        self.tx_tail = self.rx_tail = self.rx_seen = 0
        self.entries = 0

    def open(self, entries: int) -> None:
        self.entries = entries
        for registers, ring in ((RX_REGISTERS, RX_RING), (TX_REGISTERS, TX_RING)):
            self.memory.write(REGISTERS + registers, struct.pack("<IIIII", ring, 0, entries, 0, 0))
        self.port.set_up(REGISTERS)

    def register(self, offset: int) -> int:
        return int.from_bytes(self.memory.read(REGISTERS + offset, 4), "little")

    def set_tail(self, ring: int, value: int) -> None:
        self.memory.write(REGISTERS + ring + 0x10, value.to_bytes(4, "little"))

    def describe(self, ring: int, index: int, address: int, length: int) -> None:
        self.memory.write(ring + index * DESCRIPTOR_SIZE, struct.pack("<QHHI", address, length, 0, 0))

    def can_send(self) -> bool:
        return (self.register(TX_REGISTERS + 0x0C) - self.tx_tail - 1) % self.entries > 0

    def can_post(self) -> bool:
        return (self.rx_seen - self.rx_tail - 1) % self.entries > 0

    def send(self, frame: bytes) -> None:
        place = TX_BUFFERS + self.tx_tail * BUFFER
        self.memory.write(place, frame)
        self.describe(TX_RING, self.tx_tail, place, len(frame))
        self.tx_tail = (self.tx_tail + 1) % self.entries
        self.set_tail(TX_REGISTERS, self.tx_tail)

    def post(self, capacity: int = BUFFER) -> None:
        self.describe(RX_RING, self.rx_tail, RX_BUFFERS + self.rx_tail * BUFFER, capacity)
        self.rx_tail = (self.rx_tail + 1) % self.entries
        self.set_tail(RX_REGISTERS, self.rx_tail)

    def collect(self) -> list[bytes]:
        found = []
        while self.rx_seen != self.register(RX_REGISTERS + 0x0C):
            raw = self.memory.read(RX_RING + self.rx_seen * DESCRIPTOR_SIZE, DESCRIPTOR_SIZE)
            address, length, status, _ = struct.unpack("<QHHI", raw)
            assert status == 1
            found.append(self.memory.read(address, length))
            self.rx_seen = (self.rx_seen + 1) % self.entries
        return found


def two_guests(entries: int = 8) -> tuple[Wiring, Journal, Guest, Guest]:
    host = PhysicalMemory(1 << 26)
    frames = FrameAllocator(Hpa(0x10_0000), 0x10_0000)
    journal = Journal()
    outer, inner = Guest(host, frames, "outer", 0), Guest(host, frames, "inner", 1)
    wiring = Wiring(journal)
    for guest in (outer, inner):
        guest.open(entries)
    wiring.wire("link", outer.port, inner.port)
    return wiring, journal, outer, inner


class LinkMachine(RuleBasedStateMachine):
    """Two guests that send, post, ring and collect in any order, with any sizes of rings and frames."""

    sides = st.sampled_from([0, 1])

    @initialize(entries=st.integers(2, 9))
    def begin(self, entries: int) -> None:
        self.wiring, self.journal, outer, inner = two_guests(entries)
        self.guests = (outer, inner)
        self.on_the_way: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self.number = 0

    @rule(side=sides, length=st.integers(1, BUFFER - 8), count=st.integers(1, 4))
    def send(self, side: int, length: int, count: int) -> None:
        guest = self.guests[side]
        for _ in range(count * guest.can_send()):
            if guest.can_send():
                self.number += 1
                frame = self.number.to_bytes(8, "big") + bytes([self.number & 0xFF]) * length
                guest.send(frame)
                self.on_the_way[side].append(frame)

    @precondition(lambda self: any(guest.can_post() for guest in self.guests))
    @rule(side=sides)
    def post(self, side: int) -> None:
        guest = self.guests[side]
        for _ in range(guest.can_post()):
            guest.post()

    @rule(side=sides)
    def ring(self, side: int) -> None:
        self.wiring.doorbell(self.guests[side].port)

    @rule(side=sides)
    def collect(self, side: int) -> None:
        for frame in self.guests[side].collect():
            assert frame == self.on_the_way[1 - side].popleft()

    @invariant()
    def nothing_is_dropped(self) -> None:
        link = self.wiring.link("link")
        assert (link.inwards.counters.undelivered, link.outwards.counters.undelivered) == (0, 0)

    def teardown(self) -> None:
        for _ in range(40):
            for side in (0, 1):
                self.post(side)
                self.ring(side)
                self.collect(side)
        assert not any(self.on_the_way)


LinkMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLinkMachine = LinkMachine.TestCase


def test_a_doorbell_names_the_receiver_and_a_sender_that_had_to_wait() -> None:
    wiring, _, outer, inner = two_guests()
    outer.send(b"first")
    assert wiring.doorbell(outer.port) == ()
    inner.post()
    assert wiring.doorbell(inner.port) == (inner.port, outer.port)
    assert inner.collect() == [b"first"]


def test_counters_tell_frames_and_bytes_of_each_direction() -> None:
    wiring, _, outer, inner = two_guests()
    inner.post()
    outer.post()
    outer.send(b"12345")
    inner.send(b"123")
    wiring.doorbell(outer.port)
    link = wiring.link("link")
    counted = [(each.counters.frames, each.counters.bytes) for each in (link.inwards, link.outwards)]
    assert counted == [(1, 5), (1, 3)]


def test_a_frame_longer_than_the_buffer_is_dropped_and_the_next_one_takes_the_buffer() -> None:
    wiring, _, outer, inner = two_guests()
    inner.post(capacity=4)
    outer.send(b"too long")
    outer.send(b"fits")
    wiring.doorbell(outer.port)
    assert inner.collect() == [b"fits"]
    assert wiring.link("link").inwards.counters.undelivered == 1


def test_what_is_sent_into_a_pulled_cable_is_dropped_and_never_comes_out_later() -> None:
    wiring, _, outer, inner = two_guests()
    inner.post()
    wiring.unwire("link")
    outer.send(b"lost")
    assert wiring.doorbell(outer.port) == ()
    wiring.wire("again", outer.port, inner.port)
    wiring.doorbell(outer.port)
    assert inner.collect() == []
    assert wiring.lost == {"outer.inside": 1}


def test_unwiring_drops_and_counts_what_waited() -> None:
    wiring, journal, outer, _ = two_guests()
    outer.send(b"waits")
    wiring.unwire("link")
    down = [each.detail for each in journal.take() if each.kind is EventKind.LINK_DOWN]
    assert down == [{"frames_in": 0, "frames_out": 0, "undelivered": 1}]


def test_unwiring_names_the_ports_whose_rings_it_has_emptied() -> None:
    wiring, _, outer, _ = two_guests()
    outer.send(b"waits")
    assert wiring.unwire("link") == (outer.port,)
    wiring.wire("link", outer.port, two_guests()[3].port)
    assert wiring.unwire("link") == ()


@pytest.mark.parametrize("address", [SIZE, SIZE - 2, 1 << 47, (1 << 64) - 4])
def test_a_sender_that_names_memory_not_its_own_loses_its_port_and_its_peer_gets_nothing(address: int) -> None:
    wiring, journal, outer, inner = two_guests()
    inner.post()
    outer.describe(TX_RING, 0, address, 64)
    outer.set_tail(TX_REGISTERS, 1)
    assert wiring.doorbell(outer.port) == ()
    assert (inner.collect(), outer.port.tx, inner.port.rx is None) == ([], None, False)
    assert [each.subject for each in journal.take()] == ["link", "outer.inside"]


def test_a_receiver_that_names_memory_not_its_own_loses_its_port_and_the_frame_waits() -> None:
    wiring, _, outer, inner = two_guests()
    inner.describe(RX_RING, 0, SIZE, 2048)
    inner.set_tail(RX_REGISTERS, 1)
    outer.send(b"patient")
    wiring.doorbell(outer.port)
    assert inner.port.rx is None
    inner.tx_tail = inner.rx_tail = inner.rx_seen = 0
    inner.open(8)
    inner.post()
    assert wiring.doorbell(inner.port) == (inner.port, outer.port)
    assert inner.collect() == [b"patient"]


def test_a_tail_outside_the_ring_shuts_the_port() -> None:
    wiring, journal, outer, _ = two_guests()
    outer.set_tail(TX_REGISTERS, 8)
    wiring.doorbell(outer.port)
    assert journal.take()[-1].detail == {
        "why": "port outer.inside is shut: TAIL of a ring must be below 8, not 8",
    }


@pytest.mark.parametrize("entries", [0, 1, 4097])
def test_a_ring_of_an_impossible_size_is_refused(entries: int) -> None:
    _, _, outer, _ = two_guests()
    with pytest.raises(RingFault, match=rf"^ENTRIES of a ring must be 2 to 4096, not {entries}$"):
        outer.open(entries)


def test_wiring_a_port_twice_is_refused() -> None:
    wiring, _, outer, inner = two_guests()
    with pytest.raises(VmmError, match=r"^port outer\.inside must be on one link, but it is on 'link'$"):
        wiring.wire("second", outer.port, inner.port)


def test_a_link_that_nobody_wired_is_refused() -> None:
    wiring, _, _, _ = two_guests()
    with pytest.raises(NoSuchObject, match=r"^a link must be one of link, not 'lnk'$"):
        wiring.unwire("lnk")


def test_a_head_that_the_guest_rewrites_is_only_shown_again_and_never_believed() -> None:
    wiring, _, outer, inner = two_guests()
    for _ in range(3):
        inner.post()
    for number, lie in enumerate((7, 0xFFFF_FFFF, 3)):
        outer.memory.write(REGISTERS + TX_REGISTERS + 0x0C, lie.to_bytes(4, "little"))
        outer.send(bytes([number]))
        wiring.doorbell(outer.port)
    assert inner.collect() == [b"\x00", b"\x01", b"\x02"]
