"""What a person does on the home screen, by key and by mouse, and what the document says afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input, OptionList

from tests.tui.conftest import opened, press, rewritten, settled, text_of
from vafw_tui.edit import SetField
from vafw_tui.scene import Kind, Thing
from vafw_tui.screens.topology import TopologyScreen
from vafw_tui.widgets.bars import CommandLine, TitleBar
from vafw_tui.widgets.graph import TopologyGraph
from vafw_tui.widgets.inspector import FieldRow
from vafw_tui.widgets.problems import Problems
from vafw_tui.widgets.yaml_pane import YamlPane


async def test_an_appliance_is_inserted_undone_redone_and_saved(laptop: Path) -> None:
    before = text_of(laptop)
    async with opened(laptop) as (app, pilot):
        await press(pilot, "j", "j", "a", "enter")
        await settled(pilot)
        assert "path: [nic, firewall, dns-filter, dns, user-os]" in app.draft.text
        assert app.screen.query_one(TopologyGraph).selected == Thing(Kind.VM, "dns-filter")
        await press(pilot, "ctrl+z")
        assert app.draft.text == before
        await press(pilot, "ctrl+y", "ctrl+s", "y")
        await settled(pilot)
        assert app.draft.is_saved
        assert "  dns-filter: {use: dns-filter}\n" in text_of(laptop)
        await press(pilot, "ctrl+z", "ctrl+s", "y")
        await settled(pilot)
    assert text_of(laptop) == before


async def test_removing_the_firewall_shows_what_is_wrong_at_once(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        await press(pilot, "j", "j", "x")
        await settled(pilot)
        problems = app.screen.query_one(Problems)
        assert len(problems.problems) == 3
        assert "path: [nic, dns, user-os]" in app.draft.text
        await press(pilot, "ctrl+z")
        await settled(pilot)
        assert not problems.problems


async def test_a_device_is_assigned_to_the_selected_vm(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        await press(pilot, "G", "k", "k", "d")
        options = app.screen.query_one(OptionList)
        options.highlighted = options.get_option_index("sound")
        await press(pilot, "enter")
        await settled(pilot)
        assert "  assign: [display, sound]\n" in app.draft.text


async def test_a_device_taken_from_its_vm_is_free(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        graph = app.screen.query_one(TopologyGraph)
        graph.select(Thing(Kind.DEVICE, "display"))
        await press(pilot, "x")
        await settled(pilot)
        assert "display" in graph.scene.free
        assert "display" not in app.draft.text


async def test_a_field_changes_the_document_as_it_is_typed_in_one_entry(laptop: Path) -> None:
    before = text_of(laptop)
    async with opened(laptop) as (app, pilot):
        await press(pilot, "G", "k", "k", "enter", "tab", "tab", "backspace", "1", "6")
        await settled(pilot)
        assert "  vcpus: 16\n" in app.draft.text
        await press(pilot, "escape", "ctrl+z")
        assert app.draft.text == before


async def test_a_value_that_is_not_right_is_refused_in_the_form(laptop: Path) -> None:
    before = text_of(laptop)
    async with opened(laptop) as (app, pilot):
        await press(pilot, "G", "k", "k", "enter", "tab", "2")
        row = app.screen.query(FieldRow)[1]
        assert row.has_class("-refused")
        assert str(row.query_one(".refusal").render()) == (
            "✗ memory must be a size with its unit, such as 256 MiB or 2 GiB, not '2'"
        )
        assert app.draft.text == before


async def test_moving_about_changes_nothing(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        await press(pilot, *"jjjjjjjkkkkllhhGg", "enter", "tab", "tab", "escape", "v", "n", "1", "2", "1")
        await settled(pilot)
        assert app.draft.undoes == ""


async def test_text_is_typed_and_the_picture_follows(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        pane = app.screen.query_one(YamlPane)
        await press(pilot, "e")
        pane.go_to(22, 13)
        await press(pilot, "i", "d", "s", ",", "space")
        await settled(pilot)
        assert "path: [nic, ids, firewall, dns, user-os]" in app.draft.text
        hops = app.screen.query_one(TopologyGraph).scene.hops
        assert [vm.name for vm in hops] == ["ids", "firewall", "dns", "user-os"]
        assert [each.span.line for each in app.screen.query_one(Problems).problems][:1] == [22]
        await press(pilot, "ctrl+z")
        assert app.draft.is_saved
        assert pane.text == app.draft.text


async def test_a_text_that_is_no_yaml_just_now_leaves_the_picture(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        await press(pilot, "e", "left_square_bracket")
        await settled(pilot)
        assert len(app.screen.query_one(TopologyGraph).scene.hops) == 3
        assert [each.code for each in app.screen.query_one(Problems).problems] == ["VAFW-Y001"]


async def test_reading_is_the_default_of_the_text(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        app.screen.query_one(YamlPane).focus()
        await press(pilot, "x", "y", "z")
        assert app.draft.is_saved


async def test_a_problem_in_another_file_is_shown_there(laptop: Path) -> None:
    rewritten(laptop.with_name("policy.yaml"), ("default: drop", "default: dorp"))
    async with opened(laptop) as (app, pilot):
        await press(pilot, "n")
        pane = app.screen.query_one(YamlPane)
        assert pane.border_title == "policy.yaml"
        assert "dorp" in pane.document.get_line(pane.cursor_location[0])
        assert pane.read_only
        assert app.screen.query_one(CommandLine).command == "vafw explain VAFW-D006"
        await press(pilot, "j")
        assert pane.border_title == "topology.yaml"


async def test_the_mouse_selects_and_opens(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        graph = app.screen.query_one(TopologyGraph)
        await pilot.click(graph, offset=(8, 8))
        await pilot.pause()
        assert graph.selected == Thing(Kind.VM, "dns")
        await pilot.click(graph, offset=(8, 14), times=2)
        await pilot.pause()
        assert graph.selected == Thing(Kind.DEVICE, "display")


async def test_a_click_into_the_text_selects_what_stands_there(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        await pilot.click(YamlPane, offset=(12, 19))
        await pilot.pause()
        assert app.screen.query_one(TopologyGraph).selected == Thing(Kind.VM, "dns")


async def test_an_edit_that_would_lose_a_comment_is_said_and_not_done(laptop: Path) -> None:
    block = "path:\n  - nic\n  - firewall  # first\n  - dns\n  - user-os\n"
    text = rewritten(laptop, ("path: [nic, firewall, dns, user-os]", block))
    async with opened(laptop) as (app, pilot):
        await press(pilot, "j", "j", "J")
        assert app.draft.text == text
        assert [each.title for each in app._notifications] == ["Not done"]


async def test_leaving_with_something_unsaved_asks_first(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        await press(pilot, "j", "j", "x", "q")
        assert not isinstance(app.screen, TopologyScreen)
        await press(pilot, "enter")
        assert isinstance(app.screen, TopologyScreen)
        await press(pilot, "ctrl+z", "q")
        assert app.return_code == 0


async def test_the_command_is_copied(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        await press(pilot, "y")
        assert app.clipboard == "vafw check policies/office-laptop/topology.yaml"


async def test_the_palette_finds_what_the_keys_do(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        names = [each.title for each in app.get_system_commands(app.screen)]
        assert {"add", "remove", "save", "undo", "device", "up", "Theme"} <= set(names)
        await press(pilot, "colon")
        assert isinstance(app.focused, Input)


async def test_a_broken_topology_opens_and_says_so(laptop: Path) -> None:
    rewritten(laptop, (text_of(laptop), "vafw: 1\nkind: topology\n"))
    async with opened(laptop) as (app, pilot):
        await press(pilot, "j", "k", "enter")
        assert "problem" in str(app.screen.query_one(TitleBar).render())
        assert len(app.screen.query_one(Problems).problems) > 3


async def test_a_link_beside_the_path_has_a_form(laptop: Path) -> None:
    side = "links:\n  - {name: side, between: [firewall.side, dns.side]}\n"
    rewritten(laptop, ("path: [", f"{side}path: ["))
    async with opened(laptop) as (app, pilot):
        await press(pilot, "G", "k")
        assert app.screen.query_one(TopologyGraph).selected == Thing(Kind.LINK, "side")
        rows = {row.field.label: row.field for row in app.screen.query(FieldRow)}
        assert {label: field.text for label, field in rows.items()} == {
            "name": "side",
            "between": "firewall.side, dns.side",
        }
        with pytest.raises(ValueError, match=r"must"):
            rows["between"].value("firewall")
        assert app.draft.apply(SetField(rows["name"].place, rows["name"].value("sideway")))
    assert side.replace("name: side", "name: sideway") in app.draft.text


async def test_a_link_that_is_renamed_stays_selected_while_one_types(laptop: Path) -> None:
    rewritten(laptop, ("path: [", "links:\n  - {name: side, between: [firewall.side, dns.side]}\npath: ["))
    async with opened(laptop) as (app, pilot):
        await press(pilot, "G", "k", "tab", "end", "w", "a", "y")
        assert app.screen.query_one(TopologyGraph).selected == Thing(Kind.LINK, "sideway")
        assert "name: sideway" in app.draft.text


async def test_what_has_keys_of_its_own_is_no_field_of_an_appliances_form(laptop: Path) -> None:
    async with opened(laptop) as (app, pilot):
        await press(pilot, "j", "j")
        labels = [row.field.label for row in app.screen.query(FieldRow)]
    assert labels == ["use", "memory", "vcpus", "assign", "addresses", "mode"]
