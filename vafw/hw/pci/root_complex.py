"""The root complex: between devices on one side, memory and processors on the other.

Upstream every memory request goes through the remapping unit, page by page; a write to 0xFEEx_xxxx is an interrupt
message and never memory. Downstream it decodes accesses of processors to the functions' BARs, and reaches their
configuration spaces. Requests of one device to another's registers (peer to peer) are not routed here: they end as an
unsupported request, as do those to a range that the chipset keeps from all devices. What is turned round further down,
by a switch or within a device, never comes this far (`vafw.fabric`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, final

from vafw.address import PAGE_MASK, PAGE_SIZE, Bdf, Hpa, Iova
from vafw.fabric import Fabric, Place
from vafw.hw.memory import PhysicalMemory
from vafw.hw.pci.config import BAR0, BAR_SIZE, COMMAND, Command
from vafw.hw.pci.function import PciFunction
from vafw.hw.pci.port import Port
from vafw.hw.vtd import Completion, DmaFault, Interrupt, RemappingUnit
from vafw.hw.vtd.bits import INTERRUPT_FIRST, INTERRUPT_LAST
from vafw.hw.vtd.interrupt_message import compatibility_interrupt
from vafw.hw.vtd.table_walk import READ, WRITE

BAR_REGION = Hpa(0xFE00_0000)
BAR_REGION_SIZE = 0x10_0000
"""The addresses below the root complex: 256 BARs of 4 KiB."""


class DmaGuard(Protocol):
    """What forbids devices some of the memory, wherever their tables lead (the chipset's DPR)."""

    def blocks_dma(self, address: int, length: int) -> object | None:
        """Anything but None forbids the bytes."""
        ...


@final
class RootComplex:
    """The PC's one root complex; `unit` None is a PC without VT-d, on which every DMA reaches memory."""

    def __init__(self, memory: PhysicalMemory, unit: RemappingUnit | None) -> None:
        """Takes the region of BARs in `memory`."""
        self.guard: DmaGuard | None = None
        """Asked about every memory request, after translation."""
        self._memory = memory
        self._unit = unit
        self._functions: dict[Bdf, PciFunction] = {}
        self._slots: list[PciFunction] = []
        self._virtual: dict[Bdf, tuple[PciFunction, ...]] = {}
        self._bars: dict[Bdf, Hpa] = {}
        self._free_window = BAR_REGION
        self._interrupts: list[Interrupt] = []
        self._below: dict[Bdf, Bdf | None] = {}
        self._fabric: Fabric | None = None
        self._is_flat = True
        memory.map_window(BAR_REGION, BAR_REGION_SIZE, self)

    @property
    def functions(self) -> tuple[PciFunction, ...]:
        """Every function, in the order of attachment; virtual ones last, while they are there."""
        return (*self._slots, *(each for virtual in self._virtual.values() for each in virtual))

    @property
    def fabric(self) -> Fabric:
        """How the functions are plugged together, with the access control that is in force now."""
        if self._fabric is None:
            self._fabric = Fabric(
                [
                    Place(each.bdf, self._below[each.bdf], each.kind if isinstance(each, Port) else None, each.acs)
                    for each in self._slots
                ]
                + [
                    Place(each.bdf, self._below[physical], physical=physical)
                    for physical, virtual in self._virtual.items()
                    for each in virtual
                ]
            )
        return self._fabric

    def attach(self, device: PciFunction, below: Bdf | None = None) -> Hpa:
        """Plug a function in below a port, give it a BAR and let it decode, as firmware does; returns where."""
        if device.bdf in self._functions:
            raise ValueError(f"function {device.bdf} must be attached once")
        bar = self.reserve_window(1)
        self._functions[device.bdf] = device
        self._slots.append(device)
        self._bars[device.bdf] = bar
        self._below[device.bdf] = below
        self._fabric = None
        self._is_flat = self._is_flat and below is None and not _shares_a_device(device.bdf, self._slots[:-1])
        self.enable_decoding(device.bdf)
        return bar

    def show_virtual(self, physical: Bdf, functions: Sequence[PciFunction]) -> None:
        """Virtual functions of a physical one appear, or vanish where none is named; ValueError for an id in use."""
        for gone in self._virtual.pop(physical, ()):
            del self._functions[gone.bdf]
        for each in functions:
            if each.bdf in self._functions:
                raise ValueError(f"virtual function {each.bdf} must have a requester id of its own")
            self._functions[each.bdf] = each
        self._virtual[physical] = tuple(functions)
        self._fabric = None

    def reserve_window(self, count: int) -> Hpa:
        """Addresses for the registers of `count` functions, one behind the other; ValueError where there is no room."""
        window = self._free_window
        if window + count * BAR_SIZE > BAR_REGION + BAR_REGION_SIZE:
            raise ValueError("a root complex has room for 256 functions with registers")
        self._free_window = Hpa(window + count * BAR_SIZE)
        return window

    def enable_decoding(self, bdf: Bdf) -> None:
        """Give the function its BAR again, as software does after a function-level reset; bus mastering stays off.

        A virtual function has none: it decodes while its physical function says so.
        """
        if bdf in self._bars:
            self.config_write(bdf, BAR0, 4, self._bars[bdf])
            self.config_write(bdf, COMMAND, 2, Command.pack(MEMORY_SPACE=1))

    def bar(self, bdf: Bdf) -> Hpa:
        """Where the registers of a function stand; of a virtual one, where its physical function put them."""
        if bdf in self._bars:
            return self._bars[bdf]
        window = self._functions[bdf].config.memory_window
        if window is None:
            raise ValueError(f"virtual function {bdf} must decode to have registers")
        return Hpa(window)

    def config_read(self, bdf: Bdf, offset: int, size: int) -> int:
        """Configuration read; all ones where there is no function."""
        function = self._functions.get(bdf)
        return function.config_read(offset, size) if function else (1 << 8 * size) - 1

    def config_write(self, bdf: Bdf, offset: int, size: int, value: int) -> None:
        """Configuration write; lost where there is no function."""
        if function := self._functions.get(bdf):
            function.config_write(offset, size, value)
            self._fabric = None

    def set_bus_master(self, bdf: Bdf, enabled: bool) -> None:
        """Let the function issue requests, or not."""
        command = self.config_read(bdf, COMMAND, 2) & ~Command.BUS_MASTER.mask
        self.config_write(bdf, COMMAND, 2, command | Command.pack(BUS_MASTER=int(enabled)))

    def dma_read(
        self, source: Bdf, iova: Iova, length: int, *, sender: Bdf | None = None, translated: bool = False
    ) -> bytes | DmaFault:
        """A device reads memory under the requester id `source`; the first page that is blocked ends it.

        `sender` is the function that really sends it, where that is not the one whose id it uses. `translated` says
        that the address is a host address already (AT = 10b), which only a function that was granted ATS may say.
        """
        if not self._is_flat:
            route = self._route(source, sender or source, iova, write=False, translated=translated)
            if isinstance(route, DmaFault):
                return route
            if isinstance(route, PciFunction):
                data = (route.mmio_read(each % BAR_SIZE, 4) for each in range(iova, iova + length, 4))
                return b"".join(each.to_bytes(4, "little") for each in data)[:length]
            source = route
        if (iova & PAGE_MASK) + length <= PAGE_SIZE:
            return self._read_page(source, iova, length, translated)
        parts = []
        for page, start, end in _pages(iova, length):
            part = self._read_page(source, page, end - start, translated)
            if isinstance(part, DmaFault):
                return part
            parts.append(part)
        return b"".join(parts)

    def dma_write(
        self, source: Bdf, iova: Iova, data: bytes, *, sender: Bdf | None = None, translated: bool = False
    ) -> DmaFault | None:
        """A device writes memory; pages before the first one that is blocked have been written."""
        if not self._is_flat:
            route = self._route(source, sender or source, iova, write=True, translated=translated)
            if isinstance(route, DmaFault):
                return route
            if isinstance(route, PciFunction):
                for at in range(0, len(data), 4):
                    route.mmio_write((iova + at) % BAR_SIZE, 4, int.from_bytes(data[at : at + 4], "little"))
                return None
            source = route
        if (iova & PAGE_MASK) + len(data) <= PAGE_SIZE:
            return self._write_page(source, iova, data, translated)
        for page, start, end in _pages(iova, len(data)):
            fault = self._write_page(source, page, data[start:end], translated)
            if fault is not None:
                return fault
        return None

    def message(self, source: Bdf, address: int, data: int) -> None:
        """A device's message-signalled interrupt; blocked ones stay in the unit's fault records."""
        if self._unit is None:
            self._interrupts.append(compatibility_interrupt(address, data))
            return
        answer = self._unit.remap(source, address, data)
        if isinstance(answer, Interrupt):
            self._interrupts.append(answer)

    def take_interrupts(self) -> tuple[Interrupt, ...]:
        """The interrupts that devices and the unit itself raised since the last call."""
        if self._unit is not None and (messages := self._unit.take_messages()):
            self._interrupts += [compatibility_interrupt(*each) for each in messages]
        if not self._interrupts:
            return ()
        taken = tuple(self._interrupts)
        self._interrupts.clear()
        return taken

    def mmio_read(self, offset: int, size: int) -> int:
        """A processor reads the region of BARs; all ones where no function decodes."""
        function = self._decoding(offset)
        return function.mmio_read(offset % BAR_SIZE, size) if function else (1 << 8 * size) - 1

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        """A processor writes the region of BARs; lost where no function decodes."""
        if function := self._decoding(offset):
            function.mmio_write(offset % BAR_SIZE, size, value)

    def _route(
        self, source: Bdf, sender: Bdf, iova: Iova, *, write: bool, translated: bool
    ) -> Bdf | PciFunction | DmaFault:
        """What becomes of a request on its way up: the requester id it arrives under, a peer it reaches, or its end."""
        fabric = self.fabric
        peer = self._decoding(iova - BAR_REGION) if BAR_REGION <= iova < BAR_REGION + BAR_REGION_SIZE else None
        if peer is not None and peer.bdf in fabric.peers(sender):
            return peer
        if fabric.violates(sender, source, translated=translated) is not None:
            return DmaFault(source, iova, write, Completion.ACS_VIOLATION)
        return fabric.seen_as(sender) if source == sender else source

    def _decoding(self, offset: int) -> PciFunction | None:
        """The function whose BAR0 software placed there: usually the one that firmware placed there."""
        window = BAR_REGION + offset & -BAR_SIZE
        slot = offset // BAR_SIZE
        if slot < len(self._slots) and self._slots[slot].config.memory_window == window:
            return self._slots[slot]
        return next((each for each in self.functions if each.config.memory_window == window), None)

    def _read_page(self, source: Bdf, iova: Iova, length: int, translated: bool) -> bytes | DmaFault:
        if INTERRUPT_FIRST <= iova <= INTERRUPT_LAST:
            return DmaFault(source, iova, False, Completion.UNSUPPORTED_REQUEST)
        address = self._host_address(source, iova, READ, translated)
        if isinstance(address, DmaFault):
            return address
        if self.guard is None or self.guard.blocks_dma(address, length) is None:
            data = self._memory.read_ram(address, length)
            if data is not None:
                return data
        return DmaFault(source, iova, False, Completion.UNSUPPORTED_REQUEST)

    def _write_page(self, source: Bdf, iova: Iova, data: bytes, translated: bool) -> DmaFault | None:
        if INTERRUPT_FIRST <= iova <= INTERRUPT_LAST:
            return self._write_message(source, iova, data)
        address = self._host_address(source, iova, WRITE, translated)
        if isinstance(address, DmaFault):
            return address
        blocked = self.guard is not None and self.guard.blocks_dma(address, len(data)) is not None
        if not blocked and self._memory.write_ram(address, data):
            return None
        return DmaFault(source, iova, True, Completion.UNSUPPORTED_REQUEST)

    def _host_address(self, source: Bdf, iova: Iova, right: int, translated: bool) -> int | DmaFault:
        if self._unit is None:
            return iova
        if translated:
            return self._unit.translated(source, Hpa(iova), write=right == WRITE) or iova
        return self._unit.host_address(source.requester_id, iova, right)

    def _write_message(self, source: Bdf, iova: Iova, data: bytes) -> DmaFault | None:
        """A write to the interrupt range: one dword is a message, anything else is nothing."""
        if len(data) != 4 or iova % 4:
            return DmaFault(source, iova, True, Completion.UNSUPPORTED_REQUEST)
        self.message(source, iova, int.from_bytes(data, "little"))
        return None


def _pages(iova: Iova, length: int) -> Iterator[tuple[Iova, int, int]]:
    """The pages of an access: the address in each, and which of the bytes are its own."""
    start = 0
    while start < length:
        end = min(length, start + PAGE_SIZE - (iova + start & PAGE_MASK))
        yield Iova(iova + start), start, end
        start = end


def _shares_a_device(bdf: Bdf, others: Iterable[PciFunction]) -> bool:
    return any((each.bdf.bus, each.bdf.device) == (bdf.bus, bdf.device) for each in others)
