"""The keys of a screen, from the same table that they act by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final, final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

_NOT_SHOWN: Final = ("scroll", "focus", "copy_text", "copy_selected_text", "page", "cursor", "select", "delete")


@final
class Help(ModalScreen[None]):
    """Every key that does something where one is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "close"),
        Binding("j,down", "down", show=False),
        Binding("k,up", "up", show=False),
    ]

    def __init__(self, of: Screen[object]) -> None:
        super().__init__()
        self._of = of

    def compose(self) -> ComposeResult:
        """One line for each."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Keys"
            dialog.border_subtitle = "Esc closes; : finds anything by its name"
            with VerticalScroll():
                yield Static(Content("\n").join(self._lines()))

    def action_down(self) -> None:
        """Further down."""
        self.query_one(VerticalScroll).scroll_down(animate=False)

    def action_up(self) -> None:
        """Back up."""
        self.query_one(VerticalScroll).scroll_up(animate=False)

    def _lines(self) -> Iterator[Content]:
        keys: dict[str, list[str]] = {}
        for active in self._of.active_bindings.values():
            binding = active.binding
            action = binding.action.rpartition(".")[2]
            if binding.description and not action.startswith(_NOT_SHOWN):
                keys.setdefault(binding.description, []).append(self.app.get_key_display(binding))
        for what, names in keys.items():
            yield Content.assemble((f"{' '.join(names):>16}", "bold $text-accent"), (f"  {what}", ""))
