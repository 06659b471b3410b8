"""Real programs through the modelled machine: curl, dig and ping between two namespaces, with two taps between them.

user namespace ──tap vafw-u──▶ user OS, dns filter, firewall, VT-d, NIC ──tap vafw-w──▶ router namespace
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.captures.namespaces import Namespace, Site, address_router, address_user, adopt_tap, missing, site
from tests.captures.servers import LINE

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
TOPOLOGY = ROOT / "policies/office-laptop/topology.yaml"
WIRE_TAP, USER_TAP = f"vafw-w{os.getpid()}", f"vafw-u{os.getpid()}"
VAFW = (sys.executable, "-m", "vafw")
CURL = ("curl", "-sk", "--max-time", "20")
REFUSED, TIMED_OUT = 7, 28
"""curl's exit codes."""


@dataclass(frozen=True)
class Machine:
    """A running `vafw up`."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    def status(self) -> Any:
        """What `vafw status` says: the snapshot, or None where there is none yet."""
        command = [*VAFW, "status", str(TOPOLOGY), "--json"]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, check=False)
        return json.loads(done.stdout)["data"]

    def wait_until_up(self) -> None:
        """Ask until it is up; a machine that ended instead fails the test with its own words."""
        while (self.status() or {}).get("phase") != "up":
            assert self.process.poll() is None, "vafw up ended before it was up"


@dataclass(frozen=True)
class Live:
    """The site, with the machine between user and router."""

    site: Site
    machine: Machine

    @property
    def user(self) -> Namespace:
        """Where the user's programs run."""
        return self.site.user

    @property
    def servers(self) -> Namespace:
        """Where the servers run."""
        return self.site.servers


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The machine up, its taps moved to where the user and the router are."""
    if why := missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("live")
    environment = {**os.environ, "VAFW_RUN_DIR": str(folder / "run")}
    command = [*VAFW, "up", str(TOPOLOGY), "--wire", f"tap:{WIRE_TAP}", "--user", f"tap:{USER_TAP}", "--for", "180 s"]
    with site(folder) as made, subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        machine = Machine(process, environment)
        try:
            machine.wait_until_up()
            adopt_tap(made.router, WIRE_TAP)
            adopt_tap(made.user, USER_TAP)
            address_router(made.router, WIRE_TAP)
            address_user(made.user, USER_TAP)
            yield Live(made, machine)
        finally:
            process.terminate()


@pytest.mark.parametrize(
    "url",
    ["http://www.example.com/", "https://www.example.com/", "http://six.example.com/", "http://news.example.org/"],
)
def test_pages_open(live: Live, url: str) -> None:
    assert live.user.run(*CURL, url).encode() == LINE


def test_a_large_page_arrives_whole(live: Live) -> None:
    assert len(live.user.run(*CURL, "http://www.example.com/big/300000")) == 300_000


@pytest.mark.parametrize("resolver", ["10.0.0.1", "2001:db8:a::1"])
def test_names_resolve(live: Live, resolver: str) -> None:
    assert live.user.run("dig", "+short", f"@{resolver}", "www.example.com").split() == ["198.51.100.10"]


@pytest.mark.parametrize("name", ["ads.example.net", "TRACKER.example.org", "deep.below.ads.example.net"])
def test_blocked_names_do_not_exist(live: Live, name: str) -> None:
    assert "status: NXDOMAIN" in live.user.run("dig", "@10.0.0.1", name)


def test_ssh_is_dropped(live: Live) -> None:
    tried = live.user.attempt("curl", "-s", "--connect-timeout", "2", "telnet://198.51.100.10:22")
    assert tried.returncode == TIMED_OUT


def test_the_lan_is_refused_at_once(live: Live) -> None:
    assert live.user.attempt(*CURL, "http://192.168.1.10/").returncode == REFUSED


@pytest.mark.parametrize("host", ["10.0.0.1", "198.51.100.10", "2001:db8:a::1", "2001:db8:b::10"])
def test_pings_are_answered(live: Live, host: str) -> None:
    assert "1 received" in live.user.run("ping", "-c", "1", "-W", "5", host)


def test_a_ping_in_fragments_is_answered(live: Live) -> None:
    assert "1 received" in live.user.run("ping", "-c", "1", "-W", "5", "-s", "4000", "198.51.100.10")


def test_nobody_outside_reaches_the_user(live: Live) -> None:
    assert live.servers.attempt("ping", "-c", "1", "-W", "1", "10.0.0.2").returncode == 1
    knocked = live.servers.attempt("curl", "-s", "--connect-timeout", "1", "telnet://10.0.0.2:22")
    assert knocked.returncode == TIMED_OUT


def test_the_status_counts_what_was_dropped_and_blocked(live: Live) -> None:
    live.user.run("dig", "@10.0.0.1", "ads.example.net")
    machines = {each["name"]: each["appliance"] for each in live.machine.status()["vms"]}
    assert "no-lan" in json.dumps(machines["firewall"])
    assert "ads.example.net" in json.dumps(machines["dns"])
    assert machines["user-os"]["mode"] == "bridge"
