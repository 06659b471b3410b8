"""A plan as command lines: what QEMU is started with for each VM. Pure; running it is `processes.py`.

No device that the plan does not call for, and none by default. A VM's links are pairs of unix datagram sockets, one
datagram a frame: no bridge, no tap, no root, and no third party. The far end of a link that is gone takes nothing, so a
link fails closed by itself. Where the two ends of a link, the monitor and the console lie follows from names alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vafw.machine.inventory import DeviceClass
from vafw.plan.plan import Plan, Port, VmPlan, VmRole
from vafw.provider.qemu.guest.channel import BROKER_PORT_NAME, PORT_NAME
from vafw.provider.qemu.uplink import Uplink
from vafw.trace import Value
from vafw.traffic.appliance import OUTSIDE, uplink_port

QEMU: Final = "qemu-system-x86_64"
MIB: Final = 1 << 20
WIRE: Final = "wire"
"""The far end of the first appliance's outside port: what there is of a network; of further uplinks see `wires`."""
ANSWERS: Final = Uplink()
_SANDBOX: Final = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


@dataclass(frozen=True, slots=True)
class Boot:
    """What a VM boots: names under which the running QEMU can open the measured bytes."""

    kernel: str
    initramfs: str
    command_line: str


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run's sockets and files lie."""

    folder: Path

    def monitor(self, vm: str) -> Path:
        """The QMP socket of a VM."""
        return self.folder / f"{vm}.qmp"

    def screen(self, vm: str) -> Path:
        """The QMP socket over which pictures are asked for."""
        return self.folder / f"{vm}.screen"

    def channel(self, vm: str) -> Path:
        """The socket to a guest's first process."""
        return self.folder / f"{vm}.vafw"

    def broker(self, vm: str) -> Path:
        """The socket over which a guest's agent reaches the broker."""
        return self.folder / f"{vm}.broker"

    def console(self, vm: str) -> Path:
        """What a guest's kernel prints."""
        return self.folder / f"{vm}.console"

    def link_end(self, port: Port | str) -> Path:
        """The socket at which one end of a link receives."""
        return self.folder / f"{port}.link"


def command_lines(
    plan: Plan, boots: Mapping[str, Boot], places: Places, *, accelerator: str = "tcg", uplink: Uplink = ANSWERS
) -> dict[str, list[str]]:
    """The command line of every VM, by its name, in start order."""
    return {
        vm.name: command_line(plan, vm, boots[vm.name], places, accelerator=accelerator, uplink=uplink)
        for vm in plan.vms
    }


def command_line(
    plan: Plan, vm: VmPlan, boot: Boot, places: Places, *, accelerator: str = "tcg", uplink: Uplink = ANSWERS
) -> list[str]:
    """The command line of one VM."""
    return [
        *(QEMU, "-name", f"vafw-{plan.name}-{vm.name}"),
        *("-accel", accelerator, "-machine", "q35,usb=off,smbus=off,vmport=off", "-cpu", "max"),
        *("-m", f"{vm.memory_bytes // MIB}M", "-smp", str(vm.vcpus)),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-sandbox", _SANDBOX),
        *("-kernel", boot.kernel, "-initrd", boot.initramfs, "-append", boot.command_line),
        *_chardev_socket("monitor", places.monitor(vm.name)),
        *("-mon", "chardev=monitor,mode=control"),
        *("-chardev", f"file,id=console,path={_escaped(places.console(vm.name))}", "-serial", "chardev:console"),
        *("-device", "virtio-serial-pci,id=serial,max_ports=3"),
        *_chardev_socket("channel", places.channel(vm.name)),
        *("-device", f"virtserialport,bus=serial.0,nr=1,chardev=channel,name={PORT_NAME}"),
        *(_broker_port(places, vm) if vm.role is VmRole.APPLIANCE else ()),
        *(word for port in vm.ports for word in _network(plan, Port(vm.name, port), places, uplink)),
        *(
            word
            for function in vm.functions
            if function.device_class is DeviceClass.DISPLAY
            for word in _display(places, vm)
        ),
    ]


