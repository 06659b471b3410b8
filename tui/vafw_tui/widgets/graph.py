"""The topology as a picture in which parts can be selected, by key and by mouse."""

from __future__ import annotations

from typing import ClassVar, final

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget

from vafw_tui.drawing import LEAST_WIDTH, Drawing, Overlay, draw
from vafw_tui.marks import speaks_unicode
from vafw_tui.messages import ThingOpened, ThingSelected
from vafw_tui.scene import Kind, Scene, Thing


class _Picture(Widget):
    """The lines themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.drawing = Drawing((), ())

    def render(self) -> Content:
        """The lines, with their styles."""
        return Content("\n").join(Content.assemble(*line) for line in self.drawing.lines)

    def get_content_height(self, *_: object) -> int:
        """A row for each line."""
        return len(self.drawing.lines)


@final
class TopologyGraph(VerticalScroll, can_focus=True):
    """The picture of a scene; tells `ThingSelected` and `ThingOpened`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "next", show=False),
        Binding("k,up", "move(-1)", "previous", show=False),
        Binding("l,right", "move_vm(1)", "next VM", show=False),
        Binding("h,left", "move_vm(-1)", "previous VM", show=False),
        Binding("g,home", "move(-999)", "first", show=False),
        Binding("G,end", "move(999)", "last", show=False),
        Binding("enter", "open", "open", show=False),
    ]

    def __init__(self, scene: Scene, *, id: str) -> None:
        super().__init__(id=id)
        self.scene = scene
        self.overlay = Overlay()
        self.selected = next(scene.things())
        self._picture = _Picture()

    def compose(self):  # type: ignore[no-untyped-def]  # Textual's ComposeResult is an iterator of widgets
        """The picture alone."""
        yield self._picture

    def show(self, scene: Scene, overlay: Overlay) -> None:
        """Draw another scene; what is selected stays selected while it exists."""
        self.scene, self.overlay = scene, overlay
        if self.selected not in set(scene.things()):
            self.selected = self._nearest(scene)
            self.post_message(ThingSelected(self.selected))
        self._draw()

    def select(self, thing: Thing) -> None:
        """Select a part without telling anybody."""
        if thing in set(self.scene.things()):
            self.selected = thing
            self._draw()
            self._reveal()

    def follow(self, thing: Thing) -> None:
        """What is selected has another name in the scene that is about to be shown."""
        self.selected = thing

    def on_resize(self) -> None:
        """Draw for the new width."""
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """Select what was clicked; open it on a double click."""
        row = int(event.screen_y - self._picture.region.y)
        if (thing := self._picture.drawing.thing_at(row)) is not None:
            self._choose(thing)
            if event.chain > 1:
                self.action_open()

    def action_move(self, by: int) -> None:
        """Select another part, downwards or upwards."""
        self._step(list(self.scene.things()), by)

    def action_move_vm(self, by: int) -> None:
        """Select another VM."""
        vms = [thing for thing in self.scene.things() if thing.kind is Kind.VM or thing == self.selected]
        self._step(vms, by)

    def action_open(self) -> None:
        """Edit what is selected."""
        self.post_message(ThingOpened(self.selected))

    def _step(self, things: list[Thing], by: int) -> None:
        at = things.index(self.selected) + by
        self._choose(things[max(0, min(at, len(things) - 1))])

    def _choose(self, thing: Thing) -> None:
        if thing != self.selected:
            self.select(thing)
            self.post_message(ThingSelected(thing))

    def _nearest(self, scene: Scene) -> Thing:
        """What to select where the selected part is gone: what lies where it lay."""
        before, after = list(self.scene.things()), list(scene.things())
        at = before.index(self.selected) if self.selected in before else 0
        return after[min(at, len(after) - 1)]

    def _draw(self) -> None:
        width = (self.scrollable_content_region.width or LEAST_WIDTH) - self._picture.gutter.width
        self._picture.drawing = draw(self.scene, self.overlay, self.selected, width, unicode=speaks_unicode())
        self._picture.refresh(layout=True)

    def _reveal(self) -> None:
        rows = self._picture.drawing.rows_of(self.selected)
        if rows:
            self.scroll_to_region(Region(0, max(0, rows.start - 1), 1, len(rows) + 2), animate=False)
