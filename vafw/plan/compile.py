"""From documents to a plan: run every check, then write down what has to be carried out.

`check` finds; `compile_plan` refuses on what was found and goes on only with documents that contradict nothing. Nothing
in the plan depends on the order in which a document lists its keys: VMs beside the path come in the order of their
names, everything else in the order of the path or of a list that the document gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any, Final

from vafw.address import Bdf
from vafw.attest.reference import AcceptedValue, ReferenceValues
from vafw.document.appliance import Appliance, ConfigOption
from vafw.document.diagnostic import Diagnostic, DocumentInvalid, Severity, in_order
from vafw.document.load import DocumentSet
from vafw.document.machine import Device, Machine
from vafw.document.reference_values import AcceptedDigest, ReferenceValuesDocument
from vafw.document.sections import ProxySection, VpnSection
from vafw.document.topology import Routing, Uplink
from vafw.errors import PlatformUnable
from vafw.machine.capability import Capability
from vafw.machine.inventory import DeviceClass, Iommu, MachineInventory, PciFunction
from vafw.plan.checks import CHECKS, idle_rules, proofs
from vafw.plan.checks.settings import as_texts
from vafw.plan.hops import own_addresses_of
from vafw.plan.lists import blocked_names, names_listed, signature_lines
from vafw.plan.management import authority_of
from vafw.plan.plan import FailureAction, ImagePlan, LaunchPlan, Plan, Port, UplinkPlan, VmPlan, VmRole
from vafw.plan.ports import PORTS
from vafw.plan.roster import VmUse, by_name, clients_of, gateway_of, roster, user_os
from vafw.plan.rules import compile_rules
from vafw.plan.wiring import wires
from vafw.trace import Value
from vafw.traffic.appliance import INSIDE, OUTSIDE, uplink_port
from vafw.traffic.conditions import patterns_of
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.nftables.statement import Family

_NEEDED_FOR: Final = {
    Capability.DMA_REMAPPING: "keep assigned devices to the memory of their VM (DMA remapping)",
    Capability.INTERRUPT_REMAPPING: "check the interrupts of assigned devices (interrupt remapping)",
    Capability.MEASURED_LAUNCH: "launch the VMM measured and attest it (measured launch)",
    Capability.SEVERAL_UPLINKS: "give a router several ways to the wire (uplinks)",
}

_ABOUT_RULES: Final = (proofs.proofs_hold, idle_rules.rules_do_work)
"""Checks that take the rules as they are and ask what follows."""


def check(documents: DocumentSet) -> tuple[Diagnostic, ...]:
    """All that is wrong with the documents together, by file and position."""
    return in_order(each for one in CHECKS for each in one(documents))


def refuse_but_for_proofs(documents: DocumentSet) -> None:
    """Raise DocumentInvalid on every error that keeps the policy from meaning something; proofs are not asked."""
    found = [each for one in CHECKS if one not in _ABOUT_RULES for each in one(documents)]
    if any(each.severity is Severity.ERROR for each in found):
        raise DocumentInvalid(found)


def compile_plan(documents: DocumentSet, capability: Capability) -> Plan:
    """The plan that the documents ask for.

    Raises DocumentInvalid with all that is wrong, or PlatformUnable where a platform of this capability cannot do it.
    """
    found = check(documents)
    if any(each.severity is Severity.ERROR for each in found):
        raise DocumentInvalid(found)
    _refuse_unable(documents, capability)
    topology, launch = documents.topology.model, documents.policy.model.launch
    machine = inventory(documents.machine.model)
    return Plan(
        name=topology.name,
        machine=machine,
        vms=tuple(_vm(documents, use, machine) for use in _in_start_order(documents)),
        links=tuple(wire.link for wire in wires(documents)),
        path=topology.path,
        uplinks=tuple(
            UplinkPlan(uplink.nic, Port(use.name, uplink_port(at)), uplink.gateway)
            for use in roster(documents)
            for at, uplink in enumerate(_uplinks(use), start=1)
        ),
        launch=LaunchPlan(
            launch.re_attest,
            FailureAction(launch.on_failure),
            require_txt=launch.require == "txt",
            accept_old=launch.old_components == "accept",
        ),
        reference=_reference(documents),
        documents=documents.sha256,
    )


def needed(documents: DocumentSet) -> Capability:
    """What a platform must be capable of to carry the documents out."""
    found = Capability.MEASURED_LAUNCH
    if any(use.assign for use in roster(documents)):
        found |= Capability.DMA_REMAPPING | Capability.INTERRUPT_REMAPPING
    if any(_uplinks(use) for use in roster(documents)):
        found |= Capability.SEVERAL_UPLINKS
    return found


def _refuse_unable(documents: DocumentSet, capability: Capability) -> None:
    lacking = [each for each in _NEEDED_FOR if each in needed(documents) and each not in capability]
    if lacking:
        raise PlatformUnable(
            f"the platform must be able to {' and to '.join(_NEEDED_FOR[each] for each in lacking)}, and it is not",
            hint="`vafw doctor` shows what this computer can do; the model platform can do all of it",
        )
    if Capability.INTERPRETED_RULES not in capability:
        for use in roster(documents):
            if use.enforces("traffic"):
                _refuse_interpreted(documents, use)


def _refuse_interpreted(documents: DocumentSet, use: VmUse) -> None:
    """PlatformUnable where a kernel's filter cannot hold the rules, as the firewall's own program can."""
    ruleset = compile_rules(documents)
    own = own_addresses_of(use.router) if use.router is not None else None
    family: Family = "bridge" if own is None else "inet"
    try:
        further = {uplink_port(at): each.marks for at, each in enumerate(_uplinks(use), start=1)}
        nftables_text(ruleset, inside=INSIDE, outside=OUTSIDE, family=family, own=own, further=further, layout="flat")
    except ValueError as error:
        raise PlatformUnable(
            f"{use.name} must hold every rule of the policy in its kernel, and cannot: {error}",
            hint="write the rule otherwise; the model platform, which asks the rules itself, can do all of it",
        ) from error


def _in_start_order(documents: DocumentSet) -> Iterator[VmUse]:
    """From the wire inwards, then what stands beside the path, the user OS last."""
    uses = by_name(documents)
    path = documents.topology.model.path
    yield from (uses[hop] for hop in path[1:-1])
    yield from (uses[name] for name in sorted(uses) if name not in path)
    yield user_os(documents)


def inventory(machine: Machine) -> MachineInventory:
    """A machine document as plans see the PC."""
    return MachineInventory(
        name=machine.name,
        memory_bytes=machine.memory,
        vcpus=machine.vcpus,
        vmm_memory_bytes=machine.vmm_memory,
        functions=tuple(_function(name, device, machine) for name, device in machine.devices.items()),
        iommu=Iommu(machine.iommu.dma_remapping, machine.iommu.interrupt_remapping, machine.iommu.address_width),
        txt=machine.txt,
        tpm=machine.tpm,
    )


def _function(name: str, device: Device, machine: Machine) -> PciFunction:
    return PciFunction(
        name=name,
        bdf=Bdf.parse(device.address),
        device_class=DeviceClass(device.class_),
        vendor_id=device.vendor,
        device_id=device.device,
        group=device.group,
        reset=device.reset,
        reserved_memory=device.reserved_memory,
        mac=device.mac,
        behind=Bdf.parse(machine.devices[device.behind].address) if device.behind is not None else None,
        port=PORTS[device.port] if device.port is not None else None,
        acs=device.acs,
    )


def _vm(documents: DocumentSet, use: VmUse, machine: MachineInventory) -> VmPlan:
    manifest = documents.appliances[use.image].model
    functions = (machine.function(name) for name in use.assign)
    return VmPlan(
        name=use.name,
        role=VmRole.USER_OS if use.is_user_os else VmRole.APPLIANCE,
        image=ImagePlan(use.image, documents.catalog[use.image], manifest.program),
        memory_bytes=use.memory_bytes,
        vcpus=use.vcpus,
        functions=tuple(each for each in functions if each is not None),
        ports=(*manifest.ports, *(uplink_port(at) for at, _ in enumerate(_uplinks(use), start=1))),
        config=_user_config(documents) if use.is_user_os else _appliance_config(documents, use, manifest),
        authority=None if use.is_user_os else authority_of(documents.policy.model.management, use.name),
        has_secret=manifest.secret and not _wants_fresh_key(documents, use),
    )


def _wants_fresh_key(documents: DocumentSet, use: VmUse) -> bool:
    declared = documents.topology.model.appliances.get(use.name)
    return declared is not None and declared.vpn is not None and declared.vpn.key == "fresh"


def _user_config(documents: DocumentSet) -> dict[str, Value]:
    user = documents.topology.model.user_os
    return {
        "mac": user_mac(documents),
        "addresses": [str(each) for each in user.addresses],
        "gateway": list(user.gateway),
        "resolvers": _resolvers(documents),
    }


def user_mac(documents: DocumentSet) -> str | None:
    """The user OS takes the place on the network that the machine's own card would have, unless a router has it."""
    topology = documents.topology.model
    if gateway_of(documents) is not None:
        return own_mac(topology.name, "user-os")
    return documents.machine.model.devices[topology.path[0]].mac


