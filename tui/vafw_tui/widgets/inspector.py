"""The form of what is selected: a row for each field, its refusal below it, help for the field one is in."""

from __future__ import annotations

import asyncio
from typing import final

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Label, Select, Static

from vafw_tui.form import Field, Form, Sort
from vafw_tui.marks import mark
from vafw_tui.messages import FieldFilled
from vafw_tui.scene import Kind
from vafw_tui.widgets.tick import Tick


@final
class FieldRow(Vertical):
    """One field."""

    def __init__(self, field: Field) -> None:
        super().__init__(classes=f"-{field.sort.value}")
        self.field = field
        self._input = self._made()
        self._refusal = Static(classes="refusal")

    def compose(self) -> ComposeResult:
        """Label, input, and the line for a refusal."""
        with Horizontal():
            yield Label(self.field.label, classes="-required" if self.field.required else "")
            yield self._input
        yield self._refusal

    def show(self, field: Field) -> None:
        """Another text for the same field, unless a person is typing it just now."""
        self.field = field
        with self.prevent(Input.Changed, Select.Changed, Checkbox.Changed):
            match self._input:
                case Input() as box if box.value.strip() != field.text and not self._still_means_it(box.value):
                    box.value = field.text
                    self._refuse("")
                case Select() as choice:
                    choice.set_options(_options(field))
                    choice.value = field.text or Select.NULL
                case Checkbox() as switch:
                    switch.value = (field.text or field.default) == "true"
                case Static() as fixed:
                    fixed.update(Content(field.text))

    def _made(self) -> Widget:
        field = self.field
        match field.sort:
            case Sort.FIXED:
                return Static(Content(field.text), classes="fixed")
            case Sort.SWITCH:
                return Tick("", (field.text or field.default) == "true")
            case Sort.CHOICE:
                prompt = f"{field.default} (default)" if field.default else "choose"
                return Select(
                    _options(field),
                    prompt=prompt,
                    allow_blank=True,
                    value=field.text or Select.NULL,
                    compact=True,
                )
        return Input(field.text, placeholder=f"{field.default} (default)" if field.default else "", compact=True)

    def _still_means_it(self, typed: str) -> bool:
        """Whether what a person typed is another way to write what the document says."""
        try:
            return self._input.has_focus and self.field.value(typed) == self.field.value(self.field.text)
        except ValueError:
            return self._input.has_focus

    @on(Input.Changed)
    @on(Select.Changed)
    @on(Checkbox.Changed)
    def _filled(self, event: Input.Changed | Select.Changed | Checkbox.Changed) -> None:
        event.stop()
        raw = event.value
        text = "" if raw is Select.NULL else str(raw).lower() if isinstance(raw, bool) else str(raw)
        if text.strip() == self.field.text:  # as it was: a widget tells its first value too
            self._refuse("")
            return
        try:
            value = self.field.value(text)
        except ValueError as refusal:
            self._refuse(f"{self.field.label} {refusal}")
            return
        self._refuse("")
        self.post_message(FieldFilled(self.field, value))

    def _refuse(self, sentence: str) -> None:
        self._refusal.update(Content(f"{mark('error').symbol} {sentence}" if sentence else ""))
        self.set_class(bool(sentence), "-refused")


def _options(field: Field) -> list[tuple[str, str]]:
    """What there is to choose from, and what the document says, however wrong."""
    known = dict.fromkeys((*field.choices, *([field.text] if field.text else ())))
    return [(each, each) for each in known]


@final
class Inspector(Vertical):
    """The form; tells `FieldFilled`. Forms are shown one after the other: rows take a moment to come and go."""

    def __init__(self, form: Form, *, id: str) -> None:
        super().__init__(id=id)
        self.form = form
        self._rows = VerticalScroll(can_focus=False)
        self._help = Static(classes="help")
        self._showing = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """The rows, and the help below them."""
        yield self._rows
        yield self._help

    async def on_mount(self) -> None:
        """Fill in the first form."""
        async with self._showing:
            await self._rebuild()

    async def show(self, form: Form) -> None:
        """Another form, or other values in the same one."""
        async with self._showing:
            await self._show(form)

    def _is_renamed(self, form: Form) -> bool:
        """A link is known by its place among the others: its name is one of its fields."""
        return self.form.thing.kind is form.thing.kind is Kind.LINK and all(each.place for each in form.fields)

    async def _show(self, form: Form) -> None:
        same = [each.place for each in self.form.fields] == [each.place for each in form.fields]
        same = same and (self.form.thing == form.thing or self._is_renamed(form))
        self.form = form
        if not same:
            await self._rebuild()
            return
        for row, field in zip(self.query(FieldRow), form.fields, strict=True):
            row.show(field)

    def focus_first(self) -> None:
        """Go to the first field that can be filled in."""
        for row in self.query(FieldRow):
            if row.field.sort is not Sort.FIXED:
                row.query("Input, Select, Checkbox").first().focus()
                return

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Say what the field is for."""
        row = next((each for each in event.widget.ancestors if isinstance(each, FieldRow)), None)
        if row is not None:
            self._help.update(Content(row.field.help))

    async def _rebuild(self) -> None:
        self.border_title = str(self.form.thing)
        self._help.update(Content(self.form.about))
        async with self.batch():
            await self._rows.remove_children()
            await self._rows.mount_all(FieldRow(each) for each in self.form.fields)
