"""A terminal without Unicode: what this UI draws itself is ASCII then. Asked of a process in such a locale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.tui.conftest import HERE
from tests.tui.test_layers import PATHS, ROOT

PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": PATHS}
PROGRAM = """
import json, sys
from pathlib import Path
from vafw_tui import overlay, report
from vafw_tui.drawing import Overlay, draw
from vafw_tui.feed import Look, Traces
from vafw_tui.judgement import read, surroundings
from vafw_tui.marks import speaks_unicode
from vafw_tui.round_trip import plain
from vafw_tui.scene import scene

assert not speaks_unicode()
recorded, topology = Path(sys.argv[1]), Path(sys.argv[2])
traces = Traces()
for name, running in (("up", True), ("refused", False)):
    events = [json.loads(line) for line in (recorded / f"{name}.events.jsonl").read_text().splitlines()]
    look = Look(running, json.loads((recorded / f"{name}.json").read_text()), events)
    around = surroundings(topology.parent, "machine.yaml")
    shown = scene(plain(read(topology.read_text(), topology)), around.devices)
    for thing in shown.things():
        over = Overlay(overlay.states(look), overlay.counters(look), {}, {thing: 1}, around.machine)
        for line in draw(shown, over, thing, 40, unicode=speaks_unicode()).lines:
            print("".join(text for text, _ in line))
    traces.take(look.snapshot)
    snapshot = look.snapshot
    for line in (*report.verdict(look), *report.timeline(snapshot), *report.machines(snapshot)):
        print("".join(text for text, _ in line))
    for line in report.links(snapshot, traces):
        print("".join(text for text, _ in line))
    for rows in (report.claims(snapshot), report.desired(look), report.rules(snapshot), report.flows(snapshot)):
        for row in rows:
            print(*(cell if isinstance(cell, str) else cell[0] for cell in row))
    for row in report.events(look):
        print(*(cell if isinstance(cell, str) else cell[0] for cell in row))
"""


def test_everything_is_drawn_in_ascii_where_the_terminal_has_no_more(office: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, HERE / "recorded", office],
        cwd=ROOT,
        env={**os.environ, **PLAIN},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    said = done.stdout.decode("ascii")
    assert "x gate closed" in said
    assert "| * healthy" in said