def _router_config(documents: DocumentSet, routing: Routing) -> dict[str, Value]:
    """The links of a router; outside they are the machine's own cards."""
    topology, devices = documents.topology.model, documents.machine.model.devices
    uplinks: list[Value] = [
        {
            "mac": devices[each.nic].mac,
            **_addresses_config(each.outside),
            "gateway": list(each.gateway),
            "marks": list(each.marks),
        }
        for each in routing.uplinks
    ]
    card = devices[topology.path[0]].mac
    return {
        "outside": {"mac": card, **_addresses_config(routing.outside), "gateway": list(routing.gateway)},
        "inside": {"mac": own_mac(topology.name, "inside"), **_addresses_config(routing.inside)},
        **({"uplinks": uplinks} if uplinks else {}),
    }


def _addresses_config(addresses: tuple[IPv4Interface | IPv6Interface, ...]) -> dict[str, Value]:
    return {"addresses": [str(each) for each in addresses]}


def _uplinks(use: VmUse) -> tuple[Uplink, ...]:
    return use.router.uplinks if use.router is not None else ()


def own_mac(topology: str, station: str) -> str:
    """A locally administered MAC address (IEEE 802, "U/L bit") that is the same whenever the plan is made."""
    digest = hashlib.sha256(f"{topology}/{station}".encode()).digest()
    return bytes([0x02, *digest[:5]]).hex(":")


