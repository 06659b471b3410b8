"""Two real boxes before one machine: curl goes on by the second line when the first one's cable is pulled.

user ──tap──▶ user OS, dns, tap, firewall ─┬─tap vafw-a──▶ box a  10.0.0.1 ┐ each with a server of its own
                                           └─tap vafw-b──▶ box b  10.1.0.1 ┘ at 198.51.100.10
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.captures.namespaces import Namespace, adopt_tap, missing

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
TOPOLOGY = ROOT / "policies" / "research-lab" / "topology.yaml"
VAFW = (sys.executable, "-m", "vafw")
NUMBER = os.getpid()
USER_TAP, TAPS = f"vafw-u{NUMBER}", {"nic": f"vafw-a{NUMBER}", "mobile": f"vafw-b{NUMBER}"}
BOXES = {"nic": "10.0.0.1", "mobile": "10.1.0.1"}
SERVER = "198.51.100.10"
PATIENT = ("curl", "-s", "--connect-timeout", "1", "--retry", "20", "--retry-all-errors", "--retry-delay", "1")


def namespace(stack: ExitStack, name: str) -> Namespace:
    made = Namespace(f"vafw-{name}-{NUMBER}")
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    stack.callback(subprocess.run, ["ip", "netns", "delete", made.name], check=False)
    made.ip("link set lo up")
    return made


def box(stack: ExitStack, function: str, folder: Path) -> Namespace:
    """A next hop with a web server behind it that says which of the two it is."""
    made = namespace(stack, function)
    adopt_tap(made, TAPS[function])
    made.ip(f"link set {TAPS[function]} up")
    made.ip(f"address add {BOXES[function]}/24 dev {TAPS[function]}")
    made.ip(f"address add {SERVER}/32 dev lo")
    (folder / function).mkdir()
    (folder / function / "who").write_text(function)
    server = ("-u", "-m", "http.server", "--bind", SERVER, "--directory", str(folder / function))
    for port in ("80", "873"):
        stack.enter_context(made.running(sys.executable, *server, port, ready="Serving HTTP"))
    return made


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Namespace, dict[str, Namespace], dict[str, str]]]:
    """The user's namespace, the boxes, and the environment in which the machine runs."""
    if why := missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("two-lines")
    environment = {**os.environ, "VAFW_RUN_DIR": str(folder / "run")}
    wires = [word for name, tap in TAPS.items() for word in ("--wire", f"{name}=tap:{tap}")]
    command = [*VAFW, "up", str(TOPOLOGY), *wires, "--user", f"tap:{USER_TAP}", "--for", "120 s", "--no-control"]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process, ExitStack() as stack:
        stack.callback(process.terminate)
        while (status(environment) or {}).get("phase") != "up":
            assert process.poll() is None, "vafw up ended before it was up"
        boxes = {name: box(stack, name, folder) for name in TAPS}
        user = namespace(stack, "user")
        adopt_tap(user, USER_TAP)
        user.ip(f"link set {USER_TAP} up")
        user.run("ethtool", "-K", USER_TAP, "tx", "off")
        user.ip(f"address add 192.168.88.2/24 dev {USER_TAP}")
        user.ip("route add default via 192.168.88.1")
        yield user, boxes, environment


def status(environment: dict[str, str]) -> Any:
    command = [*VAFW, "status", str(TOPOLOGY), "--json"]
    return json.loads(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).stdout)[
        "data"
    ]


def test_a_page_comes_by_the_first_line_and_a_bulk_transfer_by_the_second(
    lab: tuple[Namespace, dict[str, Namespace], dict[str, str]],
) -> None:
    user, _, _ = lab
    assert user.run(*PATIENT, f"http://{SERVER}/who") == "nic"
    assert user.run(*PATIENT, f"http://{SERVER}:873/who") == "mobile"


def test_a_pulled_cable_is_noticed_and_the_other_line_takes_over_until_it_is_back(
    lab: tuple[Namespace, dict[str, Namespace], dict[str, str]],
) -> None:
    user, boxes, environment = lab
    boxes["nic"].ip(f"link set {TAPS['nic']} down")
    assert user.run(*PATIENT, f"http://{SERVER}/who") == "mobile"
    reports = {vm["name"]: vm["appliance"] for vm in status(environment)["vms"]}
    assert [each["up"] for each in reports["firewall"]["router"]["uplinks"]] == [False, True]
    boxes["nic"].ip(f"link set {TAPS['nic']} up")
    asked = (user.run(*PATIENT, f"http://{SERVER}/who") for _ in range(400))
    assert any(each == "nic" for each in asked), "once its box answers again, it is used again"
