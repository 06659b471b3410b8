"""The document's text, coloured, with the cursor at what is selected; read-only until a person wants to edit.

Its history is the draft's, not the editor's own: undo and redo go to the screen.
"""

from __future__ import annotations

from typing import ClassVar, final

from textual import on
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from vafw_tui.messages import LineReached, TextTyped


@final
class YamlPane(TextArea):
    """An editor of one YAML text; tells `TextTyped` and `LineReached`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "done", show=True),
        Binding("j", "cursor_down_if_reading", show=False),
        Binding("k", "cursor_up_if_reading", show=False),
    ]

    def __init__(self, text: str, name: str, *, id: str) -> None:
        super().__init__(
            text,
            language="yaml",
            read_only=True,
            show_line_numbers=True,
            soft_wrap=False,
            tab_behavior="focus",
            compact=True,
            id=id,
        )
        self._file = name
        self._titled()

    def show(self, text: str, name: str) -> None:
        """Another text, in place; the cursor stays on its line."""
        if text != self.text:
            with self.prevent(TextArea.Changed, TextArea.SelectionChanged):
                cursor = self.cursor_location
                self.load_text(text)
                self.move_cursor((min(cursor[0], self.document.line_count - 1), 0))
        self._file = name
        self._titled()

    def go_to(self, line: int, column: int = 1) -> None:
        """Put the cursor at a place (from 1) and show it."""
        with self.prevent(TextArea.SelectionChanged):
            at = min(line - 1, self.document.line_count - 1)
            self.move_cursor((max(at, 0), column - 1), center=True)

    def let_type(self, editable: bool) -> None:
        """Let a person type, or no longer."""
        self.read_only = not editable
        self._titled()

    def action_leave(self) -> None:
        """Stop editing and go back to the picture."""
        self.let_type(False)
        self.screen.query_one("#graph").focus()

    def action_undo(self) -> None:
        """The draft's business."""
        self.screen.call_after_refresh(self.screen.run_action, "undo")

    def action_redo(self) -> None:
        """The draft's business."""
        self.screen.call_after_refresh(self.screen.run_action, "redo")

    @on(TextArea.Changed)
    def _typed(self, event: TextArea.Changed) -> None:
        event.stop()
        self.post_message(TextTyped(self.text, self.cursor_location[0] + 1))

    @on(TextArea.SelectionChanged)
    def _moved(self, event: TextArea.SelectionChanged) -> None:
        event.stop()
        if self.has_focus:
            self.post_message(LineReached(self.cursor_location[0] + 1))

    def _titled(self) -> None:
        self.border_title = self._file
        self.border_subtitle = "e edits" if self.read_only else "editing, Esc ends"
