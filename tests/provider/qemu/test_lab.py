"""The shipped example with two uplinks, on real VMs: what leaves by which wire, and what happens without the first.

One run for all cases, as each start takes its time; skipped, with the reason, where QEMU cannot run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

from tests.contract.benches import qemu_bench, require_qemu
from tests.contract.story import GET
from tests.provider.qemu.office import LAB
from vafw.clock import SystemClock
from vafw.machine.report import Health, IsolationCheck
from vafw.trace import EventKind, Trace, TraceEvent, Value

PAGE: Final[dict[str, Value]] = {"connect": "www.example.com", "port": 80, "send": GET, "expect": "200 OK"}
SCRIPT: Final[tuple[Value, ...]] = (
    PAGE,
    {**PAGE, "connect": "six.example.com"},
    {"connect": "www.example.com", "port": 873},
    {"resolve": "ads.example.net"},
    {"connect": "192.168.1.10", "port": 80},
)
FIRST, SECOND = "10.0.0.2", "10.1.0.2"
PATIENCE_S = 60.0


@dataclass
class Lab:
    """What was seen."""

    health: dict[str, Health] = field(default_factory=dict)
    isolation: tuple[IsolationCheck, ...] = ()
    steps: list[Any] = field(default_factory=list)
    by_first: list[Any] = field(default_factory=list)
    by_second: list[Any] = field(default_factory=list)
    """Frames at the wires after the script."""
    uplinks: list[Any] = field(default_factory=list)
    """The firewall's report of them after the script, and without the first wire."""
    page: str = ""
    """What the page came to without the first wire."""
    instead: list[Any] = field(default_factory=list)
    """Frames at the second wire by then."""
    log: list[str] = field(default_factory=list)
    counters: dict[str, Any] = field(default_factory=dict)
    ids: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    require_qemu()
    return asyncio.run(_lived(tmp_path_factory.mktemp("lab")))


async def _lived(folder: Path) -> Lab:
    lab, clock = Lab(), SystemClock()
    bench = qemu_bench(folder, LAB)
    noticed = asyncio.Event()

    def keep(event: TraceEvent) -> None:
        line = str(event.detail.get("line"))
        if event.kind is EventKind.GUEST_LOG and "is down" in line:
            lab.log.append(line)
            noticed.set()

    trace = Trace(clock.monotonic, keep)
    platform: Any = bench.assemble(SCRIPT, None)(clock, trace)[0]

    async def report() -> dict[str, Any]:
        answer = await platform._machines["firewall"].request("report")
        return dict(answer["report"])

    try:
        await platform.launch()
        for vm in bench.plan.vms:
            lab.health[vm.name] = await platform.start(vm.name)
        lab.isolation = await platform.check_isolation()
        await platform.carry()
        first, second = platform._run.wires.values()
        lab.steps = list(platform.report().vms[-1].appliance["steps"])
        lab.by_first, lab.by_second = ([Ether(each) for each in wire.left] for wire in (first, second))
        lab.counters = dict(platform.report().wire)
        lab.ids = dict(next(vm.appliance for vm in platform.report().vms if vm.name == "ids"))
        lab.uplinks.append((await report())["router"]["uplinks"])
        first.pull()
        async with asyncio.timeout(PATIENCE_S):
            await noticed.wait()
        lab.uplinks.append((await report())["router"]["uplinks"])
        second.left.clear()
        answer = await platform._machines["user-os"].request("step")
        lab.page, lab.instead = answer["step"]["outcome"], [Ether(each) for each in second.left]
    finally:
        await platform.power_off()
    return lab


def test_each_vm_is_healthy(lab: Lab) -> None:
    assert {name: each.reason for name, each in lab.health.items() if not each.healthy} == {}


def test_the_script_comes_to_what_it_comes_to_on_the_model(lab: Lab) -> None:
    assert [each["outcome"] for each in lab.steps] == ["ok", "ok", "refused", "nxdomain", "refused"]


def test_bulk_leaves_by_the_second_wire_and_the_rest_by_the_first(lab: Lab) -> None:
    assert {frame[TCP].dport for frame in lab.by_first if frame.haslayer(TCP)} == {80}
    assert {frame[TCP].dport for frame in lab.by_second if frame.haslayer(TCP)} == {873}
    assert {frame[UDP].dport for frame in lab.by_first if frame.haslayer(UDP)} == {53}
    assert not any(frame.haslayer(UDP) for frame in lab.by_second)


def test_each_wire_sees_its_own_card_and_address_alone(lab: Lab) -> None:
    for frames, mac, address in (
        (lab.by_first, "52:54:00:aa:00:01", FIRST),
        (lab.by_second, "52:54:00:aa:00:02", SECOND),
    ):
        assert {frame.src for frame in frames} == {mac}
        assert {frame[IP].src for frame in frames if frame.haslayer(IP)} == {address}
        assert {frame[ARP].psrc for frame in frames if frame.haslayer(ARP)} == {address}


def test_nothing_forged_reaches_either_wire(lab: Lab) -> None:
    assert [each for each in lab.isolation if not each.blocked] == []
    assert len(lab.isolation) == 3


def test_without_the_first_wire_all_goes_by_the_second(lab: Lab) -> None:
    assert [[each["up"] for each in uplinks] for uplinks in lab.uplinks] == [[True, True], [False, True]]
    assert lab.page == "ok"
    assert {frame[TCP].dport for frame in lab.instead if frame.haslayer(TCP)} == {80}
    assert {frame[IP].src for frame in lab.instead if frame.haslayer(IP)} == {SECOND}


def test_that_an_uplink_is_down_is_said(lab: Lab) -> None:
    assert [line.partition(";")[0] for line in lab.log] == ["uplink outside is down: its next hop does not answer"]


def test_the_wires_are_counted_together_and_each(lab: Lab) -> None:
    assert lab.counters["to-wire"] == lab.counters["to-nic"] + lab.counters["to-mobile"]
    assert min(lab.counters[key] for key in ("from-nic", "to-nic", "from-mobile", "to-mobile")) > 0


def test_the_mirror_shows_the_detection_what_passes(lab: Lab) -> None:
    assert lab.ids["frames"] > 20
