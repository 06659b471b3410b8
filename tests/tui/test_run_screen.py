"""The run screen: over recorded runs, and over a real one that is started, followed and stopped from here."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.widgets import DataTable, Input, Select

from tests.conftest import Vafw
from tests.tui.conftest import GIVEN, Recorded, opened, press, recorded, settled, until
from vafw.supervisor.run_directory import RunDirectory
from vafw_tui import report
from vafw_tui.app import VafwApp
from vafw_tui.draft import Draft
from vafw_tui.drawing import Line
from vafw_tui.feed import Look, RunFeed, Traces
from vafw_tui.screens.run import RunScreen
from vafw_tui.screens.start import Start
from vafw_tui.widgets.bars import CommandLine


def text(lines: list[Line]) -> str:
    """Lines without their styles."""
    return "\n".join("".join(piece for piece, _ in line) for line in lines)


def test_the_verdict_names_what_kept_the_gate_closed() -> None:
    said = text(report.verdict(recorded("refused", running=False).look()))
    assert "✗ gate closed        image firewall is none of those that the reference values accept" in said
    assert "component image firewall" in said
    assert "remedy    Put the accepted image firewall back" in said


def test_a_line_that_is_too_wide_goes_on_under_its_text() -> None:
    lines: list[Line] = [(("head ", "bold"), ("one two three", "dim")), (("", ""),)]
    assert list(report.hanging(lines, 21)) == [
        (("head ", "bold"), ("one two three", "dim")),
        (("", ""),),
    ]
    refused = [*report.hanging(report.verdict(recorded("refused", running=False).look()), 60)]
    assert all(len("".join(piece for piece, _ in line)) <= 60 for line in refused)
    assert f"those that\n{' ' * 21}the reference values accept\n" in text(refused)


def test_the_timeline_has_every_step_with_its_time() -> None:
    snapshot = recorded("up", running=True).look().snapshot
    said = text(report.timeline(snapshot)).splitlines()
    titles = [step["title"] for step in snapshot["steps"]]
    starts = ["start firewall", "start dns", "start user-os"]
    assert titles == ["launch", "attest", "gate", *starts, "isolation", "traffic"]
    assert [line[2 : 2 + len(title)] for line, title in zip(said[:8], titles, strict=True)] == titles
    assert all(" ms " in line or " s " in line for line in said[:8])


def test_what_is_not_affirming_stands_first() -> None:
    rows = report.claims(recorded("refused", running=False).look().snapshot)
    assert rows[0][:2] == (("✗ contraindicated", "$text-error"), "image firewall")
    assert len(rows) == 19


def test_a_device_with_another_owner_than_planned_differs() -> None:
    look = recorded("up", running=True).look()
    look.snapshot["assignments"][0]["vm"] = "dns"
    assert (("≠ differs", "$text-error"), "nic", "firewall", "dns") in report.desired(look)


def test_what_is_desired_and_what_runs_stand_side_by_side() -> None:
    look = recorded("up", running=True).look()
    firewall = next(vm for vm in look.snapshot["vms"] if vm["name"] == "firewall")
    row = next(row for row in report.desired(look) if row[1] == "firewall config")
    assert row[0] == ("✓ same", "$text-success")
    assert row[2] == row[3] == f"generation 1.1, applied, {firewall['desired']['hash'][:15]}"
    firewall["reported"] |= {"generation": 1, "status": "went-back"}
    firewall["desired"] |= {"generation": 2}
    row = next(row for row in report.desired(look) if row[1] == "firewall config")
    assert (row[0], row[3][:25]) == (("≠ differs", "$text-error"), "generation 1.1, went-back")


def test_events_stand_with_the_latest_first() -> None:
    look = recorded("up", running=True).look()
    rows = report.events(look)
    assert len(rows) == len(look.events)
    times = [float(str(row[0])) for row in rows]
    assert times == sorted(times, reverse=True)
    assert ("gate.opened", "$text-success") in [row[1] for row in rows]


def test_flows_are_filtered_by_words() -> None:
    snapshot = recorded("up", running=True).look().snapshot
    every, some = report.flows(snapshot), report.flows(snapshot, "tcp web")
    assert 0 < len(some) < len(every)
    assert {row[1] for row in some} == {"web"}


def test_traces_hold_what_moved_between_two_looks() -> None:
    traces = Traces()
    for total in (10, 14, 14, 20):
        traces.take({"since": "a", "links": [{"name": "l", "frames-in": total, "frames-out": 0}]})
    assert traces.of("l") == [0, 4, 0, 6]
    traces.take({"since": "b", "links": [{"name": "l", "frames-in": 3, "frames-out": 0}]})
    assert traces.of("l") == [0]
    assert report.sparkline([0, 4, 0, 8], 4) == "▁▅▁█"


async def test_a_run_of_somebody_else_is_read_only_until_one_says_otherwise(laptop: Path) -> None:
    feed = recorded("up", running=True)
    async with opened(laptop, feed) as (_, pilot):
        await press(pilot, "2", "s", "t")
        await settled(pilot)
        assert feed.asked == []
        await press(pilot, "R", "t")
        await settled(pilot)
        await press(pilot, "s")
        await settled(pilot)
    assert feed.asked == ["attest", "down"]


async def test_flows_are_filtered_on_the_screen(laptop: Path) -> None:
    async with opened(laptop, recorded("up", running=True)) as (app, pilot):
        await press(pilot, "2", "slash", *"no-lan")
        table = app.screen.query_one("#flows", DataTable)
        assert {str(table.get_row_at(row)[1]) for row in range(table.row_count)} == {"no-lan"}


async def test_an_unsaved_topology_is_not_started(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        await press(pilot, "j", "j", "x", "u")
        assert isinstance(app.screen, RunScreen)
        assert app.child is None


async def test_the_start_dialog_shows_the_command(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        await press(pilot, "u")
        assert isinstance(app.screen, Start)
        app.screen.query_one("#feed", Select).value = "office.pcap"
        app.screen.query_one("#tamper", Input).value = "vmm"
        await pilot.pause()
        shown = str(app.screen.query_one("#preview").render())
    assert shown == f"$ vafw up {GIVEN} --pcap {laptop.parent / 'captures' / 'office.pcap'} --tamper vmm"


def started(topology: Path) -> VafwApp:
    """The app as `vafw tui` opens it, but for the clock."""
    return VafwApp(Draft.open(topology), given=topology, feed=RunFeed(RunDirectory("office-laptop")))


async def test_a_run_is_started_followed_and_stopped(laptop: Path, vafw: Vafw) -> None:
    assert vafw("measure", laptop, "--write").code == 0
    app = started(laptop)
    async with app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "u", "enter")
        child = app.child
        assert child is not None
        await until(app, lambda look: look.phase == "up")
        await pilot.pause()
        assert app.looked.snapshot["gate"]["open"]
        claims = app.looked.snapshot["attestation"]["claims"]
        assert app.screen.query_one("#claims", DataTable).row_count == len(claims) > 15
        assert app.screen.query_one(CommandLine).command == "vafw status office-laptop"
        await press(pilot, "s")
        await settled(pilot)
        await asyncio.to_thread(child.wait, 60)
        await app.look()
        await pilot.pause()
        assert app.looked.phase == "stopped"
        assert not app.looked.running


async def test_a_refused_start_shows_its_reason(laptop: Path, vafw: Vafw) -> None:
    assert vafw("measure", laptop, "--write").code == 0
    app = started(laptop)
    async with app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "u")
        app.screen.query_one("#tamper", Input).value = "appliance=firewall"
        await press(pilot, "enter")
        child = app.child
        assert child is not None
        await asyncio.to_thread(child.wait, 60)
        await app.look()
        await pilot.pause()
        assert app.looked.phase == "refused"
        assert [each.title for each in app._notifications] == ["vafw up ended with exit code 20"]
        assert "✗ gate closed" in text(report.verdict(app.looked))


async def test_nothing_to_look_at_is_said(laptop: Path) -> None:
    assert text(report.verdict(Look())) == "○ not running        u starts it"
    async with opened(laptop, Recorded(Look(True))) as (app, pilot):
        await press(pilot, "2")
        assert app.looked.phase == "starting"
