"""One virtual-machine control structure: a 4 KiB region in memory, and the processor's copy while it is active.

             VMCLEAR                VMPTRLD               VMLAUNCH
    (any) ───────────▶ clear, inactive ──▶ clear, current ────────▶ launched, current
                                               │  ▲ VMPTRLD              │  ▲ VMPTRLD
                         VMPTRLD of another ──▶▼  │                      ▼  │
                                           clear, active          launched, active

While a VMCS is active its contents are the processor's: it keeps them in itself and the region in memory is stale,
until VMCLEAR writes them back (SDM, "Software Use of Virtual-Machine Control Structures"). Software that reads the
region instead of executing VMREAD reads old values here as it does on silicon. The format behind the first eight bytes
is each implementation's own; this one stores the launch state and then the fields in the order of their encodings.
"""

from __future__ import annotations

import struct
from typing import Final, final

from vafw.address import Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import READ_ONLY, WIDTH_BITS, Encoding, VmcsField, VmError

_HEADER: Final = struct.Struct("<IIQ")
_BODY: Final = struct.Struct(f"<{len(VmcsField)}Q")
_ORDER: Final = tuple(sorted(int(field) for field in VmcsField))
_MASK: Final = {each: (1 << WIDTH_BITS[Encoding.WIDTH.get(each)]) - 1 for each in _ORDER}
_LOW_32: Final = 0xFFFF_FFFF
_SUPPORTED: Final = frozenset(_MASK) | {each + 1 for each in _MASK if Encoding.WIDTH.get(each) == 1}
"""The encodings that VMREAD and VMWRITE know: only 64-bit fields have a high half."""
_WRITABLE: Final = frozenset(each for each in _SUPPORTED if Encoding.TYPE.get(each) != READ_ONLY)
_MOVING: Final = frozenset(
    {
        VmcsField.GUEST_RIP,
        VmcsField.GUEST_RFLAGS,
        VmcsField.GUEST_ACTIVITY,
        VmcsField.GUEST_INTERRUPTIBILITY,
        VmcsField.GUEST_RSP,
        VmcsField.ENTRY_INTERRUPTION,
        VmcsField.ENTRY_ERROR_CODE,
        VmcsField.ENTRY_INSTRUCTION_LENGTH,
    }
)
"""Fields that software writes between two entries as a matter of course."""


def revision_of(memory: PhysicalMemory, region: Hpa) -> int:
    """The revision identifier that software wrote at the start of a region, its shadow-VMCS bit 31 included."""
    return memory.read_u32(region)


@final
class Vmcs:
    """An active VMCS: fields by encoding, and whether VMLAUNCH has succeeded on it."""

    __slots__ = ("fields", "launched", "region", "vetted")

    def __init__(self, region: Hpa, *, launched: bool, fields: dict[int, int]) -> None:
        """`fields` holds every supported encoding."""
        self.region = region
        self.launched = launched
        self.fields = fields
        """Every field in full, as the processor itself reads and writes it; software uses `read` and `write`."""
        self.vetted = False
        """A VM entry has passed every check, and software has written none but moving fields since."""

    @classmethod
    def load(cls, memory: PhysicalMemory, region: Hpa) -> Vmcs:
        """Take the contents of `region` into the processor."""
        _, _, launched = _HEADER.unpack(memory.read(region, _HEADER.size))
        values = _BODY.unpack(memory.read(Hpa(region + _HEADER.size), _BODY.size))
        return cls(region, launched=launched == 1, fields=dict(zip(_ORDER, values, strict=True)))

    def store(self, memory: PhysicalMemory) -> None:
        """Write the contents back to the region; the revision identifier stays as software wrote it."""
        memory.write_u64(Hpa(self.region + 8), int(self.launched))
        body = _BODY.pack(*(self.fields[each] for each in _ORDER))
        memory.write(Hpa(self.region + _HEADER.size), body)

    def read(self, encoding: int) -> int | VmError:
        """VMREAD: an odd encoding reads the high half of a 64-bit field."""
        value = self.fields.get(encoding)
        if value is not None:
            return value
        if encoding not in _SUPPORTED:
            return VmError.UNSUPPORTED_COMPONENT
        return self.fields[encoding & ~1] >> 32

    def write(self, encoding: int, value: int) -> VmError | None:
        """VMWRITE: bits beyond the field's width are dropped; VM-exit information fields refuse."""
        if encoding not in _WRITABLE:
            return VmError.READ_ONLY_COMPONENT if encoding in _SUPPORTED else VmError.UNSUPPORTED_COMPONENT
        if encoding not in _MOVING:
            self.vetted = False
        if encoding & 1:
            field = encoding & ~1
            self.fields[field] = self.fields[field] & _LOW_32 | (value & _LOW_32) << 32
        else:
            self.fields[encoding] = value & _MASK[encoding]
        return None

    def __repr__(self) -> str:
        named = (f"{VmcsField(each).name}={value:#x}" for each, value in self.fields.items() if value)
        state = "launched" if self.launched else "clear"
        return f"Vmcs({self.region:#x} {state}: {' '.join(named) or '-'})"


def supported(encoding: int) -> bool:
    """Whether VMREAD and VMWRITE know the encoding."""
    return encoding in _SUPPORTED


def clear_region(memory: PhysicalMemory, region: Hpa) -> None:
    """VMCLEAR of a region that is not active: its launch state becomes clear, the fields stay as they are."""
    memory.write_u64(Hpa(region + 8), 0)


def blank_region(memory: PhysicalMemory, region: Hpa, revision: int) -> None:
    """What software does before the first VMCLEAR: zero the region and write the revision identifier."""
    memory.write(region, bytes(_HEADER.size + _BODY.size))
    memory.write_u32(region, revision)
