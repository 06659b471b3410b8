"""Every screen at 80x24 and 120x40, as pictures. `VAFW_REWRITE_PICTURES=1 pytest tests/tui` makes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tui.conftest import HERE, Recorded, opened, press, recorded, rewritten
from tests.tui.picture import picture

SIZES = [(80, 24), (120, 40)]
NOTHING = Recorded()
UP = recorded("up", running=True)
REFUSED = recorded("refused", running=False)

SCREENS: dict[str, tuple[Recorded, tuple[str, ...]]] = {
    "home": (NOTHING, ("j", "j")),
    "form": (NOTHING, ("G", "k", "k", "enter", "tab", "backspace")),
    "insert": (NOTHING, ("j", "j", "j", "a")),
    "assign": (NOTHING, ("j", "j", "d")),
    "save": (NOTHING, ("j", "j", "j", "j", "x", "ctrl+s")),
    "help": (NOTHING, ("question_mark",)),
    "overlay": (UP, ("j",)),
    "start": (NOTHING, ("u",)),
    "refused": (REFUSED, ("2", "l")),
}
TABS = ("boot", "gate", "vms", "traffic", "events")


def hold_against(name: str, drawn: str) -> None:
    """Compare with the stored picture, which is written anew where that was asked for."""
    stored = HERE / "snapshots" / f"{name}.svg"
    if os.environ.get("VAFW_REWRITE_PICTURES") == "1":
        stored.write_text(drawn)
    assert drawn == stored.read_text(), f"{stored} shows another screen"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
async def test_a_screen_looks_as_it_did(name: str, size: tuple[int, int], laptop: Path) -> None:
    feed, keys = SCREENS[name]
    async with opened(laptop, feed, size) as (app, pilot):
        await press(pilot, *keys)
        await pilot.pause()
        drawn = picture(app)
    hold_against(f"{name}-{size[0]}x{size[1]}", drawn)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_tabs_of_a_run_look_as_they_did(laptop: Path, size: tuple[int, int]) -> None:
    drawn = {}
    async with opened(laptop, UP, size) as (app, pilot):
        for tab, key in zip(TABS, "2llll", strict=True):
            await press(pilot, key)
            await pilot.pause()
            drawn[tab] = picture(app)
    for tab, each in drawn.items():
        hold_against(f"{tab}-{size[0]}x{size[1]}", each)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_problems_look_as_they_did(laptop: Path, size: tuple[int, int]) -> None:
    rewritten(laptop, ("memory: 192 MiB", "memory: 192"), ("dns, user-os]", "dns, ids, user-os]"))
    async with opened(laptop, None, size) as (app, pilot):
        await press(pilot, "n")
        drawn = picture(app)
    hold_against(f"problems-{size[0]}x{size[1]}", drawn)


async def test_high_contrast_looks_as_it_did(laptop: Path) -> None:
    async with opened(laptop, UP, (80, 24)) as (app, pilot):
        app.theme = "vafw-high-contrast"
        await press(pilot, "j", "j")
        drawn = picture(app)
    hold_against("high-contrast-80x24", drawn)


@pytest.mark.parametrize("size", [(40, 12), (20, 5), (200, 60)])
async def test_any_size_is_drawn(laptop: Path, size: tuple[int, int]) -> None:
    async with opened(laptop, UP, size) as (app, pilot):
        await press(pilot, "j", "enter", "escape", "2", "l", "l", "l", "1")
        assert picture(app)
