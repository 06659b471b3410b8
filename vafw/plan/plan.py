"""The plan: what a provider and the supervisor carry out, with every document already read and checked.

Plain frozen data. Nothing in it refers back to a document; nothing in it is looked up again later. Its `digest` is what
the VMM extends into PCR 19 before anything starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vafw.attest.reference import ReferenceValues
from vafw.machine.authority import Authority
from vafw.machine.inventory import MachineInventory, PciFunction
from vafw.trace import Value
from vafw.traffic.appliance import OUTSIDE


class VmRole(StrEnum):
    """What a VM is in the topology."""

    APPLIANCE = "appliance"
    USER_OS = "user-os"


class FailureAction(StrEnum):
    """What the supervisor does when attestation fails while the machine is up."""

    QUARANTINE = "quarantine"
    STOP = "stop"
    ALERT = "alert"


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """The image a VM boots: named by its folder, measured from the open file that is started."""

    name: str
    folder: Path
    """The folder with the manifest and the program."""
    program: str
    """File name of the program, in `folder`."""


@dataclass(frozen=True, slots=True)
class VmPlan:
    """One VM."""

    name: str
    role: VmRole
    image: ImagePlan
    memory_bytes: int
    vcpus: int
    functions: tuple[PciFunction, ...]
    """Functions assigned to it alone."""
    ports: tuple[str, ...]
    """Its network ports; a port named in no link and fed by no assigned NIC stays dead."""
    config: Mapping[str, Value]
    """What the program is configured with."""
    authority: Authority | None = None
    """Whose signatures another configuration needs; None: nobody's."""
    has_secret: bool = False
    """Whether the platform gives it a secret of its own besides, which no plan holds."""

    @property
    def config_bytes(self) -> bytes:
        """The configuration as canonical JSON, UTF-8."""
        return canonical_json(dict(self.config))


@dataclass(frozen=True, slots=True)
class Port:
    """A VM's network port."""

    vm: str
    port: str

    def __str__(self) -> str:
        return f"{self.vm}.{self.port}"


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A point-to-point link that only the VMM can wire."""

    name: str
    outer: Port
    """The end nearer to the wire."""
    inner: Port
    """The end nearer to the user."""


@dataclass(frozen=True, slots=True)
class UplinkPlan:
    """A network function that is another way to the wire, and the port that it feeds."""

    function: str
    port: Port
    gateways: tuple[str, ...] = ()
    """Addresses of the next hops there."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What must be proven before anything starts, and what follows when it no longer holds."""

    re_attest_s: int | None
    on_failure: FailureAction
    require_txt: bool = False
    """Whether a launch by anything but TXT is refused."""
    accept_old: bool = False
    """Whether a component may run whose reference value is superseded."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it."""

    name: str
    machine: MachineInventory
    vms: tuple[VmPlan, ...]
    """In start order: from the wire inwards, the user OS last."""
    links: tuple[LinkPlan, ...]
    path: tuple[str, ...]
    """The network function's name, then each VM, the user OS last."""
    launch: LaunchPlan
    reference: ReferenceValues
    documents: Mapping[str, str]
    """SHA-256 of each document's bytes as read, hexadecimal, by kind: ``topology``, ``policy``, ..."""
    uplinks: tuple[UplinkPlan, ...] = ()
    """Ways to the wire besides the one that the path begins with."""

    def vm(self, name: str) -> VmPlan:
        """The VM of that name; KeyError where there is none."""
        for each in self.vms:
            if each.name == name:
                return each
        raise KeyError(name)

    @property
    def wire(self) -> PciFunction:
        """The network function that the path begins with."""
        found = self.machine.function(self.path[0])
        if found is None:
            raise KeyError(self.path[0])
        return found

    def feeds(self) -> Mapping[str, Port]:
        """The port that each network function on a wire feeds, the path's own first."""
        return {self.path[0]: Port(self.path[1], OUTSIDE)} | {each.function: each.port for each in self.uplinks}

    def to_json(self) -> dict[str, Value]:
        """The plan as plain JSON; the same plan always gives the same bytes."""
        return {
            "name": self.name,
            "machine": self.machine.name,
            "path": list(self.path),
            "vms": [
                {
                    "name": vm.name,
                    "role": vm.role.value,
                    "image": vm.image.name,
                    "memory-bytes": vm.memory_bytes,
                    "vcpus": vm.vcpus,
                    "functions": [{"name": each.name, "address": str(each.bdf)} for each in vm.functions],
                    "ports": list(vm.ports),
                    "config": dict(vm.config),
                    **({"authority": vm.authority.to_json()} if vm.authority is not None else {}),
                    **({"secret": True} if vm.has_secret else {}),
                }
                for vm in self.vms
            ],
            **({"uplinks": {each.function: str(each.port) for each in self.uplinks}} if self.uplinks else {}),
            "links": [{"name": link.name, "outer": str(link.outer), "inner": str(link.inner)} for link in self.links],
            "launch": {
                "re-attest-s": self.launch.re_attest_s,
                "on-failure": self.launch.on_failure.value,
                **({"require-txt": True} if self.launch.require_txt else {}),
                **({"accept-old": True} if self.launch.accept_old else {}),
            },
            "documents": dict(self.documents),
        }

    @property
    def digest(self) -> bytes:
        """SHA-256 over the canonical JSON of the plan."""
        return hashlib.sha256(canonical_json(self.to_json())).digest()


def canonical_json(value: Value) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8 (after RFC 8785, for the value types used here)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
