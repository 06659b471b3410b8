"""Invalidation: how software makes the unit forget, by registers or through a queue in memory.

    IQT written, QIE set --> execute descriptors from IQH up to IQT --> IQH = IQT
                                  |
                                  '--> one that cannot be executed: FSTS.IQE, IQH stays on it,
                                       IQT writes do nothing until software clears IQE and writes IQT again

VT-d, "Register-based Invalidation Interface" and "Queued Invalidation Interface". A register command while the queue is
enabled is refused: its ICC or IVT stays set, which a driver sees as a command that never ends. Invalidations finish
before the next descriptor starts, so fences and drains hold by construction; only the wait descriptor has an effect of
its own, the status word it writes to memory.
"""

from __future__ import annotations

from typing import final

from vafw.address import Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import (
    CompletionEventAddress,
    CompletionEventControl,
    CompletionEventData,
    CompletionEventUpperAddress,
    CompletionStatus,
    ContextCacheDescriptor,
    ContextCommand,
    DescriptorType,
    Granularity,
    InterruptEntryCacheDescriptor,
    InvalidateAddress,
    IotlbDescriptor,
    IotlbInvalidate,
    QueueAddress,
    QueueErrorRecord,
    QueueHead,
    QueueTail,
    WaitDescriptor,
)
from vafw.hw.vtd.capability import MAXIMUM_ADDRESS_MASK
from vafw.hw.vtd.interrupt import InterruptTable
from vafw.hw.vtd.iotlb import TranslationCache
from vafw.register import Access, Layout

_LAYOUTS: dict[int, type[Layout]] = {
    DescriptorType.CONTEXT_CACHE: ContextCacheDescriptor,
    DescriptorType.IOTLB: IotlbDescriptor,
    DescriptorType.INTERRUPT_ENTRY_CACHE: InterruptEntryCacheDescriptor,
    DescriptorType.WAIT: WaitDescriptor,
}
_RESERVED = {kind: ((1 << 128) - 1) & ~layout.mask_of(Access.RW) for kind, layout in _LAYOUTS.items()}


@final
class Invalidation:
    """CCMD, IOTLB and IVA; IQA, IQH and IQT; ICS and the invalidation event."""

    def __init__(self, memory: PhysicalMemory, cache: TranslationCache, interrupts: InterruptTable) -> None:
        self._memory = memory
        self._cache = cache
        self._interrupts = interrupts
        self.context_command = ContextCommand()
        self.iotlb = IotlbInvalidate()
        self.address = InvalidateAddress()
        self.queue_head = QueueHead()
        self.queue_tail = QueueTail()
        self.queue_address = QueueAddress()
        self.queue_error = QueueErrorRecord()
        self.completion = CompletionStatus()
        self.control = CompletionEventControl()
        self.data = CompletionEventData()
        self.message_address = CompletionEventAddress()
        self.message_upper_address = CompletionEventUpperAddress()
        self._after_wait = True
        self._messages: list[tuple[int, int]] = []

    @property
    def idle(self) -> bool:
        """The queue is drained and its last descriptor was a wait: QIE may be cleared."""
        return self.queue_head.QH == self.queue_tail.QT and self._after_wait

    def run_context_command(self) -> None:
        """CCMD was written with ICC: invalidate, and say in CAIG what was done."""
        command = self.context_command
        self._forget_contexts(command.CIRG, command.DID, command.SID, command.FM)
        command.hw_set(ICC=0, CAIG=command.CIRG)

    def run_iotlb_command(self) -> None:
        """IOTLB was written with IVT: invalidate, and say in IAIG what was done (0: the request was wrong)."""
        command = self.iotlb
        done = self._forget_pages(command.IIRG, command.DID, self.address.ADDR, self.address.AM)
        command.hw_set(IVT=0, IAIG=command.IIRG if done else 0)

    def start_queue(self) -> None:
        """QIE: begin with slot 0."""
        self.queue_head.hw_set(QH=0)
        self._after_wait = True

    def run_queue(self) -> bool:
        """Execute the descriptors up to IQT; False at one that cannot be executed, with IQH left on it."""
        slots = 1 << self.queue_address.QS + 8
        base = self.queue_address.IQA << 12
        if slots <= self.queue_tail.QT:
            return False
        while (head := self.queue_head.QH) != self.queue_tail.QT:
            raw = self._memory.read_ram(base + head * 16, 16)
            if raw is None or not self._execute(int.from_bytes(raw, "little")):
                return False
            self.queue_head.hw_set(QH=(head + 1) % slots)
        return True

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

    def _execute(self, descriptor: int) -> bool:
        kind = descriptor & 0xF
        if kind not in _LAYOUTS or descriptor & _RESERVED[kind]:
            return False
        self._after_wait = kind == DescriptorType.WAIT
        match kind:
            case DescriptorType.CONTEXT_CACHE:
                layout = ContextCacheDescriptor
                return self._forget_contexts(
                    *(field.get(descriptor) for field in (layout.G, layout.DID, layout.SID, layout.FM))
                )
            case DescriptorType.IOTLB:
                pages = IotlbDescriptor
                return self._forget_pages(
                    *(field.get(descriptor) for field in (pages.G, pages.DID, pages.ADDR, pages.AM))
                )
            case DescriptorType.INTERRUPT_ENTRY_CACHE:
                return self._forget_interrupts(descriptor)
            case _:
                return self._complete(descriptor)

    def _forget_contexts(self, granularity: int, domain: int, source_id: int, function_mask: int) -> bool:
        match granularity:
            case Granularity.GLOBAL:
                self._cache.forget_contexts()
            case Granularity.DOMAIN:
                self._cache.forget_contexts_of_domain(domain)
            case Granularity.PAGE:
                self._cache.forget_contexts_of_device(source_id, function_mask)
            case _:
                return False
        return True

    def _forget_pages(self, granularity: int, domain: int, page: int, address_mask: int) -> bool:
        match granularity:
            case Granularity.GLOBAL:
                self._cache.forget_pages()
            case Granularity.DOMAIN:
                self._cache.forget_pages_of_domain(domain)
            case Granularity.PAGE if address_mask <= MAXIMUM_ADDRESS_MASK:
                self._cache.forget_page_range(domain, page, address_mask)
            case _:
                return False
        return True

    def _forget_interrupts(self, descriptor: int) -> bool:
        layout = InterruptEntryCacheDescriptor
        if layout.G.get(descriptor):
            self._interrupts.forget_range(layout.IIDX.get(descriptor), layout.IM.get(descriptor))
        else:
            self._interrupts.forget()
        return True

    def _complete(self, descriptor: int) -> bool:
        if WaitDescriptor.SW.get(descriptor):
            address = Hpa(WaitDescriptor.STATUS_ADDRESS.get(descriptor) << 2)
            data = WaitDescriptor.DATA.get(descriptor).to_bytes(4, "little")
            if not self._memory.write_ram(address, data):
                return False
        if WaitDescriptor.IF.get(descriptor) and not self.completion.IWC:
            self.completion.hw_set(IWC=1)
            self.control.hw_set(IP=1)
            self.written()
        return True

    def _send(self) -> None:
        self.control.hw_set(IP=0)
        address = self.message_upper_address.value << 32 | self.message_address.value
        self._messages.append((address, self.data.IMD))
