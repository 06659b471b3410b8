"""The VMM's allocator of physical frames: which 4 KiB frames of one region nobody owns.

Not a scrubber: a frame comes back with whatever its last owner left in it, and who takes it clears it (page tables) or
has scrubbed it before giving it back (guest memory). First fit over a sorted list of free extents that are merged when
they touch; releasing what is not allocated is refused, since two owners of one frame would end every isolation.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import final

from vafw.address import PAGE_MASK, PAGE_SIZE, Hpa
from vafw.errors import VafwError


class OutOfFrames(VafwError):
    """No free run of frames is long enough."""


@final
class FrameAllocator:
    """Frames from `start` to `start + size`."""

    def __init__(self, start: Hpa, size: int) -> None:
        """`start` and `size` in bytes, multiples of 4 KiB."""
        if start & PAGE_MASK or size & PAGE_MASK or size <= 0:
            raise ValueError(f"a region of frames must be whole 4 KiB frames, not {start:#x}+{size:#x}")
        self.start = start
        self.size = size
        self._free: list[tuple[int, int]] = [(start, start + size)]

    @property
    def free_bytes(self) -> int:
        """Bytes that `allocate` could still hand out one frame at a time."""
        return sum(end - start for start, end in self._free)

    def allocate(self, count: int = 1, *, align: int = PAGE_SIZE) -> Hpa:
        """The address of `count` frames in one run, a multiple of `align` (a power of two); OutOfFrames if none."""
        if count < 1 or align < PAGE_SIZE or align & (align - 1):
            raise ValueError(
                f"an allocation must be of 1 or more frames at a power of two >= 4096, not {count} at {align}"
            )
        length = count * PAGE_SIZE
        for index, (start, end) in enumerate(self._free):
            first = (start + align - 1) & -align
            if first + length <= end:
                around = [(start, first), (first + length, end)]
                self._free[index : index + 1] = [(low, high) for low, high in around if low < high]
                return Hpa(first)
        raise OutOfFrames(
            f"{length >> 10} KiB of host memory in one piece must be free, but of {self.free_bytes >> 10} KiB free "
            f"the largest piece is {max((end - start for start, end in self._free), default=0) >> 10} KiB",
            hint="give the VMs less memory, or the machine more",
        )

    def withhold(self, hpa: Hpa, size: int) -> None:
        """Take the frames that the bytes touch out for good, as firmware does; ValueError unless all are free."""
        first, last = hpa & ~PAGE_MASK, hpa + size + PAGE_MASK & ~PAGE_MASK
        for index, (start, end) in enumerate(self._free):
            if start <= first and last <= end:
                around = [(start, first), (last, end)]
                self._free[index : index + 1] = [(low, high) for low, high in around if low < high]
                return
        raise ValueError(f"{size:#x} bytes at {hpa:#x} must be free to be withheld")

    def release(self, hpa: Hpa, count: int = 1) -> None:
        """Give `count` frames from `hpa` back; ValueError where one of them is not allocated."""
        start, end = int(hpa), hpa + count * PAGE_SIZE
        if count < 1 or start & PAGE_MASK or start < self.start or end > self.start + self.size:
            raise ValueError(f"{count} frames at {start:#x} must be whole frames of this region")
        index = bisect_right(self._free, (start, start))
        before = self._free[index - 1] if index else None
        after = self._free[index] if index < len(self._free) else None
        if (before and before[1] > start) or (after and after[0] < end):
            raise ValueError(f"{count} frames at {start:#x} must be allocated before they are released")
        low, high = index, index
        if before and before[1] == start:
            low, start = index - 1, before[0]
        if after and after[0] == end:
            high, end = index + 1, after[1]
        self._free[low:high] = [(start, end)]
