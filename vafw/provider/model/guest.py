"""The guest kernel of a modelled VM: drives the VM's ports and lets a packet appliance's program decide on every frame.

    16 MiB  messages for hypercalls        each port from 20 MiB: 4 MiB with its rings and buffers
    below   what the VMM left (`vafw.vmm.boot`)        behind the ports: the framebuffer, where there is a display

It knows the machine only from the boot description and reaches it only as a guest can: loads, stores and hypercalls.
One frame out of the program for one into it is the rule; whatever the program raises costs that frame and the VM's good
health, never the kernel: a program that fails passes nothing.

A port is not drained while frames wait for room at the port opposite, which is how a full link slows down whoever
fills it; the other direction keeps flowing, so that two neighbours cannot wait for each other. What a program sends
back where it came from is queued in any case, up to `MAXIMUM_QUEUE` frames, and dropped and counted beyond.

A program may also offer `start(now_s)` and `on_timer(now_s)`, which return frames to send as (port, frame), with the
period in `timer_period_s`; and `draw()`, which returns a picture for the VM's display.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Final, TypeAlias, final

from vafw.hw.pci.display import BYTES_PER_PIXEL, DisplayRegister
from vafw.hw.pci.network_card import NetworkRegister
from vafw.hw.vmx.guest import GuestCpu, GuestProgram, Hlt, PrivilegedOperation, Running, Vmcall
from vafw.provider.model.offers import ActsByItself, CreateProgram, Draws, Frames, GuestPicture, Starts
from vafw.provider.model.ring_driver import (
    BUFFER_BYTES,
    BUFFERS_BYTES,
    RING_BYTES,
    ReceiveRing,
    TransmitRing,
)
from vafw.trace import Value
from vafw.traffic.appliance import PacketAppliance
from vafw.vmm.boot import BootInformation, FunctionInformation
from vafw.vmm.hypercall import MAXIMUM_TEXT, Hypercall
from vafw.vmm.port import RX_REGISTERS, TX_REGISTERS
from vafw.vmm.vm import Vector

MESSAGE_GPA: Final = 16 << 20
PORTS_GPA: Final = 20 << 20
PORT_BYTES: Final = 4 << 20
MAXIMUM_QUEUE: Final = 4096
"""Frames that wait for room at one port."""
MAXIMUM_FAULT_LINES: Final = 16
"""Failures of the program that are logged; all are counted."""
DEFAULT_TIMER_PERIOD_S: Final = 0.1

Steps: TypeAlias = Generator[PrivilegedOperation, object, None]


def guest_kernel(create: CreateProgram) -> GuestProgram:
    """The code of a VM that runs the program which `create` makes from its configuration."""

    def program(cpu: GuestCpu) -> Running:
        yield from _Kernel(cpu, create).run()

    return program


@final
class _Port:
    """A network port: rings in a region of guest memory, and how to tell the other side about them."""

    def __init__(self, cpu: GuestCpu, name: str, number: int, device: FunctionInformation | None, link: int) -> None:
        """`device` for a network card's registers; None for a link, whose number is `link`."""
        region = PORTS_GPA + number * PORT_BYTES
        rings = region + 0x1000
        buffers = region + 0x4000
        rx = device.window + NetworkRegister.RX_RING if device else region + RX_REGISTERS
        tx = device.window + NetworkRegister.TX_RING if device else region + TX_REGISTERS
        self.name = name
        self.registers = region
        self.device = device
        self.link = link
        self.rx = ReceiveRing(cpu, rx, rings, buffers)
        self.tx = TransmitRing(cpu, tx, rings + RING_BYTES, buffers + BUFFERS_BYTES)
        self.opposite: _Port = self
        self.received = self.sent = self.dropped = 0

    def queue(self, frame: bytes) -> None:
        """Send after what waits already; too much or too long is dropped and counted."""
        if len(self.tx.queue) < MAXIMUM_QUEUE and 0 < len(frame) <= BUFFER_BYTES:
            self.tx.queue.append(frame)
        else:
            self.dropped += 1


