"""The guest kernel with programs of every kind, in a chain from the wire to the user and back."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vmm.pc import DISPLAY, MIB, NIC, Pc, build_pc, idles
from vafw.address import Hpa
from vafw.hw.pci.display import Picture
from vafw.hw.vmx import GuestCpu, Hlt, Running
from vafw.provider.model.guest import MAXIMUM_ENDINGS, guest_kernel
from vafw.provider.model.ring_driver import BUFFER_BYTES, ENTRIES
from vafw.trace import EventKind, Value
from vafw.traffic.appliance import Outcome, Verdict, opposite
from vafw.traffic.offers import CreateProgram
from vafw.vmm.boot import BOOT_GPA
from vafw.vmm.vm import GuestHealth, Vector, VmState

CHAIN = ("firewall", "dns", "user-os")


class Program:
    """Passes everything; subclasses differ in one thing each."""

    def __init__(self, config: Mapping[str, Value]) -> None:
        self.handled = 0

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        self.handled += 1
        return Verdict(Outcome.PASSED, "all", ((opposite(port), frame),))

    def probe(self) -> tuple[bool, str]:
        return True, "passes everything"

    def report(self) -> Mapping[str, Value]:
        return {"handled": self.handled}


class Echo(Program):
    """An end host: sends every frame back."""

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        self.handled += 1
        return Verdict(Outcome.ANSWERED, "echo", ((port, frame),))


class Drops(Program):
    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        return Verdict(Outcome.DROPPED, "none", log=f"dropped {len(frame)} bytes at {now_s:.1f}")


class Breaks(Program):
    """Raises on a frame that starts with an exclamation mark."""

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        if frame.startswith(b"!"):
            raise ValueError("cannot parse this")
        return super().handle(port, frame, now_s)


class Unbuildable(Program):
    def __init__(self, config: Mapping[str, Value]) -> None:
        raise KeyError("ruleset")


class SendsNowhere(Program):
    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        return Verdict(Outcome.PASSED, "all", (("management", frame),))


class Unprintable(Program):
    def report(self) -> Mapping[str, Value]:
        return {"frame": b"bytes are no JSON"}  # type: ignore[dict-item]


class Talkative(Program):
    def report(self) -> Mapping[str, Value]:
        return {"said": "x" * (6 << 20)}


class Colourful(Program):
    def report(self) -> Mapping[str, Value]:
        return {"rule\x1b[31m": ["\x1b]0;owned\x07", "\ud800", "caf\u00e9"]}


@dataclass
class Screen:
    width: int
    height: int
    rgb: bytes


class Desktop(Echo):
    """Acts by itself and has a screen."""

    timer_period_s = 0.5

    def start(self, now_s: float) -> Sequence[tuple[str, bytes]]:
        return [("outside", b"hello")]

    def on_timer(self, now_s: float) -> Sequence[tuple[str, bytes]]:
        return [("outside", f"at {now_s:.1f}".encode())]

    def draw(self) -> Screen:
        return Screen(2, 1, bytes([255, 0, 0, 0, 0, 255]))


def chain(firewall: CreateProgram = Program, dns: CreateProgram = Program, user_os: CreateProgram = Echo) -> Pc:
    """NIC, firewall, dns and the user OS, started from the wire inwards."""
    pc = build_pc()
    for name in CHAIN:
        pc.vmm.create_vm(name, 64 * MIB)
    pc.vmm.assign("firewall", NIC, name="nic", port="outside")
    pc.vmm.assign("user-os", DISPLAY, name="display")
    pc.vmm.wire("firewall-dns", ("firewall", "inside"), ("dns", "outside"))
    pc.vmm.wire("dns-user-os", ("dns", "inside"), ("user-os", "outside"))
    for name, create in zip(CHAIN, (firewall, dns, user_os), strict=True):
        pc.vmm.start(name, guest_kernel(create))
        assert pc.vmm.run_until_idle()
    return pc


def send(pc: Pc, *frames: bytes) -> list[bytes]:
    """Put frames on the wire, run, and take what comes back."""
    back: list[bytes] = []
    for frame in frames:
        while not pc.nic.receive(frame):
            assert pc.vmm.run_until_idle()
            back.extend(pc.nic.take_transmitted())
    assert pc.vmm.run_until_idle()
    return back + list(pc.nic.take_transmitted())


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 2000), min_size=1, max_size=ENTRIES * 3))
def test_every_frame_crosses_the_chain_and_comes_back_unchanged_and_in_order(lengths: list[int]) -> None:
    frames = [number.to_bytes(4, "big") + bytes(length) for number, length in enumerate(lengths)]
    assert send(chain(), *frames) == frames


def test_a_burst_that_fills_every_ring_loses_nothing() -> None:
    class Amplifies(Program):
        def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
            copies = 5 if port == "outside" else 1
            return Verdict(Outcome.PASSED, "all", ((opposite(port), frame),) * copies)

    frames = [number.to_bytes(4, "big") + bytes(60) for number in range(ENTRIES - 1)]
    assert send(chain(firewall=Amplifies), *frames) == [each for each in frames for _ in range(5)]


def test_a_frame_costs_each_guest_on_its_way_one_interrupt_and_one_doorbell() -> None:
    pc = chain(user_os=SendsNowhere)
    before = [Counter(vm.exits) for vm in pc.vmm.vms]
    send(pc, b"frame")
    cost = [vm.exits - earlier for vm, earlier in zip(pc.vmm.vms, before, strict=True)]
    assert cost == [Counter(HLT=1, VMCALL=1), Counter(HLT=1, VMCALL=1), Counter(HLT=1)]


def test_a_jumbo_frame_passes_and_a_longer_one_is_missed_by_the_card() -> None:
    pc = chain()
    assert send(pc, bytes(9018)) == [bytes(9018)]
    assert not pc.nic.receive(bytes(BUFFER_BYTES + 1))


def test_each_guest_says_that_it_is_healthy() -> None:
    pc = chain()
    assert [vm.health for vm in pc.vmm.vms] == [GuestHealth(True, "passes everything")] * 3


def test_a_report_has_the_programs_counters_and_the_kernels() -> None:
    pc = chain()
    send(pc, b"one", b"two")
    pc.vmm.interrupt("dns", Vector.REPORT)
    pc.vmm.run_until_idle()
    ports = {"received": 2, "sent": 2, "dropped": 0}
    assert pc.vmm.vm("dns").report == {
        "handled": 4,
        "endings": [],
        "kernel": {"failures": 0, "nowhere": 0, "ports": {"outside": ports, "inside": ports}},
    }


def test_a_dropped_frame_goes_nowhere_and_its_log_line_carries_the_guests_time() -> None:
    pc = chain(dns=Drops)
    pc.vmm.set_time(1_500_000_000)
    assert send(pc, b"four") == []
    assert list(pc.vmm.vm("dns").log) == ["dropped 4 bytes at 1.5"]


def test_a_program_that_raises_drops_that_frame_passes_the_others_and_is_unhealthy_for_good() -> None:
    pc = chain(dns=Breaks)
    assert send(pc, b"before", b"!bad", b"after") == [b"before", b"after"]
    dns = pc.vmm.vm("dns")
    assert (dns.state, dns.health) == (
        VmState.RUNNING,
        GuestHealth(False, "handle raised ValueError: cannot parse this"),
    )
    pc.vmm.interrupt("dns", Vector.PROBE)
    pc.vmm.run_until_idle()
    assert dns.health == GuestHealth(False, "handle raised ValueError: cannot parse this")
    assert list(dns.log) == ["handle raised ValueError: cannot parse this"]


def test_a_program_that_cannot_be_made_opens_no_port() -> None:
    pc = chain(firewall=Unbuildable)
    assert not pc.nic.receive(b"frame")
    assert pc.vmm.vm("firewall").health == GuestHealth(False, "create raised KeyError: 'ruleset'")


def test_a_frame_for_a_port_that_the_vm_does_not_have_is_counted() -> None:
    pc = chain(firewall=SendsNowhere)
    assert send(pc, b"frame") == []
    pc.vmm.interrupt("firewall", Vector.REPORT)
    pc.vmm.run_until_idle()
    report = pc.vmm.vm("firewall").report
    assert report is not None
    assert report["kernel"] == {
        "failures": 0,
        "nowhere": 1,
        "ports": {
            "outside": {"received": 1, "sent": 0, "dropped": 0},
            "inside": {"received": 0, "sent": 0, "dropped": 0},
        },
    }


def test_a_report_beyond_its_room_is_left_out_and_does_not_run_over_the_rings() -> None:
    pc = chain(dns=Talkative)
    pc.vmm.interrupt("dns", Vector.REPORT)
    assert pc.vmm.run_until_idle()
    assert set(pc.vmm.vm("dns").report or {}) == {"kernel", "too-long"}
    assert send(pc, b"still passes") == [b"still passes"]


def test_a_report_holds_no_character_that_a_terminal_would_obey() -> None:
    pc = chain(dns=Colourful)
    pc.vmm.interrupt("dns", Vector.REPORT)
    assert pc.vmm.run_until_idle()
    assert (pc.vmm.vm("dns").report or {})["rule\ufffd[31m"] == ["\ufffd]0;owned\ufffd", "\ufffd", "caf\u00e9"]


def test_a_report_that_is_no_json_leaves_the_kernels_and_costs_the_health() -> None:
    pc = chain(dns=Unprintable)
    pc.vmm.interrupt("dns", Vector.REPORT)
    pc.vmm.run_until_idle()
    dns = pc.vmm.vm("dns")
    assert dns.report is not None
    assert set(dns.report) == {"endings", "kernel"}
    assert dns.health == GuestHealth(False, "report raised TypeError: Object of type bytes is not JSON serializable")


def test_a_program_that_acts_by_itself_does_so_at_start_and_in_time() -> None:
    pc = chain(user_os=Desktop)
    assert pc.nic.take_transmitted() == (b"hello",)
    for now_ns in (400_000_000, 500_000_000, 900_000_000, 1_100_000_000):
        pc.vmm.set_time(now_ns)
        pc.vmm.run_until_idle()
    assert pc.nic.take_transmitted() == (b"at 0.5", b"at 1.1")


def test_a_program_that_wants_the_date_is_told_it_when_made_when_it_is_known_and_after_a_change() -> None:
    told: list[tuple[int, float | None]] = []

    class Dated(Program):
        def clock_set(self, wall_offset_s: float | None) -> None:
            told.append((id(self), wall_offset_s))

    pc = chain(firewall=Dated)
    pc.vmm.set_wall_clock(1_796_000_000_500_000_000)
    pc.vmm.run_until_idle()
    pc.vmm.configure("firewall", {})
    pc.vmm.run_until_idle()
    assert [offset for _, offset in told] == [None, 1_796_000_000.5, 1_796_000_000.5]
    assert told[0][0] == told[1][0] != told[2][0]


def test_a_program_that_raises_at_the_date_is_unhealthy() -> None:
    class Startled(Program):
        def clock_set(self, wall_offset_s: float | None) -> None:
            raise OverflowError("far too late")

    health = chain(dns=Startled).vmm.vm("dns").health
    assert health == GuestHealth(False, "clock_set raised OverflowError: far too late")


def test_more_frames_at_once_than_a_ring_holds_all_go_out() -> None:
    class Floods(Echo):
        def start(self, now_s: float) -> Sequence[tuple[str, bytes]]:
            return [("outside", bytes([number % 256])) for number in range(ENTRIES * 4)]

    pc = chain(user_os=Floods)
    assert pc.nic.take_transmitted() == tuple(bytes([number % 256]) for number in range(ENTRIES * 4))


def test_what_the_user_os_draws_is_what_the_display_scans_out_of_its_memory() -> None:
    pc = chain(user_os=Desktop)
    assert pc.display.scan_out() == Picture(2, 1, bytes([255, 0, 0, 0, 0, 255]))


@pytest.mark.parametrize("killed", CHAIN)
def test_a_vm_stopped_in_the_middle_of_traffic_stops_the_traffic_and_leaves_nothing(killed: str) -> None:
    pc = chain()
    frames = [bytes([number]) * 1000 for number in range(100)]
    assert send(pc, *frames) == frames
    for frame in frames[:50]:
        pc.nic.receive(frame)
    pc.vmm.run_until_idle(budget=1)
    pc.nic.take_transmitted()
    vm = pc.vmm.vm(killed)
    memory = vm.ranges[0]
    pc.vmm.stop(killed)
    pc.vmm.run_until_idle()
    pc.nic.take_transmitted()
    pc.nic.receive(b"after the stop")
    assert pc.vmm.run_until_idle()
    assert pc.nic.take_transmitted() == ()
    written = [at for at in range(0, memory.size, 4096) if pc.memory.read(Hpa(memory.hpa + at), 4096) != bytes(4096)]
    assert written == []
    assert [link for link in pc.vmm.wiring.links if killed in (link.outer.vm, link.inner.vm)] == []


def test_a_hop_that_comes_back_is_wired_again_and_no_old_frame_comes_out() -> None:
    pc = chain()
    pc.vmm.stop("dns")
    assert send(pc, b"old") == []
    pc.vmm.create_vm("dns", 64 * MIB)
    pc.vmm.wire("firewall-dns", ("firewall", "inside"), ("dns", "outside"))
    pc.vmm.wire("dns-user-os", ("dns", "inside"), ("user-os", "outside"))
    pc.vmm.start("dns", guest_kernel(Program))
    pc.vmm.run_until_idle()
    assert send(pc, b"new") == [b"new"]


def test_a_hop_that_stops_while_its_link_is_full_holds_nothing_up_for_the_next_one() -> None:
    pc = chain()
    pc.vmm.stop("dns")
    pc.vmm.create_vm("dns", 64 * MIB)
    pc.vmm.wire("firewall-dns", ("firewall", "inside"), ("dns", "outside"))
    pc.vmm.start("dns", idles)
    for frame in [b"old"] * ENTRIES * 4:
        pc.nic.receive(frame)
        pc.vmm.run_until_idle()
    assert pc.nic.missed > 0
    pc.vmm.stop("dns")
    pc.vmm.run_until_idle()
    pc.vmm.create_vm("dns", 64 * MIB)
    pc.vmm.wire("firewall-dns", ("firewall", "inside"), ("dns", "outside"))
    pc.vmm.wire("dns-user-os", ("dns", "inside"), ("user-os", "outside"))
    pc.vmm.start("dns", guest_kernel(Program))
    pc.vmm.run_until_idle()
    assert send(pc, b"new") == [b"new"]


def ending(pc: Pc, vm: str) -> object:
    pc.vmm.interrupt(vm, Vector.REPORT)
    pc.vmm.run_until_idle()
    return (pc.vmm.vm(vm).report or {})["endings"]


def test_a_report_names_each_frame_that_ended_since_the_last_one_and_the_rule() -> None:
    pc = chain(dns=Drops)
    send(pc, b"one", b"two")
    assert ending(pc, "dns") == [{"crc32": zlib.crc32(each), "rule": "none"} for each in (b"one", b"two")]
    assert ending(pc, "dns") == []
    assert ending(pc, "firewall") == []


def test_a_frame_that_the_program_answered_or_raised_on_has_ended_too() -> None:
    pc = chain(dns=Breaks)
    send(pc, b"!bad", b"good")
    assert ending(pc, "dns") == [{"crc32": zlib.crc32(b"!bad"), "rule": "(failed)"}]
    assert ending(pc, "user-os") == [{"crc32": zlib.crc32(b"good"), "rule": "echo"}]


def test_a_report_names_the_latest_endings_and_no_more_than_it_has_room_for() -> None:
    pc = chain(dns=Drops)
    frames = [number.to_bytes(4, "big") for number in range(MAXIMUM_ENDINGS + 6)]
    send(pc, *frames)
    assert ending(pc, "dns") == [{"crc32": zlib.crc32(each), "rule": "none"} for each in frames[6:]]


def test_a_guest_that_writes_to_another_vms_host_address_ends_itself_and_changes_nothing() -> None:
    pc = chain()
    firewall = pc.vmm.vm("firewall")

    def reaches_out(cpu: GuestCpu) -> Running:
        cpu.write(firewall.ranges[0].hpa + BOOT_GPA, b"x")
        yield Hlt()

    pc.vmm.stop("dns")
    vm = pc.vmm.create_vm("dns", 64 * MIB)
    pc.vmm.start("dns", reaches_out)
    pc.vmm.run_until_idle()
    assert vm.state is VmState.FAILED
    assert firewall.memory.read(BOOT_GPA, 8) == b"vafwboot"


def test_the_records_tell_the_life_of_the_machine() -> None:
    pc = chain()
    kinds = [record.kind for record in pc.vmm.take_records()]
    assert kinds == [
        EventKind.DEVICE_ASSIGNED,
        EventKind.DEVICE_ASSIGNED,
        EventKind.LINK_UP,
        EventKind.LINK_UP,
        EventKind.VM_STARTED,
        EventKind.VM_STARTED,
        EventKind.VM_STARTED,
    ]
