"""The application: one topology, its draft, its run, two screens.

It owns what both screens show (the draft and the latest look at the run) and nothing else; looking happens in a thread,
so that a machine that does not answer never stops the keyboard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Final, final

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.screen import Screen

from vafw.document.tree import MappingNode
from vafw.errors import VafwError
from vafw.supervisor.run_directory import RunDirectory
from vafw_tui.child import Child
from vafw_tui.draft import Draft
from vafw_tui.feed import Feed, Look, RunFeed, Traces
from vafw_tui.judgement import read
from vafw_tui.screens.help import Help
from vafw_tui.screens.leave import Leave
from vafw_tui.screens.run import RunScreen
from vafw_tui.screens.topology import TopologyScreen
from vafw_tui.themes import DARK, THEMES, reduced_motion
from vafw_tui.widgets.bars import CommandLine

LOOK_EVERY_S: Final = 0.5
"""Seconds between two looks at the run."""


@final
class VafwApp(App[None]):
    """`vafw tui`."""

    TITLE = "vafw"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012  # Textual's word and type
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]  # noqa: RUF012
    MODES: ClassVar[dict[str, type[Screen[None]]]] = {"topology": TopologyScreen, "run": RunScreen}  # type: ignore[assignment]  # narrower
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "switch_mode('topology')", "topology", show=False),
        Binding("2", "switch_mode('run')", "run", show=False),
        Binding("u", "start", "up"),
        Binding("y", "copy_command", "copy command", show=False),
        Binding("colon,ctrl+p", "command_palette", "palette", show=False),
        Binding("question_mark", "help", "help"),
        Binding("q", "leave", "quit"),
    ]

    looked: reactive[Look] = reactive(Look(), init=False, always_update=True)
    """The latest look at the run."""

    def __init__(
        self, draft: Draft, *, given: Path | None = None, feed: Feed | None = None, look_every_s: float | None = None
    ) -> None:
        """`given` is the topology's path as a person wrote it; without `look_every_s` nobody looks but `look()`."""
        super().__init__()
        self.draft = draft
        self.given = given or draft.path
        self.run_name = _name(draft)
        self.feed: Feed = feed or RunFeed(RunDirectory(self.run_name))
        self.traces = Traces()
        self.child: Child | None = None
        self._look_every_s = look_every_s
        self._looking = False
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = DARK.name
        if reduced_motion():
            self.animation_level = "none"

    async def on_mount(self) -> None:
        """Begin with the topology, and look at the run from now on."""
        await self.switch_mode("topology")
        if self._look_every_s is not None:
            self.set_interval(self._look_every_s, self._look_again)
            self._look_again()

    async def look(self) -> None:
        """Look at the run once, and show it."""
        seen = await asyncio.to_thread(self.feed.look)
        self.traces.take(seen.snapshot)
        self.looked = seen

    def _look_again(self) -> None:
        if not self._looking:
            self.run_worker(self._look_once(), group="look", exit_on_error=True)

    async def _look_once(self) -> None:
        self._looking = True
        try:
            await self.look()
        finally:
            self._looking = False

    async def ask(self, request: str) -> None:
        """Ask the running `up` for something; a refusal is shown."""
        try:
            await asyncio.to_thread(self.feed.request, request)
        except VafwError as refused:
            self.notify(refused.message, title="Refused", severity="error", timeout=8)

    def show_command(self, screen: Screen[None], command: str) -> None:
        """The command that does the same, at the foot of a screen."""
        screen.query_one(CommandLine).show(command)

    def action_copy_command(self) -> None:
        """Put the command into the clipboard of the terminal."""
        command = self.screen.query_one(CommandLine).command
        self.copy_to_clipboard(command)
        self.notify(f"copied: {command}", timeout=2)

    async def action_start(self) -> None:
        """Go to the run and ask how to start it."""
        await self.switch_mode("run")
        screen = self.screen
        if isinstance(screen, RunScreen):
            screen.action_start()

    def action_help(self) -> None:
        """The keys."""
        self.push_screen(Help(self.screen))

    def action_leave(self) -> None:
        """End, unless something would be lost or left behind without a word."""
        started = self.child is not None and self.child.ended() is None
        if self.draft.is_saved and not started:
            self.exit()
            return
        self.push_screen(Leave(self.draft, self.run_name if started else ""), self._left)

    def _left(self, answer: str | None) -> None:
        if answer == "stop":
            self.run_worker(self._stop_and_exit())
        elif answer == "leave":
            self.exit()

    async def _stop_and_exit(self) -> None:
        await self.ask("down")
        if self.child is not None:
            await asyncio.to_thread(self.child.wait, 30)
        self.exit()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the palette offers besides Textual's own: the screen's keys, by their names."""
        yield from super().get_system_commands(screen)
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.description and binding.action not in ("command_palette", "app.command_palette"):
                yield SystemCommand(
                    binding.description,
                    f"key {self.get_key_display(binding)}",
                    lambda action=binding.action, node=active.node: self._run_from_palette(action, node),
                )

    def _run_from_palette(self, action: str, node: object) -> None:
        from textual.dom import DOMNode  # deferred: only for the palette

        if isinstance(node, DOMNode):
            self.run_worker(self.run_action(action, node))


def _name(draft: Draft) -> str:
    """The name that the run goes by: the topology's own."""
    tree = read(draft.text, draft.path)
    node = tree.values.get("name") if isinstance(tree, MappingNode) else None
    return str(getattr(node, "value", "") or "topology")
