"""The shipped example with a VPN, on real VMs, with a far end of its tunnel behind the wire.

One run for all cases, as each start takes its time; skipped, with the reason, where QEMU cannot run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from tests.appliances.vpn_far_end import FarEnd
from tests.contract.benches import qemu_bench, require_qemu
from tests.contract.story import PAGE
from tests.provider.qemu.office import ROAD_WARRIOR
from vafw.clock import SystemClock
from vafw.machine.report import Health
from vafw.trace import Trace, Value

SCRIPT: tuple[Value, ...] = (PAGE, {"resolve": "www.example.com"}, {"connect": "10.0.0.1", "port": 80})


@dataclass
class Journey:
    """What was seen."""

    health: dict[str, Health] = field(default_factory=dict)
    steps: list[Any] = field(default_factory=list)
    left: list[Any] = field(default_factory=list)
    """Frames at the wire."""
    carried: int = 0
    """Packets out of the tunnel, at its far end."""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    """The VPN's report before and after it was configured anew."""
    again: str = ""
    """What the page came to after that."""


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    require_qemu()
    return asyncio.run(_travelled(tmp_path_factory.mktemp("road")))


async def _travelled(state: Path) -> Journey:
    far_end, journey, clock = FarEnd(), Journey(), SystemClock()
    bench = qemu_bench(state, ROAD_WARRIOR, far_end.handle)
    platform: Any = bench.assemble(SCRIPT, None)(clock, Trace(clock.monotonic))[0]

    async def report() -> dict[str, Any]:
        answer = await platform._machines["vpn"].request("report")
        return dict(answer["report"])

    try:
        await platform.launch()
        for vm in bench.plan.vms:
            journey.health[vm.name] = await platform.start(vm.name)
        await platform.carry()
        journey.steps = list(platform.report().vms[-1].appliance["steps"])
        journey.before = await report()
        journey.left, journey.carried = [Ether(each) for each in platform._run.wire.left], len(far_end.carried)
        assert (await platform.configure("vpn", bench.plan.vm("vpn").config)).healthy
        journey.again = (await platform._machines["user-os"].request("step"))["step"]["outcome"]
        journey.after = await report()
    finally:
        await platform.power_off()
    return journey


def test_every_vm_is_healthy(journey: Journey) -> None:
    assert {name: each.healthy for name, each in journey.health.items()} == dict.fromkeys(
        ("vpn", "firewall", "dns", "user-os"), True
    )
    assert journey.health["vpn"].reason == "0 of 1 tunnels are up, and nothing passes beside them"


def test_the_user_reaches_the_internet_through_the_tunnel_and_not_the_hotel(journey: Journey) -> None:
    assert [each["outcome"] for each in journey.steps] == ["ok", "ok", "refused"]
    assert journey.carried >= 5
    assert journey.before["tunnels"]["office"] == {"up": True, "handshakes": 1, "refused": 0}


def test_the_wire_sees_one_conversation_with_one_address(journey: Journey) -> None:
    assert len(journey.left) >= 5
    packets = [each for each in journey.left if not each.haslayer(ARP)]
    assert {(each[IP].src, each[IP].dst, each[UDP].dport) for each in packets} == {("10.0.0.2", "198.51.100.7", 51820)}
    assert {each.src for each in journey.left} == {"52:54:00:aa:00:01"}


def test_a_new_configuration_keeps_the_key_that_the_far_end_knows(journey: Journey) -> None:
    assert journey.after["public-key"] == journey.before["public-key"]
    assert journey.again == "ok"
