"""What a provider can do: declared as a flag, so that what it cannot do is refused before launch."""

from __future__ import annotations

from enum import Flag, auto


class Capability(Flag):
    """One bit for each thing a plan may ask of a provider."""

    DMA_REMAPPING = auto()
    """Assigned devices reach only the memory of their VM."""
    INTERRUPT_REMAPPING = auto()
    """Interrupt requests are checked against the requester."""
    MEASURED_LAUNCH = auto()
    """The VMM can be launched by GETSEC[SENTER] or an equivalent and measured into PCR 17 and 18."""
    SEVERAL_UPLINKS = auto()
    """A router may have several network cards, each with a wire of its own."""
    DISPLAY_CAPTURE = auto()
    """The picture on the assigned display can be read back."""
    TAMPER = auto()
    """Components can be altered on purpose, to see the gate close."""
    WIRE_CAPTURE_FILE = auto()
    """The wire can replay a capture file."""
    WIRE_TAP = auto()
    """The wire can be a tap interface of the host."""
    INTERPRETED_RULES = auto()
    """Traffic rules are decided on by vafw's own engine: also those that no kernel's filter can hold."""
