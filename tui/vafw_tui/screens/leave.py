"""Before leaving: what is not saved, and what would go on running."""

from __future__ import annotations

from typing import ClassVar, final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from vafw_tui.draft import Draft


@final
class Leave(ModalScreen[str]):
    """Ends with ``leave``, ``stop`` (stop the run, then leave) or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss('')", "stay")]

    def __init__(self, draft: Draft, running: str) -> None:
        super().__init__()
        self._draft = draft
        self._run = running

    def compose(self) -> ComposeResult:
        """What is at stake, and the decision."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Leave?"
            if not self._draft.is_saved:
                yield Static(f"{self._draft.path.name} is not saved: what you edited would be lost.")
            if self._run:
                yield Static(f"{self._run} runs on when you leave; `vafw down {self._run}` stops it then.")
            with Horizontal(classes="buttons"):
                if self._run:
                    yield Button("Stop it and leave", id="stop", compact=True)
                yield Button("Leave", id="leave", variant="warning", compact=True)
                yield Button("Stay", id="stay", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Staying is the default."""
        self.query_one("#stay").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        answer = str(event.button.id)
        self.dismiss("" if answer == "stay" else answer)
