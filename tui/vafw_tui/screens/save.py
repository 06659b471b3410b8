"""What saving would change, before it does."""

from __future__ import annotations

from typing import ClassVar, final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from vafw_tui.draft import Draft

_STYLES = {"+": "$text-success", "-": "$text-error", "@": "$text-accent"}


@final
class Save(ModalScreen[bool]):
    """Ends with whether to write."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(False)", "cancel"),
        Binding("y", "dismiss(True)", "save", show=False),
        Binding("ctrl+s", "dismiss(True)", "save", show=False, priority=True),
    ]

    def __init__(self, draft: Draft, errors: int) -> None:
        super().__init__()
        self._draft = draft
        self._errors = errors

    def compose(self) -> ComposeResult:
        """The diff and the decision."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = f"Save {self._draft.path.name}"
            lines = self._draft.difference().splitlines()[2:]
            with VerticalScroll():
                yield Static(Content("\n").join(Content.assemble((each, _STYLES.get(each[:1], ""))) for each in lines))
            if self._errors:
                yield Static(
                    f"It has {self._errors} problem{'s' * (self._errors != 1)}: "
                    "`vafw up` will refuse it until they are mended.",
                    classes="warning",
                )
            with Horizontal(classes="buttons"):
                yield Button("Save", id="yes", variant="primary", compact=True)
                yield Button("Cancel", id="no", compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")
