"""The run: boot timeline, the gate's decision, VMs, traffic, events. It follows whatever `up` holds the run directory.

A run that this UI did not start is only looked at until a person turns read-only off; so nobody stops a machine by a
key meant for something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, cast, final

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane, Tabs

from vafw_tui import report
from vafw_tui.child import Child
from vafw_tui.drawing import Line
from vafw_tui.marks import mark
from vafw_tui.report import Row
from vafw_tui.screens.start import Start
from vafw_tui.widgets.bars import CommandLine, TitleBar

if TYPE_CHECKING:
    from vafw_tui.app import VafwApp

_TABS = ("boot", "gate", "vms", "traffic", "events")
_HEADS = {
    "claims": ("tier", "claim", "reason", "event"),
    "desired": ("", "what", "desired", "reported"),
    "rules": ("outcome", "in", "rule", "packets", "bytes"),
    "happened": ("at", "event", "subject", "detail"),
    "flows": ("outcome", "rule", "", "from", "to", "packets", "bytes"),
}


@final
class RunScreen(Screen[None]):
    """See the module's docstring."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop", "stop"),
        Binding("t", "attest", "attest"),
        Binding("R", "read_only", "read-only"),
        Binding("l,right", "tab(1)", "next", show=False),
        Binding("h,left", "tab(-1)", "previous", show=False),
        Binding("j,down", "scroll(1)", "down", show=False),
        Binding("k,up", "scroll(-1)", "up", show=False),
        Binding("slash", "filter", "filter flows"),
        Binding("escape", "unfilter", show=False),
        Binding("1", "app.switch_mode('topology')", "topology"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.read_only = True

    @property
    def _app(self) -> VafwApp:
        return cast("VafwApp", self.app)

    def compose(self) -> ComposeResult:
        """Title, verdict, tabs, command, keys."""
        yield TitleBar(id="title")
        yield Static(id="verdict")
        with TabbedContent():
            with TabPane("Boot", id="boot"), VerticalScroll():
                yield Static(id="timeline")
            with TabPane("Gate", id="gate"):
                yield DataTable(id="claims", cursor_type="row", zebra_stripes=True)
            with TabPane("VMs", id="vms"), VerticalScroll():
                yield Static(id="machines")
                yield Static("desired against reported", classes="heading")
                yield DataTable(id="desired", cursor_type="none")
            with TabPane("Traffic", id="traffic"):
                yield Static(id="links")
                yield Static("rules", classes="heading")
                yield DataTable(id="rules", cursor_type="none")
                yield Input(placeholder="filter flows: / and words, such as tcp web 443", compact=True, id="filter")
                yield DataTable(id="flows", cursor_type="row", zebra_stripes=True)
            with TabPane("Events", id="events"):
                yield DataTable(id="happened", cursor_type="row", zebra_stripes=True)
        yield CommandLine(id="command")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Follow the run."""
        self.watch(self.app, "looked", self._show, init=False)
        self._show()
        self.query_one(Tabs).focus()

    # What a person does

    @work
    async def action_start(self) -> None:
        """Ask how, and start `vafw up` as a process of its own."""
        if self._app.looked.running:
            self.notify(f"{self._app.run_name} is running already.", severity="warning")
            return
        if not self._app.draft.is_saved:
            self.notify("Save first (ctrl+s on the topology): `vafw up` reads the file.", severity="warning")
            return
        options = await self.app.push_screen_wait(Start(self._app.given, self._app.draft.path.parent))
        if options is not None:
            self._app.child = Child([str(self._app.given), *options])
            self.read_only = False
            self.query_one(TabbedContent).active = "boot"
            await self._app.look()

    @work
    async def action_stop(self) -> None:
        """Stop the running topology, as `vafw down` does."""
        if self._may("stop it"):
            await self._app.ask("down")
            await self._app.look()

    @work
    async def action_attest(self) -> None:
        """Attest the running machine anew, as `vafw attest` does."""
        if self._may("attest it"):
            self._app.show_command(self, f"vafw attest {self._app.run_name}")
            await self._app.ask("attest")
            await self._app.look()

    def action_read_only(self) -> None:
        """Allow what changes the run, or no longer."""
        self.read_only = not self.read_only
        self._show()

    def action_tab(self, by: int) -> None:
        """The next tab."""
        tabs = self.query_one(TabbedContent)
        tabs.active = _TABS[(_TABS.index(tabs.active) + by) % len(_TABS)]

    def action_scroll(self, by: int) -> None:
        """Down or up in what the tab shows."""
        pane = self.query_one(TabbedContent).active_pane
        tables = pane.query("#claims, #flows, #happened") if pane is not None else None
        table = tables.first(DataTable) if tables else None
        if table is not None:
            table.move_cursor(row=table.cursor_row + by)
        elif pane is not None:
            pane.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_filter(self) -> None:
        """Go to the filter of the flows."""
        self.query_one(TabbedContent).active = "traffic"
        self.call_after_refresh(self.query_one("#filter", Input).focus)

    def action_unfilter(self) -> None:
        """Show every flow again."""
        self.query_one("#filter", Input).value = ""
        self.query_one(Tabs).focus()

    @on(Input.Changed, "#filter")
    def _filtered(self) -> None:
        self._table("flows", report.flows(self._app.looked.snapshot, self.query_one("#filter", Input).value))

    @on(Input.Submitted, "#filter")
    def _submitted(self) -> None:
        self.query_one("#flows").focus()

    @on(TabbedContent.TabActivated)
    def _turned(self) -> None:
        self._show_command()

    # What is shown

    def _may(self, what: str) -> bool:
        """Whether the run is there and may be changed; says so where not."""
        if not self._app.looked.running:
            self.notify(f"{self._app.run_name} is not running; u starts it.", severity="warning")
            return False
        if self.read_only:
            self.notify(f"This run is read-only here: R allows you to {what}.", severity="warning")
            return False
        return True

    def _show(self) -> None:
        look, app = self._app.looked, self._app
        snapshot = look.snapshot
        self._child_ended()
        self._show_verdict()
        self._lines("timeline", report.timeline(snapshot) or [(("nothing has started yet", "$foreground-muted"),)])
        self._lines("machines", report.machines(snapshot))
        self._lines("links", report.links(snapshot, app.traces))
        self._table("claims", report.claims(snapshot))
        self._table("desired", report.desired(look) if look.running else ())
        self._table("rules", report.rules(snapshot))
        self._table("flows", report.flows(snapshot, self.query_one("#filter", Input).value))
        self._table("happened", report.events(look))
        access = mark("stopped", "read-only") if self.read_only else mark("warning", "may be changed")
        word = "not running" if not look.running else look.phase
        state = mark(look.phase if look.running else "none", word)
        self.query_one(TitleBar).show(app.run_name, [state, *([access] if look.running else [])])
        self._show_command()

    @on(Resize)
    def _show_verdict(self) -> None:
        """What the gate decided, broken to the width that there is."""
        width = self.size.width - self.query_one("#verdict").styles.gutter.width
        self._lines("verdict", [*report.hanging(report.verdict(self._app.looked), width)])

    def _child_ended(self) -> None:
        """Say once how a run that was started here ended, where that was not well."""
        child = self._app.child
        if child is None or (ended := child.ended()) is None:
            return
        self._app.child = None
        self.read_only = True
        if ended.reason:
            title = f"vafw up ended with exit code {ended.code}"
            self.notify(ended.reason, title=title, severity="error", timeout=15)

    def _show_command(self) -> None:
        name = self._app.run_name
        commands: dict[str, Callable[[], str]] = {
            "boot": lambda: f"vafw status {name}",
            "gate": lambda: f"vafw attest {name}",
            "vms": lambda: f"vafw status {name} --json",
            "traffic": lambda: f"vafw status {name}",
            "events": lambda: f"vafw logs {name}",
        }
        active = self.query_one(TabbedContent).active
        if not self._app.looked.running:
            self._app.show_command(self, f"vafw up {self._app.given}")
        elif active in commands:
            self._app.show_command(self, commands[active]())

    def _lines(self, where: str, lines: Sequence[Line]) -> None:
        self.query_one(f"#{where}", Static).update(Content("\n").join(Content.assemble(*each) for each in lines))

    def _table(self, where: str, rows: Sequence[Row]) -> None:
        """Put other rows into a table, keeping where one is; it measures no styled text itself."""
        table = self.query_one(f"#{where}", DataTable)
        at, offset = table.cursor_row, table.scroll_offset
        table.clear(columns=True)
        cells = [[Content.styled(*each) if isinstance(each, tuple) else Content(each) for each in row] for row in rows]
        for number, head in enumerate(_HEADS[where]):
            table.add_column(head, width=max(len(head), *(row[number].cell_length for row in cells), 1))
        table.add_rows(cells)
        table.move_cursor(row=min(at, max(len(rows) - 1, 0)), scroll=False)
        table.scroll_to(*offset, animate=False)
        table.set_class(not rows, "-empty")
