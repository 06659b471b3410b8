"""The shipped example whose firewall is a router, on real VMs: what its wire sees, a port from outside, a changed rule.

One run for all cases, as each start takes its time; skipped, with the reason, where QEMU cannot run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from tests.contract.benches import qemu_bench, require_qemu
from tests.contract.story import GET, PAGE, WITHOUT_HTTP
from tests.provider.qemu.office import HOME
from vafw.clock import SystemClock
from vafw.machine.report import Health, IsolationCheck
from vafw.plan.plan import Port
from vafw.provider.peer import PEER_MAC, Peer
from vafw.provider.qemu.argv import mac_of
from vafw.supervisor.control_plane import control_of
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import Trace, Value

STRANGER, OUTER, OUTER_SIX = "9.9.9.9", "10.0.0.2", "2001:db8:a::2"
SCRIPT: tuple[Value, ...] = (
    PAGE,
    {"ping": "192.168.77.1"},
    {"resolve": "www.example.com"},
    {"connect": "six.example.com", "port": 80, "send": GET, "expect": "200 OK"},
    {"connect": "192.168.1.10", "port": 80},
    {"connect": "198.51.100.10", "port": 22},
)
PATIENCE_S = 30.0


class Wire:
    """The small internet, and a stranger who knocks at ports of the router when told to."""

    def __init__(self) -> None:
        self._peer = Peer()
        self._knocks: list[bytes] = []
        self.answered = asyncio.Event()
        self.answers: list[Any] = []

    def handle(self, frame: bytes, now_s: float) -> Iterable[bytes]:
        """As the peer does; what is for the stranger is kept."""
        seen = Ether(frame)
        if seen.haslayer(IP) and seen[IP].dst == STRANGER:
            self.answers.append(seen)
            self.answered.set()
        knocks, self._knocks = self._knocks, []
        return [*self._peer.handle(frame, now_s), *knocks]

    def knock(self, *ports: int) -> None:
        """With the next frame that leaves, let segments come in that open connections to these ports."""
        there = Ether(src=PEER_MAC, dst="52:54:00:aa:00:01") / IP(src=STRANGER, dst=OUTER)
        self._knocks = [bytes(there / TCP(sport=4000, dport=port, flags="S", seq=1)) for port in ports]


@dataclass
class Home:
    """What was seen."""

    health: dict[str, Health] = field(default_factory=dict)
    isolation: tuple[IsolationCheck, ...] = ()
    steps: list[Any] = field(default_factory=list)
    left: list[Any] = field(default_factory=list)
    """Frames at the wire after the script."""
    answers: list[Any] = field(default_factory=list)
    """What the stranger heard."""
    firewall: dict[str, Any] = field(default_factory=dict)
    """The firewall's report after the script."""
    changed: list[Any] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    """What the page came to: after the change, and after the rollback."""
    macs: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    require_qemu()
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAFW_STATE_DIR", str(folder / "state"))
        return asyncio.run(_lived(folder))


async def _lived(folder: Path) -> Home:
    wire, home, clock = Wire(), Home(), SystemClock()
    bench = qemu_bench(folder, HOME, wire.handle)
    trace = Trace(clock.monotonic)
    platform: Any = bench.assemble(SCRIPT, None)(clock, trace)[0]

    async def page() -> str:
        answer = await platform._machines["user-os"].request("step")
        outcome: str = answer["step"]["outcome"]
        return outcome

    try:
        await platform.launch()
        for vm in bench.plan.vms:
            home.health[vm.name] = await platform.start(vm.name)
            assert home.health[vm.name].healthy, home.health
        home.isolation = await platform.check_isolation()
        await platform.carry()
        report = platform.report()
        home.firewall, home.steps = dict(report.vms[0].appliance), list(report.vms[-1].appliance["steps"])
        home.left = [Ether(each) for each in platform._run.wire.left]
        home.macs = {port: mac_of(bench.plan, Port("firewall", port)) for port in ("outside", "inside")}
        wire.knock(2222, 22, 80)
        await page()
        async with asyncio.timeout(PATIENCE_S):
            await wire.answered.wait()
        directory = RunDirectory(bench.plan.name, folder / "run")
        async with control_of(bench.plan, HOME)(platform, directory, clock, trace) as plane:
            home.changed.append(await plane.answer({"verb": "set", "appliance": "firewall", "changes": [WITHOUT_HTTP]}))
            home.pages.append(await page())
            home.changed.append(await plane.answer({"verb": "rollback", "appliance": "firewall"}))
            home.pages.append(await page())
        home.answers = list(wire.answers)
    finally:
        await platform.power_off()
    return home


def test_each_vm_is_healthy_and_the_router_says_that_it_is_one(home: Home) -> None:
    assert all(each.healthy for each in home.health.values())
    assert home.health["firewall"].reason == "nftables holds 9 rules, policy drop, and the router is up"


def test_the_script_comes_to_what_the_policy_says(home: Home) -> None:
    assert [each["outcome"] for each in home.steps] == ["ok", "ok", "ok", "ok", "refused", "timed out"]


def test_all_that_leaves_bears_the_routers_addresses_and_the_machines_mac(home: Home) -> None:
    assert {frame.src for frame in home.left} == {"52:54:00:aa:00:01"} == {home.macs["outside"]}
    assert {frame[IP].src for frame in home.left if frame.haslayer(IP)} == {OUTER}
    assert {frame[ARP].psrc for frame in home.left if frame.haslayer(ARP)} <= {OUTER}
    sixes = {frame[IPv6].src for frame in home.left if frame.haslayer(IPv6)}
    assert OUTER_SIX in sixes
    assert all(ip_address(each).is_link_local for each in sixes - {OUTER_SIX})


def test_nothing_forged_reaches_the_wire(home: Home) -> None:
    assert [each for each in home.isolation if not each.blocked] == []
    assert len(home.isolation) == 3


def test_a_forwarded_port_leads_to_the_user_and_other_ports_nowhere(home: Home) -> None:
    heard = [(each[IP].src, each[TCP].sport, str(each[TCP].flags)) for each in home.answers]
    assert set(heard) == {(OUTER, 2222, "RA")}


def test_the_report_says_what_enforces_and_what_each_rule_counted(home: Home) -> None:
    rules = home.firewall["rules"]
    assert home.firewall["enforced-by"] == "nftables"
    counted = {name for name, each in rules.items() if each["packets"]}
    assert {each for each in counted if not each.startswith("(")} == {"resolve", "no-lan", "web"}
    assert {"(established)", "(not mine)", "(default)"} <= counted
    assert rules["web"]["packets"] == 2
    assert not any(frame.haslayer(UDP) and frame[UDP].dport != 53 for frame in home.left)


def test_a_changed_rule_is_in_force_over_the_network_and_its_rollback_too(home: Home) -> None:
    assert [(each["desired"]["generation"], each["in-sync"]) for each in home.changed] == [(2, True), (3, True)]
    assert home.pages == ["timed out", "ok"]