def _resolvers(documents: DocumentSet) -> list[Value]:
    """Addresses of the resolvers that the path's name filters guard, nearest to the user first."""
    uses = by_name(documents)
    hops = [uses[hop] for hop in reversed(documents.topology.model.path[1:-1])]
    return [str(each.ip) for use in hops if use.enforces("dns") for each in use.addresses]


def _appliance_config(documents: DocumentSet, use: VmUse, manifest: Appliance) -> dict[str, Value]:
    """The settings that the topology gives and the manifest's defaults, and what the policy makes of its part."""
    config: dict[str, Value] = {}
    if use.enforces("traffic"):
        config["ruleset"] = dict(compile_rules(documents).to_config())
    if use.router is not None:
        config["router"] = _router_config(documents, use.router)
    if use.enforces("dns"):
        config["resolvers"] = [str(each.ip) for each in use.addresses]
        followed = dict.fromkeys(patterns_of(compile_rules(documents)))
        if followed:
            config["follow"] = list(followed)
    for name, option in manifest.config.items():
        if name in use.config:
            config[name] = _setting(documents, use, name, option)
        elif option.default is not None:
            config[name] = option.default
    return config | _section_config(documents, use, config)


def _section_config(documents: DocumentSet, use: VmUse, config: Mapping[str, Value]) -> dict[str, Value]:
    """What a section means to the program of the model platform: names of a DNS filter, signatures of an IDS."""
    declared = documents.topology.model.appliances[use.name]
    if declared.ids is not None:
        home = [str(each) for each in declared.ids.home] or [str(each.ip) for each in user_os(documents).addresses]
        return {"rules": list(signature_lines(documents, use.name, declared.ids)), "home": list(home)}
    if declared.vpn is not None:
        return {"tunnel": _tunnel_config(declared.vpn)}
    if declared.proxy is not None:
        return _proxy_config(documents, use, declared.proxy, config)
    section = declared.dns
    if section is None:
        return {}
    allowed = [name.removeprefix("*.") for name in section.allow]
    given = {key: value if isinstance(value := config.get(key), list) else [] for key in ("block", "allow")}
    return {
        "block": [*given["block"], *blocked_names(documents, use.name, section)],
        "allow": [*given["allow"], *allowed],
    }


