from __future__ import annotations

import pytest

from tests.hw.pci.rig import BUFFERS, CAUSE_ERROR, CAUSE_RX, CAUSE_TX, ENTRIES, NIC, RX, TX, Rig
from vafw.address import Hpa
from vafw.hw.pci import NetworkCard
from vafw.hw.pci.network_card import NetworkRegister
from vafw.hw.pci.ring import Descriptor, RingRegister

FRAME = bytes(range(200))
OUTSIDE = 1 << 40


def test_a_frame_lands_in_the_posted_buffer_and_its_descriptor_says_so(rig: Rig) -> None:
    rig.post_buffers(2)
    assert rig.card.receive(FRAME)
    assert rig.memory.read(Hpa(BUFFERS), len(FRAME)) == FRAME
    assert rig.descriptor(RX, 0) == Descriptor(BUFFERS, len(FRAME), 1)
    assert rig.read(NetworkRegister.RX_RING + RingRegister.HEAD) == 1


def test_a_full_ring_misses_frames_and_counts_them(rig: Rig) -> None:
    rig.post_buffers(2)
    assert [rig.card.receive(FRAME) for _ in range(4)] == [True, True, False, False]
    assert rig.read(NetworkRegister.MISSED) == 2


def test_the_ring_wraps(rig: Rig) -> None:
    rig.post_buffers(ENTRIES - 1)
    for number in range(20):
        assert rig.card.receive(bytes([number]) * 60)
        assert rig.descriptor(RX, number % ENTRIES).status == 1
        posted = (ENTRIES - 1 + number) % ENTRIES
        rig.describe(RX, posted, Descriptor(BUFFERS + posted * 0x1000, 2048))
        rig.write(NetworkRegister.RX_RING + RingRegister.TAIL, (posted + 1) % ENTRIES)


def test_a_frame_larger_than_the_buffer_is_missed_and_the_buffer_stays(rig: Rig) -> None:
    rig.post_buffers(1, length=100)
    assert not rig.card.receive(FRAME)
    assert rig.memory.read(Hpa(BUFFERS), 200) == bytes(200)
    assert rig.card.receive(FRAME[:100])


def test_nothing_is_received_while_the_receiver_is_off(rig: Rig) -> None:
    rig.post_buffers(1)
    rig.write(NetworkRegister.CTRL, 2)
    assert not rig.card.receive(FRAME)


def test_without_bus_mastering_not_a_byte_moves(rig: Rig) -> None:
    rig.post_buffers(1)
    rig.root_complex.set_bus_master(NIC, False)
    assert not rig.card.receive(FRAME)
    rig.send(FRAME)
    assert rig.card.take_transmitted() == ()
    assert rig.interrupts() == 0
    assert rig.descriptor(RX, 0).status == 0


def test_a_burst_sends_one_message_until_it_is_acknowledged(rig: Rig) -> None:
    rig.post_buffers(5)
    for _ in range(3):
        rig.card.receive(FRAME)
    assert (rig.interrupts(), rig.read(NetworkRegister.ICR)) == (1, CAUSE_RX)
    rig.write(NetworkRegister.ICR, CAUSE_RX)
    assert rig.interrupts() == 0
    rig.card.receive(FRAME)
    assert rig.interrupts() == 1


def test_a_cause_that_an_acknowledgement_leaves_sends_another_message(rig: Rig) -> None:
    rig.post_buffers(1)
    rig.card.receive(FRAME)
    rig.send(FRAME)
    assert rig.interrupts() == 1
    rig.write(NetworkRegister.ICR, CAUSE_RX)
    assert (rig.interrupts(), rig.read(NetworkRegister.ICR)) == (1, CAUSE_TX)


def test_a_masked_cause_waits_until_it_is_unmasked(rig: Rig) -> None:
    rig.write(NetworkRegister.IMS, 0)
    rig.post_buffers(1)
    rig.card.receive(FRAME)
    assert rig.interrupts() == 0
    rig.write(NetworkRegister.IMS, CAUSE_RX)
    assert rig.interrupts() == 1


def test_frames_leave_in_order_and_their_descriptors_are_done(rig: Rig) -> None:
    rig.send(b"one", b"two")
    rig.send(b"three")
    assert rig.card.take_transmitted() == (b"one", b"two", b"three")
    assert rig.card.take_transmitted() == ()
    assert [rig.descriptor(TX, slot).status for slot in range(4)] == [1, 1, 1, 0]
    assert rig.read(NetworkRegister.TX_RING + RingRegister.HEAD) == 3


@pytest.mark.parametrize("ring", [NetworkRegister.RX_RING, NetworkRegister.TX_RING])
def test_a_ring_outside_memory_is_an_error_cause_and_no_loop(rig: Rig, ring: NetworkRegister) -> None:
    rig.write(ring + RingRegister.BASE_HI, OUTSIDE >> 32)
    rig.write(ring + RingRegister.TAIL, 3)
    assert not rig.card.receive(FRAME)
    assert rig.card.take_transmitted() == ()
    assert rig.read(NetworkRegister.ICR) == CAUSE_ERROR
    assert rig.root_complex.config_read(NIC, 0x06, 2) & 0x2000


def test_a_tail_outside_the_ring_is_ignored(rig: Rig) -> None:
    rig.write(NetworkRegister.TX_RING + RingRegister.TAIL, ENTRIES)
    assert rig.read(NetworkRegister.TX_RING + RingRegister.TAIL) == 0


def test_reset_drops_what_was_on_its_way_to_the_wire(rig: Rig) -> None:
    rig.send(FRAME)
    rig.card.reset()
    assert rig.card.take_transmitted() == ()


def test_the_card_shows_its_address(rig: Rig) -> None:
    low, high = rig.read(NetworkRegister.MAC_LO), rig.read(NetworkRegister.MAC_HI)
    assert (high << 32 | low).to_bytes(6, "little").hex() == "525400aa0001"


def test_an_address_of_five_bytes_is_refused(rig: Rig) -> None:
    with pytest.raises(ValueError, match=r"^a MAC address must be 6 bytes, not 5$"):
        NetworkCard(NIC, rig.root_complex, bytes(5))
