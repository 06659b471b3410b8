"""A policy with host names on real VMs: the DNS filter in its guest tells the firewall in its own, and it listens.

The shipped example whose firewall is a router, with the web of one domain only. One run for all cases, as each start
takes its time; skipped, with the reason, where QEMU cannot run.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.contract.benches import qemu_bench, require_qemu
from tests.contract.story import GET
from tests.provider.qemu.office import HOME
from vafw.clock import SystemClock
from vafw.trace import Trace, Value

SERVER: Final = "198.51.100.10"
NAMED: Final[dict[str, Value]] = {"connect": "www.example.com", "port": 80, "send": GET, "expect": "200 OK"}
SCRIPT: Final[tuple[Value, ...]] = (
    {"connect": SERVER, "port": 80},
    NAMED,
    {"connect": SERVER, "port": 80},
    {**NAMED, "connect": "six.example.com"},
    {"connect": "news.example.org", "port": 80},
)
CHANGES: Final = (
    ("default: drop", "default: reject"),
    (
        "{name: web, from: user-os, to: any, service: [http, https, quic], action: accept}",
        '{name: web, from: user-os, to: "*.example.com", service: [http, https, quic], action: accept}',
    ),
    ("    - always: {from: user-os, to: internet, service: https}\n", ""),
)


@dataclass
class Seen:
    """What was seen."""

    steps: list[Any] = field(default_factory=list)
    firewall: dict[str, Any] = field(default_factory=dict)
    left: list[bytes] = field(default_factory=list)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    require_qemu()
    folder = tmp_path_factory.mktemp("names")
    shutil.copytree(HOME.parent, folder / "home")
    policy = folder / "home" / "policy.yaml"
    text = policy.read_text()
    for before, after in CHANGES:
        assert before in text
        text = text.replace(before, after)
    policy.write_text(text)
    return asyncio.run(_lived(folder))


async def _lived(folder: Path) -> Seen:
    seen, clock = Seen(), SystemClock()
    bench = qemu_bench(folder, folder / "home" / HOME.name)
    platform: Any = bench.assemble(SCRIPT, None)(clock, Trace(clock.monotonic))[0]
    try:
        await platform.launch()
        for vm in bench.plan.vms:
            health = await platform.start(vm.name)
            assert health.healthy, health.reason
        await platform.carry()
        report = platform.report()
        seen.firewall, seen.steps = dict(report.vms[0].appliance), list(report.vms[-1].appliance["steps"])
        seen.left = list(platform._run.wire.left)
    finally:
        await platform.power_off()
    return seen


def test_an_address_is_refused_before_the_answer_that_names_it_and_passes_after(seen: Seen) -> None:
    assert [each["outcome"] for each in seen.steps] == ["refused", "ok", "ok", "ok", "refused"]


def test_the_report_says_what_the_name_stands_for(seen: Seen) -> None:
    names = seen.firewall["names"]["*.example.com"]
    assert names["addresses"] == 2
    assert 0 < names["for-s"] <= 300
    assert seen.firewall["notices"] == {"read": 3, "malformed": 0, "lost": 0}


def test_no_notice_reaches_the_wire(seen: Seen) -> None:
    assert [each for each in seen.left if each[12:14] == b"\x88\xb5"] == []