def _tunnel_config(section: VpnSection) -> dict[str, Value]:
    """A tunnel's peers; its private key is the appliance's own affair."""
    peers: list[Value] = [
        {
            "name": each.name,
            "public-key": each.public_key,
            "endpoint": each.endpoint,
            "allowed": [str(network) for network in each.allowed],
            "keepalive": each.keepalive,
        }
        for each in section.peers
    ]
    return {"addresses": [str(each) for each in section.addresses], "peers": peers}


def _proxy_config(
    documents: DocumentSet, use: VmUse, section: ProxySection, config: Mapping[str, Value]
) -> dict[str, Value]:
    """A proxy is a host beside the user's: with the user's gateway and resolvers, and addresses of its own."""
    topology = documents.topology.model
    given = {key: value if isinstance(value := config.get(key), list) else [] for key in ("allow", "block")}
    clients = [str(each) for each in section.clients] or clients_of(documents)
    return {
        "mac": own_mac(topology.name, use.name),
        "addresses": [str(each) for each in use.addresses],
        "gateway": list(topology.user_os.gateway),
        "resolvers": _resolvers(documents),
        "port": section.port,
        "allow": [*section.allow, *(f"*.{name}" for name in given["allow"])],
        "block": [*section.block, *(f"*.{name}" for name in given["block"])],
        "clients": list(clients),
    }


def _setting(documents: DocumentSet, use: VmUse, name: str, option: ConfigOption) -> Value:
    value: Any = use.config[name]
    if option.type in ("addresses", "names"):
        return list(as_texts(value))
    if option.type != "files":
        return value  # type: ignore[no-any-return]  # the checks have seen that it is of the option's type
    names: dict[str, None] = {}
    for index, file in enumerate(as_texts(value)):
        names |= dict.fromkeys(names_listed(documents, (*use.place, "config", name, index), file))
    return list(names)


def _reference(documents: DocumentSet) -> ReferenceValues:
    """The accepted measurements; none where they are about to be written, so that nothing is accepted."""
    if documents.reference_values is None:
        return ReferenceValues("none", (), (), {})
    return reference_values(documents.reference_values.model)


def reference_values(document: ReferenceValuesDocument) -> ReferenceValues:
    """A document of reference values as the appraisal uses it."""
    images: Mapping[str, tuple[AcceptedDigest, ...]] = document.images
    return ReferenceValues(
        name=document.name,
        sinit=_accepted(document.sinit),
        vmm=_accepted(document.vmm),
        images={name: _accepted(digests) for name, digests in images.items()},
        tpm_firmware=document.tpm_firmware,
    )


def _accepted(digests: tuple[AcceptedDigest, ...]) -> tuple[AcceptedValue, ...]:
    return tuple(
        AcceptedValue(
            bytes.fromhex(each.sha256),
            each.note,
            each.source,
            _midnight(each.from_),
            None if each.until is None else _midnight(each.until, days=1),
            each.superseded,
            each.revoked,
        )
        for each in digests
    )


def _midnight(day: str | None, *, days: int = 0) -> datetime | None:
    """The moment at which a day begins in UTC, or so many days later."""
    return None if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=days)
