"""Everything that `vafw check` finds wrong with the text as it stands, each a way to its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from vafw.document.characters import visible
from vafw.document.diagnostic import Diagnostic
from vafw_tui.marks import mark
from vafw_tui.messages import ProblemChosen


@final
class Problems(OptionList):
    """The list; tells `ProblemChosen`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, compact=True)
        self.problems: tuple[Diagnostic, ...] = ()

    def show(self, problems: Sequence[Diagnostic]) -> None:
        """Other problems; none is good news, and said."""
        if tuple(map(_said, problems)) == tuple(map(_said, self.problems)) and self.option_count:
            self.problems = tuple(problems)
            return
        self.problems = tuple(problems)
        kept = self.highlighted
        self.clear_options()
        self.add_options(Option(_content(each)) for each in problems)
        self.set_class(not problems, "-none")
        count = len(problems)
        self.border_title = f"{mark('error').symbol} {count} problem{'s' * (count != 1)}" if count else ""
        if not problems:
            good = mark("done")
            self.add_option(Option(Content.assemble((f"{good.symbol} no problems", good.style)), disabled=True))
        elif kept is not None:
            self.highlighted = min(kept, count - 1)

    def choose_next(self, by: int) -> None:
        """Choose the next problem, round the end."""
        if self.problems:
            at = -1 if self.highlighted is None and by > 0 else self.highlighted or 0
            self.highlighted = (at + by) % len(self.problems)
            self.post_message(ProblemChosen(self.problems[self.highlighted]))

    @property
    def chosen(self) -> Diagnostic | None:
        """The problem that is highlighted."""
        at = self.highlighted
        return self.problems[at] if at is not None and at < len(self.problems) else None

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_index < len(self.problems):
            self.post_message(ProblemChosen(self.problems[event.option_index]))


def _said(problem: Diagnostic) -> tuple[str, str, str]:
    return problem.code, problem.message, f"{problem.span}"


def _content(problem: Diagnostic) -> Content:
    state = mark(problem.severity.value)
    place = f"{problem.span.source.path.name}:{problem.span.line}:{problem.span.column}"
    said: list[tuple[str, str]] = [
        (f"{state.symbol} {problem.code} ", f"bold {state.style}"),
        (f"{place} ", "$foreground-muted"),
        (visible(problem.message), ""),
    ]
    said += ((f"\n    {visible(note)}", "$foreground-muted") for note in problem.notes)
    if problem.hint:
        said.append((f"\n    hint: {visible(problem.hint)}", "$text-success"))
    return Content.assemble(*said)
