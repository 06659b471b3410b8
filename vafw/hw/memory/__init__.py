"""Host physical memory: sparse RAM, and windows that devices answer for."""

from vafw.hw.memory.physical import BusError, MmioDevice, PhysicalMemory

__all__ = ["PhysicalMemory", "MmioDevice", "BusError"]
