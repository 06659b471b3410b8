from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vafw.address import PAGE_SIZE, Hpa
from vafw.vmm.frames import FrameAllocator, OutOfFrames

START, FRAMES = Hpa(0x10_0000), 64


class FramesHaveOneOwner(RuleBasedStateMachine):
    """Allocations against a set of owned frame addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = FrameAllocator(START, FRAMES * PAGE_SIZE)
        self.runs: list[tuple[Hpa, int]] = []

    @property
    def owned(self) -> list[int]:
        return [hpa + n * PAGE_SIZE for hpa, count in self.runs for n in range(count)]

    @rule(count=st.integers(1, 20), align=st.sampled_from([0x1000, 0x2000, 0x8000]))
    def allocate(self, count: int, align: int) -> None:
        free = set(range(START, START + FRAMES * PAGE_SIZE, PAGE_SIZE)) - set(self.owned)
        possible = any(
            start % align == 0 and all(start + n * PAGE_SIZE in free for n in range(count)) for start in free
        )
        try:
            hpa = self.allocator.allocate(count, align=align)
        except OutOfFrames:
            assert not possible
        else:
            assert hpa % align == 0
            assert {hpa + n * PAGE_SIZE for n in range(count)} <= free
            self.runs.append((hpa, count))

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.runs.remove(run)
        self.allocator.release(*run)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def release_half_and_keep_half(self, data: st.DataObject) -> None:
        hpa, count = data.draw(st.sampled_from(self.runs))
        self.runs.remove((hpa, count))
        self.runs += [(Hpa(hpa + PAGE_SIZE), count - 1)] * (count > 1)
        self.allocator.release(hpa)

    @invariant()
    def what_is_not_owned_is_free(self) -> None:
        assert self.allocator.free_bytes == (FRAMES - len(self.owned)) * PAGE_SIZE
        assert len(set(self.owned)) == len(self.owned)


TestFramesHaveOneOwner = FramesHaveOneOwner.TestCase


def test_everything_released_is_one_piece_again() -> None:
    allocator = FrameAllocator(START, 8 * PAGE_SIZE)
    runs = [allocator.allocate(2) for _ in range(4)]
    for index in (2, 0, 3, 1):
        allocator.release(runs[index], 2)
    assert allocator.allocate(8) == START


def test_more_than_is_free_in_one_piece_is_refused() -> None:
    allocator = FrameAllocator(START, 8 * PAGE_SIZE)
    allocator.release(Hpa(allocator.allocate(8) + PAGE_SIZE))
    message = r"^8 KiB of host memory in one piece must be free, but of 4 KiB free the largest piece is 4 KiB$"
    with pytest.raises(OutOfFrames, match=message):
        allocator.allocate(2)


def test_releasing_a_free_frame_is_refused() -> None:
    allocator = FrameAllocator(START, 8 * PAGE_SIZE)
    hpa = allocator.allocate(2)
    allocator.release(hpa)
    with pytest.raises(ValueError, match=r"^2 frames at 0x100000 must be allocated before they are released$"):
        allocator.release(hpa, 2)


def test_releasing_what_lies_outside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^1 frames at 0x0 must be whole frames of this region$"):
        FrameAllocator(START, 8 * PAGE_SIZE).release(Hpa(0))


def test_a_region_of_half_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a region of frames must be whole 4 KiB frames, not 0x100000\+0x800$"):
        FrameAllocator(START, 0x800)


def test_an_odd_alignment_is_refused() -> None:
    message = r"^an allocation must be of 1 or more frames at a power of two >= 4096, not 1 at 12288$"
    with pytest.raises(ValueError, match=message):
        FrameAllocator(START, 8 * PAGE_SIZE).allocate(align=0x3000)


def test_withheld_memory_is_never_handed_out() -> None:
    allocator = FrameAllocator(START, 8 * PAGE_SIZE)
    allocator.withhold(Hpa(START + PAGE_SIZE + 5), PAGE_SIZE)
    assert [allocator.allocate() for _ in range(6)] == [START + n * PAGE_SIZE for n in (0, 3, 4, 5, 6, 7)]


def test_withholding_what_is_taken_is_refused() -> None:
    allocator = FrameAllocator(START, 8 * PAGE_SIZE)
    hpa = allocator.allocate()
    with pytest.raises(ValueError, match=r"^0x1000 bytes at 0x100000 must be free to be withheld$"):
        allocator.withhold(hpa, PAGE_SIZE)