def far_end(plan: Plan, port: Port) -> Port | str | None:
    """What a port is joined to: another VM's port, the wire, or nothing."""
    for link in plan.links:
        if port in (link.outer, link.inner):
            return link.inner if port == link.outer else link.outer
    return next((wire for wire, fed in wires(plan).items() if fed == port), None)


def wires(plan: Plan) -> dict[str, Port]:
    """The port that each wire feeds, by the name of its far end; the path's own first."""
    own = plan.path[0]
    return {WIRE if each == own else f"{WIRE}-{each}": port for each, port in plan.feeds().items()}


def wire_port(plan: Plan) -> Port:
    """The port that the path's own network function feeds."""
    return Port(plan.path[1], OUTSIDE)


def mac_of(plan: Plan, port: Port) -> str:
    """The MAC address of a port: that of the plan where the VM takes part in the network, a router or the user's OS.

    The machine's own is at the end of the path where all in between is transparent, else outside at the router. The
    others are made of the names, locally administered; no frame on the path bears them.
    """
    config = plan.vm(port.vm).config
    link = _links(config).get(port.port)
    given = link.get("mac") if isinstance(link, dict) else config.get("mac") if port.vm == plan.path[-1] else None
    if isinstance(given, str):
        return given
    made = hashlib.sha256(f"{plan.name} {port}".encode()).digest()
    return ":".join(f"{each:02x}" for each in (0x52, 0x54, 0x01, *made[:3]))


def _links(config: Mapping[str, Value]) -> dict[str, Value]:
    """The links of a router by port; none where the VM is no router."""
    router = config.get("router")
    if not isinstance(router, dict):
        return {}
    further = router.get("uplinks")
    numbered = enumerate(further if isinstance(further, list) else (), start=1)
    return {**router, **{uplink_port(at): each for at, each in numbered}}


def _network(plan: Plan, port: Port, places: Places, uplink: Uplink) -> tuple[str, ...]:
    """One port; joined to nothing it is a card without a cable."""
    far = far_end(plan, port)
    device = f"virtio-net-pci,id={port.port},mac={mac_of(plan, port)},romfile=,disable-legacy=on"
    if far is None:
        return ("-device", device)
    if far == WIRE and (backend := uplink.backend(plan)):
        name, _, options = backend.partition(",")
        return ("-netdev", f"{name},id=net-{port.port},{options}", "-device", f"{device},netdev=net-{port.port}")
    near_path, far_path = (_escaped(places.link_end(each)) for each in (port, far))
    ends = f"local.type=unix,local.path={near_path},remote.type=unix,remote.path={far_path}"
    return ("-netdev", f"dgram,id=net-{port.port},{ends}", "-device", f"{device},netdev=net-{port.port}")


def _broker_port(places: Places, vm: VmPlan) -> tuple[str, ...]:
    """A second serial port: an appliance's agent has a way to the broker that is not on the path."""
    device = f"virtserialport,bus=serial.0,nr=2,chardev=broker,name={BROKER_PORT_NAME}"
    return (*_chardev_socket("broker", places.broker(vm.name)), "-device", device)


def _display(places: Places, vm: VmPlan) -> tuple[str, ...]:
    """A VGA adapter, seen by nobody but who asks the second monitor for a picture."""
    monitor = _chardev_socket("screen", places.screen(vm.name))
    return ("-device", "VGA,id=display,vgamem_mb=16", *monitor, "-mon", "chardev=screen,mode=control")


def _chardev_socket(name: str, path: Path) -> tuple[str, str]:
    return "-chardev", f"socket,id={name},path={_escaped(path)},server=on,wait=off"


def _escaped(path: Path) -> str:
    """A path inside an option of QEMU's, where a comma ends the value and two stand for one."""
    return str(path).replace(",", ",,")
