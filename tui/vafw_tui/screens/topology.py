"""The home screen: the topology as picture, text and form of one document, and what is wrong with it.

All three show the draft's text and send what a person does to it as operations; after each, everything is drawn anew
from the text. So there is one history, and no part can show what another does not know. The checks run in a thread, for
proofs over a large policy take longer than a keystroke may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast, final

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Footer, Input
from textual.worker import get_current_worker

from vafw.document.diagnostic import Diagnostic, Severity
from vafw.document.source import Unreadable, read_source
from vafw.document.tree import Tree, descend
from vafw.errors import VafwError
from vafw_tui.drawing import Overlay
from vafw_tui.edit import Assign, InsertAppliance, MoveInPath, Operation, RemoveAppliance, SetField, free_name
from vafw_tui.form import form
from vafw_tui.judgement import Surroundings, judge, place_at, read, surroundings
from vafw_tui.marks import mark
from vafw_tui.messages import FieldFilled, LineReached, ProblemChosen, TextTyped, ThingOpened, ThingSelected
from vafw_tui.overlay import counters, states
from vafw_tui.round_trip import Place, plain
from vafw_tui.scene import Kind, Scene, Thing, place, scene, thing_at
from vafw_tui.screens.choice import Choice, Offer
from vafw_tui.screens.save import Save
from vafw_tui.widgets.bars import CommandLine, TitleBar
from vafw_tui.widgets.graph import TopologyGraph
from vafw_tui.widgets.inspector import Inspector
from vafw_tui.widgets.problems import Problems
from vafw_tui.widgets.yaml_pane import YamlPane

if TYPE_CHECKING:
    from vafw_tui.app import VafwApp

NO_VM = "no VM"


@final
class TopologyScreen(Screen[None]):
    """See the module's docstring."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "insert", "add"),
        Binding("x,delete", "remove", "remove"),
        Binding("d", "assign", "device"),
        Binding("e", "edit_text", "edit"),
        Binding("v", "turn", "form"),
        Binding("ctrl+s", "save", "save", priority=True),
        Binding("ctrl+z", "undo", "undo", priority=True),
        Binding("ctrl+y,ctrl+r", "redo", "redo", show=False, priority=True),
        Binding("J", "move_hop(1)", "nearer to the user", show=False),
        Binding("K", "move_hop(-1)", "nearer to the wire", show=False),
        Binding("n", "problem(1)", "next problem", show=False),
        Binding("N", "problem(-1)", "previous problem", show=False),
        Binding("escape", "home", "back"),
        Binding("2", "app.switch_mode('run')", "run"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._tree: Tree | None = None
        self._document: Any = {}
        self._around = Surroundings()
        self._machine_file = ""
        self._scene: Scene = scene({}, {})
        self._problems: tuple[Diagnostic, ...] = ()
        self._foreign: Diagnostic | None = None

    @property
    def _app(self) -> VafwApp:
        return cast("VafwApp", self.app)

    def compose(self) -> ComposeResult:
        """Title, picture, form, text, problems, command, keys."""
        self._read()
        thing = next(self._scene.things())
        yield TitleBar(id="title")
        with Horizontal(id="body"):
            yield TopologyGraph(self._scene, id="graph")
            yield Inspector(form(thing, self._document, self._scene, self._around), id="inspector")
            yield YamlPane(self._app.draft.text, self._app.draft.path.name, id="yaml")
        yield Problems(id="problems")
        yield CommandLine(id="command")
        yield Footer(show_command_palette=False, compact=True)

    async def on_mount(self) -> None:
        """Draw, judge, and follow the run."""
        self.query_one(TopologyGraph).focus()
        self.watch(self.app, "looked", self._run_moved, init=False)
        await self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is a way back only where one is not there already."""
        return action != "home" or not self.query_one(TopologyGraph).has_focus

    # What a person does

    @on(ThingSelected)
    async def _selected(self, event: ThingSelected) -> None:
        self._foreign = None
        await self._show_form(event.thing)
        self._show_place(event.thing)
        self._show_command()

    @on(ThingOpened)
    async def _opened(self, event: ThingOpened) -> None:
        self.add_class("-form")
        self.query_one(Inspector).focus_first()

    @on(FieldFilled)
    async def _filled(self, event: FieldFilled) -> None:
        await self._do(SetField(event.field.place, event.value), grows=f"field {event.field.place}")

    @on(TextTyped)
    async def _typed(self, event: TextTyped) -> None:
        if self._app.draft.write(event.text, f"edit line {event.line}", grows=f"line {event.line}"):
            await self._show()

    @on(LineReached)
    async def _line_reached(self, event: LineReached) -> None:
        if self._foreign is None and (thing := thing_at(place_at(self._tree, event.line), self._scene)) is not None:
            self.query_one(TopologyGraph).select(thing)
            await self._show_form(thing)

    @on(ProblemChosen)
    async def _problem_chosen(self, event: ProblemChosen) -> None:
        await self._go_to(event.problem)

    @on(Input.Submitted)
    def action_home(self) -> None:
        """Back to the picture."""
        self._app.draft.settle()
        self.query_one(TopologyGraph).focus()

    @work
    async def action_insert(self) -> None:
        """Ask for an appliance and put it into the path where the selection is."""
        offers = [
            Offer(name, manifest.summary)
            for name, manifest in self._around.appliances.items()
            if manifest.role == "appliance"
        ]
        position = self._scene.insert_position(self._selection)
        between = [self._scene.wire, *(each.name for each in self._scene.hops)]
        where = " and ".join(between[max(position - 1, 0) : position + 1])
        use = await self.app.push_screen_wait(Choice(f"Add an appliance between {where}", offers))
        if use:
            names = [each.name for each in (*self._scene.hops, *self._scene.beside)]
            name = free_name(use, names)
            await self._do(InsertAppliance(name, use, position))
            await self._select(Thing(Kind.VM, name))

    async def action_remove(self) -> None:
        """Take the selected appliance out of the topology, or the selected device away from its VM."""
        thing = self._selection
        if thing.kind is Kind.DEVICE and self._scene.owner(thing.name):
            await self._do(Assign(thing.name))
        elif thing.kind is Kind.VM and self._scene.hops[-1:] != (self._scene.vm(thing.name),):
            await self._do(RemoveAppliance(thing.name))
        else:
            self.notify("Select an appliance, or a device that a VM has.", severity="warning")

    @work
    async def action_assign(self) -> None:
        """Ask which device the selected VM gets, or which VM gets the selected device."""
        thing = self._selection
        if thing.kind is Kind.DEVICE:
            vms = [Offer(each.name, each.image) for each in (*self._scene.hops, *self._scene.beside)]
            owner = await self.app.push_screen_wait(
                Choice(f"Assign {thing.name} to", [*vms, Offer(NO_VM, "nobody has it")])
            )
            if owner:
                await self._do(Assign(thing.name, "" if owner == NO_VM else owner))
        elif thing.kind is Kind.VM:
            offers = [
                Offer(name, f"{caption}, {self._scene.owner(name) or NO_VM} has it")
                for name, caption in self._captions().items()
            ]
            device = await self.app.push_screen_wait(Choice(f"Assign to {thing.name}", offers))
            if device:
                await self._do(Assign(device, thing.name))
        else:
            self.notify("Select a VM or a device.", severity="warning")

    async def action_move_hop(self, by: int) -> None:
        """Move the selected appliance along the path."""
        names = [each.name for each in self._scene.hops]
        at = names.index(self._selection.name) + by if self._selection.name in names[:-1] else -1
        if self._selection.kind is Kind.VM and 0 <= at < len(names) - 1:
            await self._do(MoveInPath(self._selection.name, at + 1))

    def action_edit_text(self) -> None:
        """Let the person type into the YAML."""
        pane = self.query_one(YamlPane)
        if self._foreign is not None:
            self._foreign = None
            self._show_place(self._selection)
        self.remove_class("-form")
        pane.let_type(True)
        pane.focus()

    def action_turn(self) -> None:
        """Where there is room for one of them only: show the form instead of the text, or the text."""
        self.toggle_class("-form")

    async def action_problem(self, by: int) -> None:
        """Choose the next problem and go to its place."""
        self.query_one(Problems).choose_next(by)

    async def action_undo(self) -> None:
        """One intent back."""
        what = self._app.draft.undoes
        await self._moved(self._app.draft.undo(), f"undid: {what}", "nothing to undo")

    async def action_redo(self) -> None:
        """One intent forward."""
        what = self._app.draft.redoes
        await self._moved(self._app.draft.redo(), f"did again: {what}", "nothing to redo")

    @work
    async def action_save(self) -> None:
        """Show what would change in the file, and write it."""
        draft = self._app.draft
        if draft.is_saved:
            self.notify(f"{draft.path.name} is saved.")
            return
        errors = sum(each.severity is Severity.ERROR for each in self._problems)
        if await self.app.push_screen_wait(Save(draft, errors)):
            try:
                draft.save()
            except (VafwError, OSError) as error:
                self.notify(str(error), severity="error", timeout=10)
            self._show_title()

    # What is shown

    async def _do(self, operation: Operation, grows: str = "") -> None:
        try:
            changed = self._app.draft.apply(operation, grows)
        except VafwError as refused:
            self.notify(f"{refused.message}: {refused.hint}", title="Not done", severity="error", timeout=8)
            return
        if changed:
            await self._show()

    async def _moved(self, moved: bool, done: str, nothing: str) -> None:
        self.notify(done if moved else nothing, timeout=2)
        if moved:
            await self._show()

    async def _show(self) -> None:
        """Everything anew from the text."""
        was_at = place(self._selection, self._document)
        self._read()
        if was_at[:1] == ("links",) and (renamed := thing_at(was_at, self._scene)) is not None:
            self.query_one(TopologyGraph).follow(renamed)
        self._foreign = None
        self._draw()
        self.query_one(YamlPane).show(self._app.draft.text, self._app.draft.path.name)
        await self._show_form(self._selection)
        if not self.query_one(YamlPane).has_focus:
            self._show_place(self._selection)
        self._show_title()
        self._show_command()
        self._judge(self._app.draft.text)

    def _read(self) -> None:
        """The text as data, for picture and form; what was last to be read where it is not YAML just now."""
        draft = self._app.draft
        tree = read(draft.text, draft.path)
        if tree is None:
            return
        self._tree, self._document = tree, plain(tree)
        machine = str(self._document.get("machine", "")) if isinstance(self._document, dict) else ""
        if machine != self._machine_file or not self._around.appliances:
            self._machine_file = machine
            self._around = surroundings(draft.path.parent, machine)
        self._scene = scene(self._document, self._around.devices)

    @work(thread=True, exclusive=True, group="judge")
    def _judge(self, text: str) -> None:
        found = judge(text, self._app.draft.path)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._judged, found)

    def _judged(self, found: tuple[Diagnostic, ...]) -> None:
        self._problems = found
        self.query_one(Problems).show(found)
        self._draw()
        self._show_title()

    def _run_moved(self) -> None:
        self._draw()
        self._show_title()

    def _draw(self) -> None:
        look = self._app.looked
        blamed: dict[Thing, int] = {}
        for each in self._problems:
            if each.span.source.path == self._app.draft.path:
                thing = thing_at(place_at(self._tree, each.span.line), self._scene)
                if thing is not None:
                    blamed[thing] = blamed.get(thing, 0) + 1
        overlay = Overlay(states(look), counters(look), self._captions(), blamed, self._around.machine)
        self.query_one(TopologyGraph).show(self._scene, overlay)

    def _captions(self) -> dict[str, str]:
        return {name: f"{each.address} {each.class_}" for name, each in self._around.devices.items()}

    @property
    def _selection(self) -> Thing:
        return self.query_one(TopologyGraph).selected

    async def _select(self, thing: Thing) -> None:
        self.query_one(TopologyGraph).select(thing)
        await self._show_form(thing)
        self._show_place(thing)

    async def _show_form(self, thing: Thing) -> None:
        await self.query_one(Inspector).show(form(thing, self._document, self._scene, self._around))

    def _show_place(self, thing: Thing) -> None:
        """The text's cursor at what is selected."""
        pane, draft = self.query_one(YamlPane), self._app.draft
        pane.show(draft.text, draft.path.name)
        if self._tree is not None:
            pane.go_to(self._line_of(self._tree, place(thing, self._document)))

    def _line_of(self, tree: Tree, where: Place) -> int:
        from vafw.document.shape import key_span  # deferred: kept out of the first frame

        key = key_span(tree, where) if where else None
        return key.line if key else [*descend(tree, where)][-1].span.line if where else 1

    async def _go_to(self, problem: Diagnostic) -> None:
        """The place of a problem, in whichever file it is; a part of the picture where it is about one."""
        span, pane, draft = problem.span, self.query_one(YamlPane), self._app.draft
        self.remove_class("-form")
        if span.source.path == draft.path:
            self._foreign = None
            pane.show(draft.text, draft.path.name)
            if (thing := thing_at(place_at(self._tree, span.line), self._scene)) is not None:
                self.query_one(TopologyGraph).select(thing)
                await self._show_form(thing)
        else:
            try:
                text = span.source.text or read_source(span.source.path).text
            except Unreadable as error:
                self.notify(str(error), severity="error")
                return
            self._foreign = problem
            pane.let_type(False)
            pane.show(text, str(span.source.path.name))
        pane.go_to(span.line, span.column)
        self._app.show_command(self, f"vafw explain {problem.code}")

    def _show_title(self) -> None:
        draft, look = self._app.draft, self._app.looked
        errors = len(self._problems)
        facts = [
            mark("same", "saved") if draft.is_saved else mark("warning", "not saved"),
            mark("error", f"{errors} problem{'s' * (errors != 1)}") if errors else mark("done", "no problems"),
            mark(look.phase, "not running" if look.phase == "none" else look.phase),
        ]
        self.query_one(TitleBar).show(f"{self._scene.name} · {draft.path.name}", facts)

    def _show_command(self) -> None:
        self._app.show_command(self, f"vafw check {self._app.given}")
