"""The invalidation queue: cases 20 and 26 to 29, 35."""

from __future__ import annotations

import pytest

from tests.hw.vtd.bench import (
    FSTS,
    GSTS,
    ICS,
    IECTL,
    IQH,
    IQT,
    NIC,
    PAGE,
    QIE,
    STATUS,
    TABLES,
    Bench,
)
from vafw.address import Hpa

IQE = 1 << 4
CONTEXTS, PAGES = 1 | 1 << 4, 2 | 1 << 4


def wait(data: int, *, interrupt: int = 0) -> int:
    return 5 | interrupt << 4 | 1 << 5 | data << 32 | STATUS << 64


@pytest.fixture
def queued() -> Bench:
    """Page 0 is remembered, its entry is gone, and the queue is enabled."""
    bench = Bench()
    bench.attach()
    bench.path(0, PAGE | 3)
    bench.start()
    assert bench.ask(0) == PAGE
    bench.set(TABLES + 3 * 0x1000, 0)
    bench.start_queue()
    return bench


@pytest.mark.parametrize(
    "descriptor",
    [PAGES, 2 | 2 << 4 | 5 << 16, 2 | 3 << 4 | 5 << 16 | 0 << 64, 2 | 3 << 4 | 5 << 16 | (0x3000 | 2) << 64],
)
def test_an_iotlb_descriptor_makes_the_unit_walk_again(queued: Bench, descriptor: int) -> None:
    assert queued.ask(0) == PAGE
    queued.submit(descriptor)
    assert queued.ask(0) == -0x6


@pytest.mark.parametrize("descriptor", [CONTEXTS, 1 | 2 << 4 | 5 << 16, 1 | 3 << 4 | NIC.requester_id << 32])
def test_a_context_descriptor_makes_the_unit_read_the_context_again(queued: Bench, descriptor: int) -> None:
    queued.context(0, 0)
    assert queued.ask(0) == PAGE
    queued.submit(descriptor)
    assert queued.ask(0) == -0x2


def test_waits_write_their_status_in_order_across_the_wrap(queued: Bench) -> None:
    for number in range(1, 300):
        queued.submit(PAGES, wait(number))
        assert queued.memory.read_u32(Hpa(STATUS)) == number
    assert queued.register(IQH) == queued.register(IQT) == 299 * 2 % 256 << 4


def test_a_wait_with_interrupt_flag_is_pending_until_unmasked(queued: Bench) -> None:
    queued.submit(wait(1, interrupt=1))
    assert (queued.register(ICS), queued.register(IECTL) >> 30, queued.unit.take_messages()) == (1, 3, ())
    queued.write(IECTL, 0)
    assert queued.unit.take_messages() == ((0, 0),)
    queued.write(ICS, 1)
    assert queued.register(ICS) == 0


@pytest.mark.parametrize(
    "bad",
    [
        0,
        0xF,
        3,
        1,
        2,
        PAGES | 1 << 8,
        2 | 3 << 4 | 5 << 16 | 19 << 64,
        5 | 1 << 5 | (1 << 40) << 64,
        1 | 1 << 4 | 1 << 6,
    ],
)
def test_a_bad_descriptor_freezes_the_head_until_software_clears_the_error(queued: Bench, bad: int) -> None:
    queued.submit(wait(1), bad, wait(2))
    assert (queued.register(FSTS), queued.register(IQH) >> 4) == (IQE, 1)
    queued.submit(wait(3))
    assert (queued.register(IQH) >> 4, queued.memory.read_u32(Hpa(STATUS))) == (1, 1)
    queued.set(0x3000 + 16, PAGES, 16)
    queued.write(FSTS, IQE)
    assert queued.register(IQH) >> 4 == 1
    queued.write(IQT, 4 << 4, 8)
    assert (queued.register(FSTS), queued.memory.read_u32(Hpa(STATUS)), queued.register(IQH) >> 4) == (0, 3, 4)


def test_the_queue_is_disabled_only_after_a_drained_wait(queued: Bench) -> None:
    queued.submit(PAGES)
    queued.command(off=QIE)
    assert queued.register(GSTS) & QIE
    queued.submit(wait(1))
    queued.command(off=QIE)
    assert not queued.register(GSTS) & QIE


def test_an_unreadable_queue_is_an_error(bench: Bench) -> None:
    bench.write(0x90, 1 << 40, 8)
    bench.command(QIE)
    bench.write(IQT, 1 << 4, 8)
    assert bench.register(FSTS) == IQE


def test_a_tail_beyond_the_queue_is_an_error(queued: Bench) -> None:
    queued.write(IQT, 256 << 4, 8)
    assert queued.register(FSTS) == IQE
