"""A box to tick whose mark is there or not; Textual's own shows it always and tells the two by colour alone."""

from __future__ import annotations

from typing import final

from textual.widgets import Checkbox


@final
class Tick(Checkbox):
    """A checkbox that is empty where it is not ticked."""

    def __init__(self, label: str, value: bool = False, *, id: str | None = None) -> None:
        super().__init__(label, value, compact=True, id=id)
        self.BUTTON_INNER = "X" if value else " "

    def watch_value(self) -> None:
        """Show the mark, or none."""
        self.BUTTON_INNER = "X" if self.value else " "
        super().watch_value()
