"""What the graph shows: the parts of a topology and how they stand to each other, read from the text as it is now.

Pure, and forgiving where the checks are not: a document with errors is still drawn as far as it says something, for
that is when a person looks at the picture. What is wrong with it is the problems panel's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

from vafw.document.consistency import USER_OS
from vafw_tui.round_trip import Place


class Kind(Enum):
    """What a part of the picture is."""

    TOPOLOGY = "topology"
    DEVICE = "device"
    VM = "VM"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Thing:
    """A part of the picture that can be selected."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM as the document describes it."""

    name: str
    image: str
    memory: str
    vcpus: str
    devices: tuple[str, ...]
    declared: bool = True
    """Whether there is an entry for it, and not only a hop of the path."""

    @property
    def thing(self) -> Thing:
        """Its place in the picture."""
        return Thing(Kind.VM, self.name)

    @property
    def share(self) -> str:
        """What it is given: ``256 MiB, 1 vCPU``."""
        return f"{self.memory}, {self.vcpus} vCPU{'' if self.vcpus == '1' else 's'}"


@dataclass(frozen=True, slots=True)
class SideLink:
    """A link beside the path, as the document describes it."""

    name: str
    between: str
    """Its ends: ``a.port - b.port``."""

    @property
    def thing(self) -> Thing:
        """Its place in the picture."""
        return Thing(Kind.LINK, self.name)


@dataclass(frozen=True, slots=True)
class Scene:
    """A topology sorted the way the picture wants it."""

    name: str
    wire: str
    """The network function that the path begins with; empty where the path is empty."""
    hops: tuple[Vm, ...]
    """The VMs of the path, from the wire inwards."""
    beside: tuple[Vm, ...]
    """VMs that no traffic passes through."""
    links: tuple[SideLink, ...]
    """Links beside the path."""
    free: tuple[str, ...]
    """Devices of the machine that no VM has."""

    @property
    def hop_links(self) -> tuple[str, ...]:
        """The links of the path between two VMs, by name."""
        return tuple(f"{outer.name}-{inner.name}" for outer, inner in pairwise(self.hops))

    def things(self) -> Iterator[Thing]:
        """Everything that can be selected, from top to bottom."""
        yield Thing(Kind.TOPOLOGY, self.name)
        if self.wire:
            yield Thing(Kind.DEVICE, self.wire)
        for position, vm in enumerate(self.hops):
            if position:
                yield Thing(Kind.LINK, self.hop_links[position - 1])
            yield from self._vm(vm)
        for vm in self.beside:
            yield from self._vm(vm)
        yield from (link.thing for link in self.links)
        yield from (Thing(Kind.DEVICE, name) for name in self.free)

    def _vm(self, vm: Vm) -> Iterator[Thing]:
        yield vm.thing
        yield from (Thing(Kind.DEVICE, name) for name in vm.devices if not self.is_at_wire(vm, name))

    def is_at_wire(self, vm: Vm, device: str) -> bool:
        """Whether a VM's device is drawn above it, as the way in from the wire."""
        return device == self.wire and bool(self.hops) and vm is self.hops[0]

    def vm(self, name: str) -> Vm | None:
        """The VM of that name."""
        return next((each for each in (*self.hops, *self.beside) if each.name == name), None)

    def owner(self, device: str) -> str:
        """The VM that a device is assigned to; empty where none."""
        return next((each.name for each in (*self.hops, *self.beside) if device in each.devices), "")

    def insert_position(self, thing: Thing) -> int:
        """Where in the path an appliance goes that is added at `thing`: into a link, behind a VM, else first."""
        if thing.kind is Kind.LINK and thing.name in self.hop_links:
            return self.hop_links.index(thing.name) + 2
        names = [each.name for each in self.hops]
        if thing.kind is Kind.VM and thing.name in names:
            return min(names.index(thing.name) + 2, max(len(names), 1))
        return 1


def scene(document: Any, devices: Mapping[str, object]) -> Scene:
    """The scene of a topology as plain data, with the devices that its machine has."""
    top = _mapping(document)
    entries = {str(name): _mapping(entry) for name, entry in _mapping(top.get("appliances")).items()}
    entries[USER_OS] = _mapping(top.get(USER_OS))
    declared = {*_mapping(top.get("appliances")), *({USER_OS} if USER_OS in top else ())}
    path = [str(each) for each in _listed(top.get("path"))]
    vms = {name: _vm(name, entry, declared=name in declared) for name, entry in entries.items()}
    hops = tuple(vms.get(name) or _vm(name, {}, declared=False) for name in dict.fromkeys(path[1:]))
    beside = tuple(vms[name] for name in vms if name not in path and name in declared)
    owned = {device for vm in vms.values() for device in vm.devices}
    return Scene(
        name=str(top.get("name") or "topology"),
        wire=path[0] if path else "",
        hops=hops,
        beside=beside,
        links=tuple(_link(_mapping(each)) for each in _listed(top.get("links"))),
        free=tuple(name for name in devices if name not in owned and name not in path[:1]),
    )


def place(thing: Thing, document: Any) -> Place:
    """Where `thing` stands in the topology's document; the beginning for what stands in another one."""
    top = _mapping(document)
    if thing.kind is Kind.VM:
        return (USER_OS,) if thing.name == USER_OS else ("appliances", thing.name)
    if thing.kind is Kind.LINK:
        number = link_number(thing, document)
        return ("path",) if number is None else ("links", number)
    if thing.kind is Kind.DEVICE:
        for name, entry in (*_mapping(top.get("appliances")).items(), (USER_OS, top.get(USER_OS))):
            owned = _listed(_mapping(entry).get("assign"))
            if thing.name in owned:
                above = (USER_OS,) if name == USER_OS else ("appliances", str(name))
                return (*above, "assign", owned.index(thing.name))
        return ("machine",)
    return ()


def link_number(thing: Thing, document: Any) -> int | None:
    """Which entry of the document's links `thing` is; None for a link of the path, or where there is none."""
    names = [_link(_mapping(each)).name for each in _listed(_mapping(document).get("links"))]
    return names.index(thing.name) if thing.kind is Kind.LINK and thing.name in names else None


def thing_at(where: Place, scene: Scene) -> Thing | None:
    """The part of the picture that a place of the document belongs to."""
    match where:
        case ("links", int(number), *_) if number < len(scene.links):
            return scene.links[number].thing
        case ("appliances", str(name), *_):
            return Thing(Kind.VM, name)
        case (str(first), *_) if first == USER_OS:
            return Thing(Kind.VM, USER_OS)
    return None


def _vm(name: str, entry: Mapping[str, Any], *, declared: bool) -> Vm:
    image = entry.get("image") if name == USER_OS else entry.get("use")
    memory, vcpus = entry.get("memory", "128 MiB"), entry.get("vcpus", 1)
    devices = tuple(str(each) for each in _listed(entry.get("assign")))
    return Vm(name, str(image or "?"), str(memory), str(vcpus), devices, declared)


def _link(entry: Mapping[str, Any]) -> SideLink:
    return SideLink(str(entry.get("name", "?")), " - ".join(str(each) for each in _listed(entry.get("between"))))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
