"""Registers and in-memory structures as the manuals print them: named bit fields with access attributes.

A `Layout` names the fields of a word; a page-table entry or a queue descriptor is one. A `Register` is a layout with a
value and two doors: `sw_write` obeys the access attributes, `hw_set` does not. The model is synchronous and a call is
complete before the next one starts, so the two never collide within one call: whoever comes last wins.

Fields stand in bit order, lowest first. A field that overlaps the one before it, or sticks out of the word, fails when
the class is defined, which is at import. Bits that no field names are reserved: they read as zero and ignore writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, final, overload


class Access(Enum):
    """What software may do with a field (PCI Express Base Specification, "Register Attributes")."""

    RO = "read-only"
    RW = "read-write"
    RW1C = "write 1 to clear"
    RW1CS = "write 1 to clear, kept over a warm reset"
    ROS = "read-only, kept over a warm reset"
    WO = "write-only, reads as zero"
    RSVDZ = "reserved, software writes zero"
    RSVDP = "reserved, software preserves it"


STICKY = frozenset({Access.RW1CS, Access.ROS})
"""The attributes whose fields only a power cycle resets."""


@final
@dataclass(frozen=True, slots=True)
class Field:
    """Bits `msb` down to `lsb`. On a layout's class it is itself; on a register it reads as the field's value."""

    msb: int
    lsb: int
    access: Access = Access.RW
    mask: int = field(init=False, repr=False)
    """The field's bits, in place."""

    def __post_init__(self) -> None:
        """Refuse bits in the wrong order."""
        if not 0 <= self.lsb <= self.msb:
            raise ValueError(f"a field must have msb >= lsb >= 0, not [{self.msb}:{self.lsb}]")
        object.__setattr__(self, "mask", (2 << self.msb) - (1 << self.lsb))

    def get(self, word: int) -> int:
        """The field's value in `word`."""
        return (word & self.mask) >> self.lsb

    def put(self, value: int) -> int:
        """`value` moved into place; ValueError where it does not fit."""
        if not 0 <= value <= self.mask >> self.lsb:
            raise ValueError(f"field [{self.msb}:{self.lsb}] cannot hold {value:#x}")
        return value << self.lsb

    @overload
    def __get__(self, register: None, owner: type) -> Field: ...
    @overload
    def __get__(self, register: Register, owner: type) -> int: ...
    def __get__(self, register: Register | None, owner: type) -> Field | int:
        """The field of a layout's class, or its value in a register."""
        return self if register is None else self.get(register.value)

    def __set__(self, register: Register, value: int) -> None:
        """Refuse: which of the two doors is meant must be said."""
        raise AttributeError("a field must be set with sw_write or hw_set")


class Layout:
    """The named fields of one word of `width` bits."""

    width: ClassVar[int] = 64
    fields: ClassVar[dict[str, Field]] = {}

    def __init_subclass__(cls, *, width: int | None = None) -> None:
        """Check the fields and keep them in bit order."""
        if width is not None:
            cls.width = width
        cls.fields = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        free = 0
        for name, bits in cls.fields.items():
            if bits.lsb < free:
                raise TypeError(f"{cls.__name__}.{name} must start at bit {free} or above, not at {bits.lsb}")
            if bits.msb >= cls.width:
                raise TypeError(f"{cls.__name__}.{name} must end within {cls.width} bits, not at {bits.msb}")
            free = bits.msb + 1

    @classmethod
    def pack(cls, **values: int) -> int:
        """The word with these fields set and every other bit zero."""
        word = 0
        for name, value in values.items():
            word |= cls._named(name).put(value)
        return word

    @classmethod
    def describe(cls, word: int) -> str:
        """The word and its fields that are not zero, for instance ``Root(0x1001: P CTP=0x1)``."""
        named = (
            name if bits.msb == bits.lsb else f"{name}={bits.get(word):#x}"
            for name, bits in cls.fields.items()
            if bits.get(word)
        )
        return f"{cls.__name__}({word:#x}: {' '.join(named) or '-'})"

    @classmethod
    def mask_of(cls, *kinds: Access) -> int:
        """The bits of all fields with one of these attributes."""
        return sum(bits.mask for bits in cls.fields.values() if bits.access in kinds)

    @classmethod
    def _named(cls, name: str) -> Field:
        try:
            return cls.fields[name]
        except KeyError:
            raise TypeError(f"{cls.__name__} has the fields {', '.join(cls.fields)}, not {name!r}") from None


class Register(Layout):
    """A word that software and hardware share; what it holds is `value`."""

    initial: ClassVar[int] = 0
    _writable: ClassVar[int] = 0
    _clearable: ClassVar[int] = 0
    _readable: ClassVar[int] = 0
    _sticky: ClassVar[int] = 0

    def __init_subclass__(cls, *, width: int | None = None, initial: int = 0) -> None:
        """Work out once which bits each door touches."""
        super().__init_subclass__(width=width)
        cls.initial = initial
        cls._writable = cls.mask_of(Access.RW, Access.WO)
        cls._clearable = cls.mask_of(Access.RW1C, Access.RW1CS)
        cls._readable = cls.mask_of(*Access) & ~cls.mask_of(Access.WO, Access.RSVDZ)
        cls._sticky = cls.mask_of(*STICKY)

    def __init__(self, value: int | None = None) -> None:
        """As after power-on, or holding `value`, which a read-only register of an implementation starts with."""
        self.value = self.initial if value is None else value

    def sw_read(self) -> int:
        """What software reads: write-only and reserved fields as zero."""
        return self.value & self._readable

    def sw_write(self, value: int, lanes: int = -1) -> None:
        """Software writes `value` on the byte lanes that the mask `lanes` selects; the attributes are obeyed."""
        written = self._writable & lanes
        self.value = (self.value & ~written | value & written) & ~(value & self._clearable & lanes)

    def hw_set(self, **values: int) -> None:
        """Hardware sets fields, whatever their attributes."""
        for name, value in values.items():
            bits = self._named(name)
            self.value = self.value & ~bits.mask | bits.put(value)

    def reset(self, *, power: bool = False) -> None:
        """Back to the initial value; sticky fields keep theirs unless the power was cut."""
        kept = 0 if power else self._sticky
        self.value = self.initial & ~kept | self.value & kept

    def __repr__(self) -> str:
        return self.describe(self.value)
