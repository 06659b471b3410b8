"""Invalidation by a queue in memory (VT-d, "Queued Invalidation Interface").

    IQT written, QIE set --> execute descriptors from IQH up to IQT --> IQH = IQT
                                  |
                                  |--> one that cannot be executed: FSTS.IQE, IQH stays on it, and IQT writes do
                                  |    nothing until software clears IQE and writes IQT again
                                  '--> a wait while a device has not answered: FSTS.ITE, the wait is given up and
                                       nothing more is fetched until software clears ITE

The unit's own invalidations finish before the next descriptor starts, so fences and drains hold by construction. A
device's do not: the wait descriptor is where its answer is due.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, final

from vafw.address import Hpa, Iova
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.ats import invalidation_size
from vafw.hw.vtd.bits import (
    ContextCacheDescriptor,
    DescriptorType,
    DeviceTlbDescriptor,
    InterruptEntryCacheDescriptor,
    IotlbDescriptor,
    WaitDescriptor,
)
from vafw.hw.vtd.invalidation import Caches
from vafw.hw.vtd.registers import (
    CompletionEventAddress,
    CompletionEventControl,
    CompletionEventData,
    CompletionEventUpperAddress,
    CompletionStatus,
    QueueAddress,
    QueueErrorRecord,
    QueueHead,
    QueueTail,
)
from vafw.register import Access, Layout

_LAYOUTS: Final[dict[int, type[Layout]]] = {
    DescriptorType.CONTEXT_CACHE: ContextCacheDescriptor,
    DescriptorType.IOTLB: IotlbDescriptor,
    DescriptorType.DEVICE_TLB: DeviceTlbDescriptor,
    DescriptorType.INTERRUPT_ENTRY_CACHE: InterruptEntryCacheDescriptor,
    DescriptorType.WAIT: WaitDescriptor,
}
_RESERVED: Final = {kind: (1 << 128) - 1 & ~layout.mask_of(Access.RW) for kind, layout in _LAYOUTS.items()}


class Progress(Enum):
    """How a run of the queue, or one descriptor, ended."""

    DONE = auto()
    BAD_DESCRIPTOR = auto()
    DEVICE_SILENT = auto()


@final
class InvalidationQueue:
    """IQA, IQH and IQT; ICS and the invalidation event."""

    def __init__(self, memory: PhysicalMemory, caches: Caches, *, device_tlb: bool) -> None:
        """`device_tlb` is ECAP.DT: without it the device-TLB descriptor does not exist."""
        self._memory = memory
        self._caches = caches
        self._kinds = frozenset(_LAYOUTS) - (frozenset() if device_tlb else {DescriptorType.DEVICE_TLB})
        self.head = QueueHead()
        self.tail = QueueTail()
        self.address = QueueAddress()
        self.error = QueueErrorRecord()
        self.completion = CompletionStatus()
        self.control = CompletionEventControl()
        self.data = CompletionEventData()
        self.message_address = CompletionEventAddress()
        self.message_upper_address = CompletionEventUpperAddress()
        self._after_wait = True
        self._device_silent = False
        self._messages: list[tuple[int, int]] = []

    @property
    def idle(self) -> bool:
        """The queue is drained and its last descriptor was a wait: QIE may be cleared."""
        return self.head.QH == self.tail.QT and self._after_wait

    def start(self) -> None:
        """QIE: begin with slot 0."""
        self.head.hw_set(QH=0)
        self._after_wait = True
        self._device_silent = False

    def run(self) -> Progress:
        """Execute the descriptors up to IQT, or up to one that ends the run; IQH stays on one that cannot be."""
        slots = 1 << self.address.QS + 8
        base = self.address.IQA << 12
        if slots <= self.tail.QT:
            return Progress.BAD_DESCRIPTOR
        while (head := self.head.QH) != self.tail.QT:
            raw = self._memory.read_ram(base + head * 16, 16)
            if raw is None:
                return Progress.BAD_DESCRIPTOR
            progress = self._execute(int.from_bytes(raw, "little"))
            if progress is Progress.BAD_DESCRIPTOR:
                return progress
            self.head.hw_set(QH=(head + 1) % slots)
            if progress is Progress.DEVICE_SILENT:
                return progress
        return Progress.DONE

    def written(self) -> None:
        """Software wrote ICS or IECTL: send what is pending and unmasked."""
        if not self.completion.IWC:
            self.control.hw_set(IP=0)
        if self.control.IP and not self.control.IM:
            self._send()

    def take_messages(self) -> tuple[tuple[int, int], ...]:
        """The invalidation-event messages (address, data) sent since the last call."""
        taken = tuple(self._messages)
        self._messages.clear()
        return taken

    def _execute(self, descriptor: int) -> Progress:
        kind = descriptor & 0xF
        if kind not in self._kinds or descriptor & _RESERVED[kind]:
            return Progress.BAD_DESCRIPTOR
        self._after_wait = kind == DescriptorType.WAIT
        match kind:
            case DescriptorType.CONTEXT_CACHE:
                done = self._forget_contexts(descriptor)
            case DescriptorType.IOTLB:
                done = self._forget_pages(descriptor)
            case DescriptorType.DEVICE_TLB:
                done = self._ask_device(descriptor)
            case DescriptorType.INTERRUPT_ENTRY_CACHE:
                done = self._forget_interrupts(descriptor)
            case _:
                return self._wait(descriptor)
        return Progress.DONE if done else Progress.BAD_DESCRIPTOR

    def _forget_contexts(self, descriptor: int) -> bool:
        layout = ContextCacheDescriptor
        return self._caches.forget_contexts(
            *(field.get(descriptor) for field in (layout.G, layout.DID, layout.SID, layout.FM))
        )

    def _forget_pages(self, descriptor: int) -> bool:
        layout = IotlbDescriptor
        return self._caches.forget_pages(
            *(field.get(descriptor) for field in (layout.G, layout.DID, layout.ADDR, layout.AM)),
            leaves_only=bool(layout.IH.get(descriptor)),
        )

    def _ask_device(self, descriptor: int) -> bool:
        address = DeviceTlbDescriptor.ADDR.get(descriptor) << 12
        size = invalidation_size(address, several=bool(DeviceTlbDescriptor.S.get(descriptor)))
        if not self._caches.ask_device(DeviceTlbDescriptor.SID.get(descriptor), Iova(address & -size), size):
            self._device_silent = True
        return True

    def _forget_interrupts(self, descriptor: int) -> bool:
        layout = InterruptEntryCacheDescriptor
        if layout.G.get(descriptor):
            self._caches.forget_interrupt_range(layout.IIDX.get(descriptor), layout.IM.get(descriptor))
        else:
            self._caches.forget_interrupts()
        return True

    def _wait(self, descriptor: int) -> Progress:
        if self._device_silent:
            self._device_silent = False
            return Progress.DEVICE_SILENT
        if WaitDescriptor.SW.get(descriptor):
            address = Hpa(WaitDescriptor.STATUS_ADDRESS.get(descriptor) << 2)
            data = WaitDescriptor.DATA.get(descriptor).to_bytes(4, "little")
            if not self._memory.write_ram(address, data):
                return Progress.BAD_DESCRIPTOR
        if WaitDescriptor.IF.get(descriptor) and not self.completion.IWC:
            self.completion.hw_set(IWC=1)
            self.control.hw_set(IP=1)
            self.written()
        return Progress.DONE

    def _send(self) -> None:
        self.control.hw_set(IP=0)
        address = self.message_upper_address.value << 32 | self.message_address.value
        self._messages.append((address, self.data.IMD))
