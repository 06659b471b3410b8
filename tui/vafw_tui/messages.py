"""What the widgets tell their screen: always what a person did, never what to do about it."""

from __future__ import annotations

from typing import Any

from textual.message import Message

from vafw.document.diagnostic import Diagnostic
from vafw_tui.form import Field
from vafw_tui.scene import Thing


class ThingSelected(Message):
    """A part of the picture was selected."""

    def __init__(self, thing: Thing) -> None:
        super().__init__()
        self.thing = thing


class ThingOpened(ThingSelected):
    """A part of the picture is to be edited."""


class FieldFilled(Message):
    """A field of the form has a new value, which is right as far as the field itself can tell."""

    def __init__(self, field: Field, value: Any) -> None:
        super().__init__()
        self.field = field
        self.value = value


class TextTyped(Message):
    """The text in the editor was changed by a person."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__()
        self.text = text
        self.line = line


class LineReached(Message):
    """The editor's cursor was moved by a person."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


class ProblemChosen(Message):
    """A problem was chosen, to see its place."""

    def __init__(self, problem: Diagnostic) -> None:
        super().__init__()
        self.problem = problem
