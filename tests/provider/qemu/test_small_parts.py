"""Tampering, counters, the wire, forged frames, sealed memory: small parts with one thing each to get right."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from tests.provider.qemu.office import lab_plan, office_plan
from vafw.errors import UsageError
from vafw.machine.report import LinkCounters
from vafw.provider.qemu.child import path_of, sealed
from vafw.provider.qemu.counters import link_counters
from vafw.provider.qemu.guest.forged import forged_frames
from vafw.provider.qemu.image import GuestImage, runs, wants_libraries
from vafw.provider.qemu.tamper import Tamper
from vafw.provider.qemu.uplink import require_wires
from vafw.provider.qemu.wire import Wire, together
from vafw.trace import Value
from vafw.traffic.frame import Malformed, parse


def test_a_tamper_flips_one_bit_of_one_image() -> None:
    tamper = Tamper.parse("appliance=dns:9", office_plan())
    image = GuestImage("dns-filter", b"kernel", bytes(4))
    other = GuestImage("firewall", b"kernel", bytes(4))
    assert tamper.altered(image).initramfs == b"\x00\x02\x00\x00"
    assert tamper.altered(image).digest != image.digest
    assert tamper.altered(other) == other


def test_a_tamper_flips_one_bit_of_the_kernel_or_of_the_plan_and_nothing_else() -> None:
    image = GuestImage("firewall", bytes(2), b"initramfs")
    kernel, plan = (Tamper.parse(text, office_plan()) for text in ("kernel:15", "topology:3"))
    assert (kernel.altered(image).kernel, kernel.altered(image).initramfs) == (b"\x00\x80", b"initramfs")
    assert (plan.altered(image), plan.altered_plan(bytes(2))) == (image, b"\x08\x00")
    assert kernel.altered_plan(b"plan") == b"plan"


@pytest.mark.parametrize("text", ["vmm", "appliance", "appliance=nobody", "appliance=dns:x", "kernel=dns", ""])
def test_a_tamper_of_what_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Tamper.parse(text, office_plan())
    assert refusal.value.message == (
        "--tamper must be kernel, topology or appliance=NAME on the QEMU platform, each with :BIT or without, "
        f"with NAME one of firewall, dns, user-os, not {text!r}"
    )


def test_each_vm_runs_what_the_plan_gives_it() -> None:
    assert [runs(vm) for vm in office_plan().vms] == ["filter", "program", "desktop"]


@pytest.mark.parametrize(
    ("source", "wants"),
    [
        (b"from cryptography.exceptions import InvalidTag\n", True),
        (b"import json\nimport cryptography\n", True),
        (b"from vafw.trace import Value  # no cryptography\n", False),
        (b"from cryptographyx import y\n", False),
    ],
)
def test_a_program_that_imports_what_is_packed_for_agents_has_it_unpacked_at_boot(source: bytes, wants: bool) -> None:
    assert wants_libraries({"__init__.py": b"", "guest.py": source}) is wants


def test_a_link_counts_what_its_two_ends_counted() -> None:
    inside: dict[str, Value] = {"frames-in": 9, "bytes-in": 90, "frames-out": 7, "bytes-out": 70}
    outside: dict[str, Value] = {"frames-in": 6, "bytes-in": 60, "frames-out": 9, "bytes-out": 90}
    first, second = link_counters(
        office_plan(), {"firewall": {"interfaces": {"inside": inside}}, "dns": {"interfaces": {"outside": outside}}}
    )
    assert first == LinkCounters("firewall-dns", 6, 9, 60, 90, undelivered=1)
    assert second == LinkCounters("dns-user-os")


async def test_the_wire_hands_frames_to_what_answers_and_counts_them(tmp_path: Path) -> None:
    wire = Wire(tmp_path / "near", tmp_path / "far", lambda frame, now_s: [frame[::-1], b"more"])
    wire.plug_in()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as card:
        card.bind(str(tmp_path / "far"))
        card.setblocking(False)
        card.sendto(b"frame", str(tmp_path / "near"))
        got = [await asyncio.get_running_loop().sock_recv(card, 100) for _ in range(2)]
    wire.unplug()
    wire.unplug()
    assert got == [b"emarf", b"more"]
    assert list(wire.left) == [b"frame"]
    assert wire.counters() == {"frames": 3, "from-wire": 2, "to-wire": 1, "lost": 0}


async def test_an_answer_to_a_vm_that_is_gone_is_lost_and_counted(tmp_path: Path) -> None:
    heard = asyncio.Event()
    wire = Wire(tmp_path / "near", tmp_path / "far", lambda frame, now_s: [heard.set() or b"answer"])  # type: ignore[func-returns-value]
    wire.plug_in()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as card:
        card.sendto(b"frame", str(tmp_path / "near"))
        await heard.wait()
    wire.unplug()
    assert wire.counters()["lost"] == 1


def test_forged_frames_are_well_formed_so_that_only_the_policy_can_stop_them() -> None:
    private, forged = (parse(frame) for frame in forged_frames())
    assert not isinstance(private, Malformed)
    assert not isinstance(forged, Malformed)
    assert (private.ethertype, forged.version) == (0x88B5, 4)


def test_sealed_bytes_cannot_be_changed_by_whoever_opens_them_refused() -> None:
    descriptor = sealed("kernel", b"measured")
    try:
        assert Path(path_of(descriptor)).read_bytes() == b"measured"
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"altered!", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


async def test_nothing_comes_of_a_wire_whose_cable_was_pulled_and_wires_are_counted_together(tmp_path: Path) -> None:
    wires = {
        name: Wire(tmp_path / f"near-{name}", tmp_path / f"far-{name}", lambda frame, now_s: [frame])
        for name in ("nic", "mobile")
    }
    vm = {name: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for name in wires}
    for name, wire in wires.items():
        vm[name].bind(str(tmp_path / f"far-{name}"))
        vm[name].setblocking(False)
        wire.plug_in()
    wires["nic"].pull()
    vm["nic"].sendto(b"lost", str(tmp_path / "near-nic"))
    vm["mobile"].sendto(b"heard", str(tmp_path / "near-mobile"))
    assert await asyncio.get_running_loop().sock_recv(vm["mobile"], 100) == b"heard"
    with pytest.raises(BlockingIOError):
        vm["nic"].recv(100)
    assert list(wires["nic"].left) == []
    assert together(wires) == {
        "frames": 2, "from-wire": 1, "to-wire": 1, "lost": 0,
        "from-nic": 0, "to-nic": 0, "from-mobile": 1, "to-mobile": 1,
    }  # fmt: skip
    for name, wire in wires.items():
        wire.unplug()
        vm[name].close()


def test_a_cable_that_no_wire_has_is_refused() -> None:
    with pytest.raises(UsageError) as refusal:
        require_wires(lab_plan(), ["eth0"])
    assert refusal.value.message == "a wire must be that of nic or mobile, not of 'eth0'"
