"""The guest kernel of a modelled VM: drives the VM's ports and lets a packet appliance's program decide on every frame.

    16 MiB  messages for hypercalls        each port from 20 MiB: 4 MiB with its rings and buffers
    below   what the VMM left (`vafw.vmm.boot`)        behind the ports: the framebuffer, where there is a display

It knows the machine only from the boot description and reaches it only as a guest can: loads, stores and hypercalls.
One frame out of the program for one into it is the rule; whatever the program raises costs that frame and the VM's good
health, never the kernel: a program that fails passes nothing.

A port is not drained while frames wait for room at the port opposite, which is how a full link slows down whoever
fills it; the other direction keeps flowing, so that two neighbours cannot wait for each other. What a program sends
back where it came from is queued in any case, up to `MAXIMUM_QUEUE` of the port, and dropped and counted beyond.

Whoever puts frames into a ring, or makes room in one that was full, raises the port's interrupt afterwards. So one look
at the port that interrupted is enough, none at the others is needed, and the card's cause is acknowledged before it.

What a program may offer besides deciding on frames is in `vafw.traffic.offers`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator
from typing import Final, TypeAlias, final
from zlib import crc32

from vafw.hw.pci.display import BYTES_PER_PIXEL, DisplayRegister
from vafw.hw.vmx.guest import GuestCpu, GuestProgram, Running
from vafw.hw.vmx.operation import Hlt, Operation, Vmcall
from vafw.provider.model.network_port import PORT_BYTES, PORTS_GPA, NetworkPort
from vafw.trace import Value
from vafw.traffic.appliance import Outcome, PacketAppliance
from vafw.traffic.offers import (
    ActsByItself,
    CreateProgram,
    Draws,
    Frames,
    GuestPicture,
    KnowsTheDate,
    Reconfigures,
    Starts,
)
from vafw.vmm.boot import BootInformation, FunctionInformation
from vafw.vmm.hypercall import MAXIMUM_REPORT, MAXIMUM_TEXT, Hypercall
from vafw.vmm.vm import Vector

MESSAGE_GPA: Final = 16 << 20
MAXIMUM_FAULT_LINES: Final = 16
"""Failures of the program that are logged; all are counted."""
MAXIMUM_ENDINGS: Final = 1024
"""Frames that ended here and are remembered for the next report; the oldest go first."""
FAILED: Final = "(failed)"
"""The rule that ends a frame on which the program raised."""
DEFAULT_TIMER_PERIOD_S: Final = 0.1

Steps: TypeAlias = Generator[Operation, object, None]


def guest_kernel(create: CreateProgram) -> GuestProgram:
    """The code of a VM that runs the program which `create` makes from its configuration."""

    def program(cpu: GuestCpu) -> Running:
        return _Kernel(cpu, create).run()

    return program


@final
class _Kernel:
    """One boot of the kernel."""

    def __init__(self, cpu: GuestCpu, create: CreateProgram) -> None:
        self._cpu = cpu
        self._create = create
        self._ports: dict[str, NetworkPort] = {}
        self._by_vector: dict[int, NetworkPort] = {}
        self._display: FunctionInformation | None = None
        self._program: PacketAppliance | None = None
        self._timed: ActsByItself | None = None
        self._wall_offset_s: float | None = None
        """What makes the time since the start the seconds since 1970, where it is known."""
        self._screen: Draws | None = None
        self._failures = 0
        self._nowhere = 0
        """Frames sent to a port that the VM does not have."""
        self._endings: deque[tuple[int, str]] = deque(maxlen=MAXIMUM_ENDINGS)
        """CRC-32 of each frame that was not passed on, and the rule, since the last report."""
        self._lines: list[str] = []
        self._broken = ""
        self._told: tuple[bool, str] | None = None

    def run(self) -> Steps:
        """Boot, then take interrupts for ever."""
        boot = BootInformation.read(self._cpu.read)
        yield from self._boot(boot)
        wait = Hlt()
        while True:
            vector = yield wait
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
            yield from self._ask_the_time()
            self._take_offers(program)
            yield from self._arm_timer()
            yield from self._work_everywhere()
            self._draw()
        yield from self._tell()
        yield from self._probe()

    def _take_offers(self, offered: object) -> None:
        """What the program can do besides deciding on frames."""
        self._timed = offered if isinstance(offered, ActsByItself) else None
        self._screen = offered if isinstance(offered, Draws) else None
        self._tell_the_time(offered)
        if isinstance(offered, Starts):
            self._send_all(self._attempt("start", offered.start, self._now_s()))

    def _ask_the_time(self) -> Steps:
        yield Vmcall(Hypercall.WALL_CLOCK, MESSAGE_GPA)
        wall_ns = int.from_bytes(self._cpu.read(MESSAGE_GPA, 8), "little")
        self._wall_offset_s = wall_ns / 1e9 if wall_ns else None

    def _tell_the_time(self, program: object) -> None:
        try:
            if isinstance(program, KnowsTheDate):
                program.clock_set(self._wall_offset_s)
        except Exception as error:
            self._fail("clock_set", error)

    def _open_ports(self, boot: BootInformation) -> Steps:
        for function in boot.functions:
            if function.port is not None:
                self._add_port(NetworkPort(self._cpu, function.port, len(self._ports), function, 0), function.vector)
            elif function.device_class == "display":
                self._display = function
        for link in boot.ports:
            self._add_port(NetworkPort(self._cpu, link.name, len(self._ports), None, link.number), link.vector)
        pair = tuple(self._ports.values())
        if len(pair) == 2:
            pair[0].opposite, pair[1].opposite = pair[1], pair[0]
        for port in pair:
            yield from self._open(port)

    def _add_port(self, port: NetworkPort, vector: int) -> None:
        self._ports[port.name] = port
        self._by_vector[vector] = port

    def _open(self, port: NetworkPort) -> Steps:
        """Let frames in."""
        if port.device is None:
            yield port.setup
        else:
            port.enable()

    # -- interrupts -------------------------------------------------------------------------------------------

    def _interrupted(self, vector: object) -> Steps:
        port = self._by_vector.get(vector) if isinstance(vector, int) else None
        if port is not None:
            yield from self._work(port)
        else:
            yield from self._asked(vector)
        if self._lines or self._broken:
            yield from self._tell()

    def _asked(self, vector: object) -> Steps:
        """The VMM wants something, or the timer is due."""
        match vector:
            case Vector.REPORT:
                yield from self._report()
            case Vector.PROBE:
                yield from self._probe()
            case Vector.DRAW:
                self._draw()
            case Vector.CONFIGURE:
                yield from self._configure()
            case Vector.CLOCK:
                yield from self._ask_the_time()
                self._tell_the_time(self._program)
            case Vector.TIMER:
                if self._timed is not None:
                    self._send_all(self._attempt("on_timer", self._timed.on_timer, self._now_s()))
                yield from self._arm_timer()
                yield from self._work_everywhere()
            case _:
                pass

    def _work_everywhere(self) -> Steps:
        """Something other than a port has made frames."""
        for port in self._ports.values():
            yield from self._work(port)

    def _work(self, port: NetworkPort) -> Steps:
        """A port has frames, or room: carry what it has, and what was held back for want of that room."""
        port.acknowledge()
        if port.tx.queue:
            yield from self._flush(port)
        yield from self._carry(port)
        if port.opposite.held_back:
            yield from self._carry(port.opposite)

    def _carry(self, port: NetworkPort) -> Steps:
        """Take the frames of a port through the program, if what passes can leave."""
        if port.opposite.tx.queue:
            yield from self._flush(port.opposite)
        port.held_back = bool(port.opposite.tx.queue)
        if port.held_back:
            return
        frames = port.rx.drain()
        port.received += len(frames)
        self._handle(port, frames)
        for each in self._ports.values():
            if each.tx.queue or each.rx.ran_dry:
                yield from self._flush(each)

    def _flush(self, port: NetworkPort) -> Steps:
        """Post what waits until the ring stays full; tell the VMM of a link's new frames, or of buffers it lacked."""
        while (sent := port.tx.flush()) or port.rx.ran_dry:
            port.rx.ran_dry = False
            port.sent += sent
            if port.device is None:
                yield port.doorbell
        port.choose_causes()

    # -- the program ------------------------------------------------------------------------------------------

    def _handle(self, port: NetworkPort, frames: list[bytes]) -> None:
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
                if verdict.outcome is not Outcome.PASSED:
                    self._endings.append((crc32(frame), str(verdict.rule)))
            except Exception as error:
                self._endings.append((crc32(frame), FAILED))
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

    def _configure(self) -> Steps:
        """Swap the program between two frames for one with the new configuration, if that one is made and healthy."""
        try:
            config = BootInformation.read(self._cpu.read).config
            program = self._program
            follower = program.reconfigured(config) if isinstance(program, Reconfigures) else self._create(config)
            healthy, reason = follower.probe()
        except Exception as error:
            healthy, reason = False, f"{type(error).__name__}: {error}"
        else:
            if healthy:
                self._program = follower
                self._take_offers(follower)
                yield from self._arm_timer()
                yield from self._work_everywhere()
        yield Vmcall(Hypercall.CONFIGURED, int(healthy), *self._message(reason.encode()[:MAXIMUM_TEXT]))
        if healthy:
            yield from self._probe()

    def _report(self) -> Steps:
        """The program's report, with the kernel's counters and the frames that ended here beside it."""
        report: dict[str, Value] = {}
        if self._program is not None:
            try:
                report = dict(self._program.report())
                json.dumps(report)
            except Exception as error:
                self._fail("report", error)
                report = {}
        report["endings"] = [{"crc32": crc, "rule": rule} for crc, rule in self._endings]
        self._endings.clear()
        report["kernel"] = {
            "failures": self._failures,
            "nowhere": self._nowhere,
            "ports": {
                port.name: {"received": port.received, "sent": port.sent, "dropped": port.dropped}
                for port in self._ports.values()
            },
        }
        text = json.dumps(report).encode()
        if len(text) > MAXIMUM_REPORT:  # what lies behind the messages are the ports' rings
            text = json.dumps({"kernel": report["kernel"], "too-long": len(text)}).encode()
        yield Vmcall(Hypercall.REPORT, *self._message(text))

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
