"""What the tests of the terminal UI share: a topology of their own, recorded runs, an app that is driven by keys."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from vafw_tui.app import VafwApp
from vafw_tui.draft import Draft
from vafw_tui.feed import Look

HERE = Path(__file__).parent
GIVEN = Path("policies/office-laptop/topology.yaml")


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run directory of the test's own, and a terminal that speaks UTF-8 in colour, without motion."""
    monkeypatch.setenv("VAFW_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("VAFW_REDUCED_MOTION", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("vafw_tui.marks.speaks_unicode", lambda: True)


@pytest.fixture
def laptop(office: Path, tmp_path: Path) -> Path:
    """A copy of the shipped example, to be edited."""
    folder = shutil.copytree(office.parent, tmp_path / "office-laptop")
    return folder / office.name


def text_of(file: Path) -> str:
    """What a file says."""
    return file.read_text()


def rewritten(file: Path, *changes: tuple[str, str]) -> str:
    """Change a file before the app reads it; returns what it says then."""
    text = file.read_text()
    for old, new in changes:
        text = text.replace(old, new)
    file.write_text(text)
    return text


@dataclass
class Recorded:
    """A feed that shows what was recorded of a real run, and notes what it is asked."""

    seen: Look = field(default_factory=Look)
    asked: list[str] = field(default_factory=list)

    def look(self) -> Look:
        """What was recorded."""
        return self.seen

    def request(self, name: str) -> None:
        """Note it."""
        self.asked.append(name)


def recorded(name: str, *, running: bool) -> Recorded:
    """The feed of a recorded run."""
    folder = HERE / "recorded"
    events = [json.loads(line) for line in (folder / f"{name}.events.jsonl").read_text().splitlines()]
    return Recorded(Look(running, json.loads((folder / f"{name}.json").read_text()), events))


@asynccontextmanager
async def opened(
    topology: Path, feed: Recorded | None = None, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[VafwApp, Pilot[None]]]:
    """The app on a topology, once it has drawn and judged; nobody looks at the run by the clock."""
    app = VafwApp(Draft.open(topology), given=GIVEN, feed=feed or Recorded())
    async with app.run_test(size=size) as pilot:
        await app.look()
        await settled(pilot)
        yield app, pilot


async def settled(pilot: Pilot[None]) -> None:
    """Wait until every check has ended and everything is drawn; not while a dialog is open."""
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, each after the one before has done what it does and its text was judged."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
        for worker in [each for each in pilot.app.workers if each.group == "judge"]:
            with suppress(WorkerCancelled):  # a later text is judged instead
                await worker.wait()
        await pilot.pause()


async def until(app: VafwApp, holds: Callable[[Look], bool]) -> None:
    """Look at the run until it is as wanted."""
    async with asyncio.timeout(60):
        while not holds(app.looked):
            await app.look()