@final
class _Kernel:
    """One boot of the kernel."""

    def __init__(self, cpu: GuestCpu, create: CreateProgram) -> None:
        self._cpu = cpu
        self._create = create
        self._ports: dict[str, _Port] = {}
        self._by_vector: dict[int, _Port] = {}
        self._display: FunctionInformation | None = None
        self._program: PacketAppliance | None = None
        self._timed: ActsByItself | None = None
        self._screen: Draws | None = None
        self._failures = 0
        self._nowhere = 0
        """Frames sent to a port that the VM does not have."""
        self._lines: list[str] = []
        self._broken = ""
        self._told: tuple[bool, str] | None = None

    def run(self) -> Steps:
        """Boot, then take interrupts for ever."""
        boot = BootInformation.read(self._cpu.read)
        yield from self._boot(boot)
        while True:
            vector = yield Hlt()
            yield from self._interrupted(vector)

    # -- boot -------------------------------------------------------------------------------------------------

    def _boot(self, boot: BootInformation) -> Steps:
        """The program first: without one no port is ever opened."""
        try:
            program = self._create(boot.config)
        except Exception as error:
            self._fail("create", error)
        else:
            self._program = program
            yield from self._open_ports(boot)
            self._take_offers(program)
            yield from self._arm_timer()
            yield from self._work(None)
            self._draw()
        yield from self._tell()
        yield from self._probe()

    def _take_offers(self, offered: object) -> None:
        """What the program can do besides deciding on frames."""
        self._timed = offered if isinstance(offered, ActsByItself) else None
        self._screen = offered if isinstance(offered, Draws) else None
        if isinstance(offered, Starts):
            self._send_all(self._attempt("start", offered.start, self._now_s()))

    def _open_ports(self, boot: BootInformation) -> Steps:
        for function in boot.functions:
            if function.port is not None:
                self._add_port(_Port(self._cpu, function.port, len(self._ports), function, 0), function.vector)
            elif function.device_class == "display":
                self._display = function
        for link in boot.ports:
            self._add_port(_Port(self._cpu, link.name, len(self._ports), None, link.number), link.vector)
        pair = tuple(self._ports.values())
        if len(pair) == 2:
            pair[0].opposite, pair[1].opposite = pair[1], pair[0]
        for port in pair:
            yield from self._open(port)

    def _add_port(self, port: _Port, vector: int) -> None:
        self._ports[port.name] = port
        self._by_vector[vector] = port

    def _open(self, port: _Port) -> Steps:
        """Let frames in."""
        if port.device is None:
            yield Vmcall(Hypercall.LINK_SETUP, port.link, port.registers)
        else:
            self._cpu.write_u32(port.device.window + NetworkRegister.CTRL, 3)
            self._cpu.write_u32(port.device.window + NetworkRegister.IMS, 7)

    # -- interrupts -------------------------------------------------------------------------------------------

    def _interrupted(self, vector: object) -> Steps:
        match vector:
            case Vector.REPORT:
                yield from self._report()
            case Vector.PROBE:
                yield from self._probe()
            case Vector.DRAW:
                self._draw()
            case Vector.TIMER:
                if self._timed is not None:
                    self._send_all(self._attempt("on_timer", self._timed.on_timer, self._now_s()))
                yield from self._arm_timer()
                yield from self._work(None)
            case _:
                port = self._by_vector.get(vector) if isinstance(vector, int) else None
                yield from self._work(port)
        yield from self._tell()

    def _work(self, first: _Port | None) -> Steps:
        """Carry frames until nothing moves; the port that interrupted goes first."""
        order = sorted(self._ports.values(), key=lambda port: port is not first)
        moving = True
        while moving:
            moving = False
            for port in order:
                frames = [] if port.opposite.tx.queue else self._receive(port)
                if frames:
                    moving = True
                    self._handle(port, frames)
                    yield from self._flush(port, drained=True)
                for other in order:
                    yield from self._flush(other)

    def _receive(self, port: _Port) -> list[bytes]:
        if port.device is not None:
            self._cpu.write_u32(port.device.window + NetworkRegister.ICR, 7)
        frames = port.rx.drain()
        port.received += len(frames)
        return frames

    def _flush(self, port: _Port, *, drained: bool = False) -> Steps:
        """Post what waits until the ring stays full; tell the VMM of a link's new frames, or of its new buffers."""
        while (sent := port.tx.flush()) or drained:
            drained = False
            port.sent += sent
            if port.device is None:
                yield Vmcall(Hypercall.LINK_DOORBELL, port.link)

    # -- the program ------------------------------------------------------------------------------------------

    def _handle(self, port: _Port, frames: list[bytes]) -> None:
        """Let the program decide on frames of one port, in order."""
        program = self._program
        if program is None:
            return
        now_s = self._now_s()
        handle, name, ports, lines = program.handle, port.name, self._ports, self._lines
        for frame in frames:
            try:
                verdict = handle(name, frame, now_s)
                for leaves_by, out in verdict.emit:
                    target = ports.get(leaves_by)
                    if target is None:
                        self._nowhere += 1
                    else:
                        target.queue(out)
                if verdict.log:
                    lines.append(verdict.log)
            except Exception as error:
                self._fail("handle", error)

    def _send_all(self, frames: Frames) -> None:
        for leaves_by, frame in frames:
            target = self._ports.get(leaves_by)
            if target is None:
                self._nowhere += 1
            else:
                target.queue(frame)

    def _attempt(self, what: str, call: Callable[[float], Frames], now_s: float) -> Frames:
        """What the program wants to send; nothing where it raises."""
        try:
            return list(call(now_s))
        except Exception as error:
            self._fail(what, error)
            return ()

    def _fail(self, what: str, error: Exception) -> None:
        """The program raised: the VM is unhealthy until it is started anew."""
        self._failures += 1
        self._broken = self._broken or f"{what} raised {type(error).__name__}: {error}"
        if self._failures <= MAXIMUM_FAULT_LINES:
            self._lines.append(f"{what} raised {type(error).__name__}: {error}")

    def _now_s(self) -> float:
        return self._cpu.tsc() / 1e9

    # -- what the VMM is told ---------------------------------------------------------------------------------

    def _tell(self) -> Steps:
        """Log lines that have gathered, and a failure's consequence."""
        for line in self._lines:
            yield Vmcall(Hypercall.LOG, *self._message(line.encode()[:MAXIMUM_TEXT]))
        self._lines.clear()
        if self._broken:
            yield from self._say_health(False, self._broken)

    def _probe(self) -> Steps:
        """The program's own probe; a program that has raised is not asked any more."""
        if self._broken or self._program is None:
            yield from self._say_health(False, self._broken)
            return
        try:
            healthy, reason = self._program.probe()
        except Exception as error:
            self._fail("probe", error)
            healthy, reason = False, self._broken
        yield from self._say_health(healthy, reason)

    def _say_health(self, healthy: bool, reason: str) -> Steps:
        if self._told != (healthy, reason):
            self._told = (healthy, reason)
            yield Vmcall(Hypercall.HEALTH, int(healthy), *self._message(reason.encode()[:MAXIMUM_TEXT]))

    def _report(self) -> Steps:
        """The program's report, with the kernel's counters beside it."""
        report: dict[str, Value] = {}
        if self._program is not None:
            try:
                report = dict(self._program.report())
                json.dumps(report)
            except Exception as error:
                self._fail("report", error)
                report = {}
        report["kernel"] = {
            "failures": self._failures,
            "nowhere": self._nowhere,
            "ports": {
                port.name: {"received": port.received, "sent": port.sent, "dropped": port.dropped}
                for port in self._ports.values()
            },
        }
        yield Vmcall(Hypercall.REPORT, *self._message(json.dumps(report).encode()))

    def _message(self, text: bytes) -> tuple[int, int]:
        """Put bytes where hypercalls point to; returns address and length."""
        self._cpu.write(MESSAGE_GPA, text)
        return MESSAGE_GPA, len(text)

    def _arm_timer(self) -> Steps:
        if self._timed is not None:
            period_s = float(getattr(self._timed, "timer_period_s", DEFAULT_TIMER_PERIOD_S))
            yield Vmcall(Hypercall.SET_TIMER, self._cpu.tsc() + int(period_s * 1e9))

    def _draw(self) -> None:
        """Draw into the VM's own memory and point the display at it."""
        if self._display is None or self._screen is None:
            return
        try:
            picture = self._screen.draw()
            pixels = _xrgb(picture)
        except Exception as error:
            self._fail("draw", error)
            return
        framebuffer = PORTS_GPA + len(self._ports) * PORT_BYTES
        self._cpu.write(framebuffer, pixels)
        window = self._display.window
        for register, value in (
            (DisplayRegister.BASE_LO, framebuffer & 0xFFFF_FFFF),
            (DisplayRegister.BASE_HI, framebuffer >> 32),
            (DisplayRegister.WIDTH, picture.width),
            (DisplayRegister.HEIGHT, picture.height),
            (DisplayRegister.STRIDE, picture.width * BYTES_PER_PIXEL),
            (DisplayRegister.CTRL, 1),
        ):
            self._cpu.write_u32(window + register, value)


def _xrgb(picture: GuestPicture) -> bytes:
    """XRGB8888, little-endian, as the display scans it."""
    rgb = picture.rgb
    if len(rgb) != picture.width * picture.height * 3:
        raise ValueError(f"a picture of {picture.width}x{picture.height} must have three bytes a pixel, not {len(rgb)}")
    pixels = bytearray(picture.width * picture.height * BYTES_PER_PIXEL)
    pixels[0::4], pixels[1::4], pixels[2::4] = rgb[2::3], rgb[1::3], rgb[0::3]
    return bytes(pixels)
