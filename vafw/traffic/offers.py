"""What a program inside a VM may offer besides `vafw.traffic.appliance.PacketAppliance`; each is optional."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from vafw.trace import Value
from vafw.traffic.appliance import PacketAppliance

CreateProgram: TypeAlias = Callable[[Mapping[str, Value]], PacketAppliance]
Frames: TypeAlias = Iterable[tuple[str, bytes]]


@runtime_checkable
class ActsByItself(Protocol):
    """A program that sends frames unasked."""

    def on_timer(self, now_s: float) -> Frames:
        """Frames to send now; called about every `timer_period_s` seconds."""
        ...


@runtime_checkable
class Starts(Protocol):
    """A program with something to send when it starts."""

    def start(self, now_s: float) -> Frames:
        """Frames to send first."""
        ...


class GuestPicture(Protocol):
    """A picture: three bytes a pixel, line by line from the top."""

    @property
    def width(self) -> int:
        """Pixels of a line."""
        ...

    @property
    def height(self) -> int:
        """Lines."""
        ...

    @property
    def rgb(self) -> bytes:
        """``width * height * 3`` bytes."""
        ...


@runtime_checkable
class Reconfigures(Protocol):
    """A program that can hand what it knows over to one with another configuration."""

    def reconfigured(self, config: Mapping[str, Value]) -> PacketAppliance:
        """The program that is to follow this one, which stays as it is and may still be kept; ValueError refuses."""
        ...


@runtime_checkable
class KnowsTheDate(Protocol):
    """A program to which the date matters."""

    def clock_set(self, wall_offset_s: float | None) -> None:
        """`now_s` plus this is the seconds since 1 January 1970, UTC; None: nobody knows."""
        ...


@runtime_checkable
class Draws(Protocol):
    """A program with a screen."""

    def draw(self) -> GuestPicture:
        """What the screen shows."""
        ...
