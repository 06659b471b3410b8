"""Command lines are held against files: one argument a line, as a person reads them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.provider.qemu.office import home_plan, lab_plan, office_plan
from vafw.errors import UsageError
from vafw.plan.plan import Plan, Port
from vafw.provider.qemu.argv import Boot, Places, command_line, command_lines, far_end, mac_of, wires
from vafw.provider.qemu.uplink import Uplink

GOLDEN = Path(__file__).parent / "golden"
PLACES = Places(Path("/run/vafw"))
BOOT = Boot("/proc/self/fd/5", "/proc/self/fd/6", "console=ttyS0 quiet")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return office_plan()


@pytest.fixture(scope="module")
def home() -> Plan:
    return home_plan()


def lines(plan: Plan, vm: str, places: Places = PLACES) -> list[str]:
    return command_line(plan, plan.vm(vm), BOOT, places)


@pytest.mark.parametrize("vm", ["firewall", "dns", "user-os"])
def test_the_command_line_of_each_vm_is_as_written_down(plan: Plan, vm: str) -> None:
    assert "\n".join(lines(plan, vm)) + "\n" == (GOLDEN / f"{vm}.argv").read_text()


def test_the_command_line_of_a_router_is_as_written_down(home: Plan) -> None:
    assert "\n".join(lines(home, "firewall")) + "\n" == (GOLDEN / "home-firewall.argv").read_text()


def test_the_command_line_of_a_router_with_two_uplinks_is_as_written_down() -> None:
    assert "\n".join(lines(lab_plan(), "firewall")) + "\n" == (GOLDEN / "lab-firewall.argv").read_text()


def test_each_wire_has_a_far_end_of_its_own() -> None:
    assert wires(lab_plan()) == {"wire": Port("firewall", "outside"), "wire-mobile": Port("firewall", "outside-2")}
    assert far_end(lab_plan(), Port("firewall", "outside-2")) == "wire-mobile"


def test_only_the_paths_own_wire_leads_elsewhere() -> None:
    plan = lab_plan()
    words = command_line(plan, plan.vm("firewall"), BOOT, PLACES, uplink=Uplink.parse("tap:vafw0"))
    backends = [then.partition(",")[0] for word, then in pairwise(words) if word == "-netdev"]
    assert sorted(backends) == ["dgram", "dgram", "tap"]


def test_every_vm_has_one_in_start_order(plan: Plan) -> None:
    boots = {vm.name: BOOT for vm in plan.vms}
    assert list(command_lines(plan, boots, PLACES)) == ["firewall", "dns", "user-os"]


def test_the_two_ends_of_a_link_name_each_other(plan: Plan) -> None:
    (outer,) = [each for each in lines(plan, "firewall") if each.startswith("dgram,id=net-inside")]
    (inner,) = [each for each in lines(plan, "dns") if each.startswith("dgram,id=net-outside")]
    near, far = "/run/vafw/firewall.inside.link", "/run/vafw/dns.outside.link"
    assert f"local.path={near},remote.type=unix,remote.path={far}" in outer
    assert f"local.path={far},remote.type=unix,remote.path={near}" in inner


def test_only_the_first_appliance_is_joined_to_the_wire(plan: Plan) -> None:
    joined = [vm.name for vm in plan.vms if any("/wire.link" in each for each in lines(plan, vm.name))]
    assert joined == ["firewall"]


def test_only_the_vm_with_the_display_has_a_vga_adapter(plan: Plan) -> None:
    assert [vm.name for vm in plan.vms if any(each.startswith("VGA") for each in lines(plan, vm.name))] == ["user-os"]


def test_only_the_wire_changes_with_the_uplink(plan: Plan) -> None:
    for text, backend in (
        ("user", "user,id=net-outside,ipv4=on,ipv6=off,net=10.0.0.0/24,host=10.0.0.1"),
        ("tap:wire0", "tap,id=net-outside,ifname=wire0,script=no,downscript=no"),
    ):
        boots = {vm.name: BOOT for vm in plan.vms}
        usual, other = (command_lines(plan, boots, PLACES, uplink=Uplink.parse(each)) for each in (None, text))
        changed = [(vm, word) for vm in other for word in other[vm] if word not in usual[vm]]
        assert changed == [("firewall", backend)]


@pytest.mark.parametrize(("text", "backend"), [
    ("user", "user,id=net-outside,ipv4=on,ipv6=off,net=10.0.0.0/24,host=10.0.0.1"),
    ("tap:wire0", "tap,id=net-outside,ifname=wire0,script=no,downscript=no"),
])  # fmt: skip
def test_the_uplink_of_a_router_is_of_the_network_outside(home: Plan, text: str, backend: str) -> None:
    boots = {vm.name: BOOT for vm in home.vms}
    words = command_lines(home, boots, PLACES, uplink=Uplink.parse(text))
    assert [vm for vm in words if backend in words[vm]] == ["firewall"]


def test_a_user_network_without_ipv4_outside_is_refused(home: Plan) -> None:
    firewall = home.vm("firewall")
    router: Any = firewall.config["router"]
    only_six = {**router, "outside": {**router["outside"], "addresses": ["2001:db8:a::2/64"]}}
    vms = (replace(firewall, config={**firewall.config, "router": only_six}), *home.vms[1:])
    with pytest.raises(UsageError) as refusal:
        Uplink.parse("user").backend(replace(home, vms=vms))
    assert refusal.value.message == (
        "the outside of firewall must have an IPv4 address and a gateway for --wire user to stand in for it"
    )


@pytest.mark.parametrize("text", ["tap:", "eth0", "tap:a,script=/bin/sh", ""])
def test_an_uplink_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Uplink.parse(text)
    assert refusal.value.message == f"--wire must be user or tap:NAME on the QEMU platform, not {text!r}"


def test_a_port_that_nothing_is_joined_to_is_a_card_without_a_cable(plan: Plan) -> None:
    unlinked = replace(plan, links=())
    assert far_end(unlinked, Port("firewall", "inside")) is None
    assert [each for each in lines(unlinked, "dns") if each.startswith("dgram")] == []


def test_every_port_has_an_address_of_its_own_and_the_user_os_the_machines(plan: Plan) -> None:
    ports = [Port(vm.name, port) for vm in plan.vms for port in vm.ports]
    macs = [mac_of(plan, port) for port in ports]
    assert len(set(macs)) == len(ports)
    assert macs[-1] == "52:54:00:aa:00:01"
    assert all(mac.startswith("52:54:01:") for mac in macs[:-1])


def test_a_router_has_the_machines_address_outside_and_those_of_the_plan_inside(home: Plan) -> None:
    router: Any = home.vm("firewall").config["router"]
    ports = [Port("firewall", "outside"), Port("firewall", "inside"), Port("user-os", "network")]
    macs = [mac_of(home, port) for port in ports]
    assert macs == [router["outside"]["mac"], router["inside"]["mac"], home.vm("user-os").config["mac"]]
    assert macs[0] == home.machine.function("nic").mac  # type: ignore[union-attr]  # it is there
    assert len(set(macs)) == 3


def test_a_comma_in_a_path_ends_no_option(plan: Plan) -> None:
    words = lines(plan, "firewall", Places(Path("/run/a,b")))
    assert "socket,id=monitor,path=/run/a,,b/firewall.qmp,server=on,wait=off" in words


def test_no_default_device_and_no_window_on_any_vm(plan: Plan) -> None:
    for vm in plan.vms:
        words = lines(plan, vm.name)
        assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(words)
        assert ("-display", "none") in pairwise(words)
        assert ("-accel", "tcg") in pairwise(words)
