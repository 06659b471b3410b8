"""A list to choose from, with a filter above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing to choose."""

    name: str
    about: str


@final
class Choice(ModalScreen[str]):
    """Ends with the name that was chosen; empty where none was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss('')", "cancel"),
        Binding("slash", "filter", "filter", show=False),
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]

    def __init__(self, question: str, offers: Sequence[Offer]) -> None:
        super().__init__()
        self._question = question
        self._offers = offers

    def compose(self) -> ComposeResult:
        """The filter and the list."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = self._question
            dialog.border_subtitle = "Enter chooses, / filters, Esc cancels"
            yield Input(placeholder="filter", compact=True)
            yield OptionList(compact=True)

    def on_mount(self) -> None:
        """Show everything."""
        self._list("")
        self.query_one(OptionList).focus()

    def action_filter(self) -> None:
        """Go to the filter."""
        self.query_one(Input).focus()

    def action_down(self) -> None:
        """The next one."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """The one before."""
        self.query_one(OptionList).action_cursor_up()

    @on(Input.Changed)
    def _filtered(self, event: Input.Changed) -> None:
        self._list(event.value)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.query_one(OptionList).action_select()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(str(event.option.id))

    def _list(self, wanted: str) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        words = wanted.lower().split()
        for offer in self._offers:
            if all(word in f"{offer.name} {offer.about}".lower() for word in words):
                said = Content.assemble((offer.name, "bold"), (f"  {offer.about}", "$foreground-muted"))
                options.add_option(Option(said, id=offer.name))
        options.action_first()
