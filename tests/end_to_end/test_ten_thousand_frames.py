"""Ten thousand real frames go through card, VT-d, firewall, dns-filter and user OS: none is lost, none is changed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.conftest import ROOT, Vafw
from vafw.traffic.pcap import read_capture

CAPTURE = ROOT / "tests" / "captures" / "office-10k.pcap.gz"


def test_no_frame_is_lost_or_changed_unasked(vafw: Vafw, office: Path, tmp_path: Path) -> None:
    results = tmp_path / "out.pcapng"
    done = vafw("up", office, "--pcap", CAPTURE, "--pcap-out", results, "--until-idle", "--json")
    wire = json.loads(done.out)["data"]["wire"]
    entered = Counter(each.data for each in read_capture(CAPTURE))
    left = Counter(each.data for each in read_capture(results))
    assert (done.code, wire["lost"], wire["frames"]) == (0, 0, sum(entered.values()))
    assert wire["frames"] >= 10_000
    assert entered - left == Counter()


def test_each_frame_ends_where_the_programs_alone_would_end_it(vafw: Vafw, office: Path, tmp_path: Path) -> None:
    """The machine changes no verdict: the same programs, chained without any hardware, deliver the same frames."""
    from vafw.cli.model_platform import load_plan
    from vafw.provider.model import image
    from vafw.provider.model.wire import CaptureReplay, Side
    from vafw.traffic.appliance import INSIDE, OUTSIDE

    results = tmp_path / "out.pcapng"
    done = vafw("up", office, "--pcap", CAPTURE, "--pcap-out", results, "--until-idle", "--json")
    plan = load_plan(office)
    chain = [image.program(image.load(vm.image.folder, vm.image.name)).create(vm.config) for vm in plan.vms[:-1]]
    delivered: Counter[tuple[str, bytes]] = Counter()
    for injection in CaptureReplay(CAPTURE, plan.wire.mac or ""):
        from_wire = injection.side is Side.WIRE
        pending = [(0 if from_wire else len(chain) - 1, OUTSIDE if from_wire else INSIDE, injection.frame)]
        while pending:
            hop, port, frame = pending.pop(0)
            for out, emitted in chain[hop].handle(port, frame, injection.time_s).emit:
                following = hop + (1 if out == INSIDE else -1)
                if following < 0:
                    delivered["wire", emitted] += 1
                elif following == len(chain):
                    delivered["user", emitted] += 1
                else:
                    pending.append((following, OUTSIDE if out == INSIDE else INSIDE, emitted))
    machine = Counter((each.interface, each.data) for each in read_capture(results) if each.interface != "dropped")
    assert done.code == 0
    assert machine == delivered
