"""How to start: what feeds the machine, and when it ends. The command that does the same is shown while one chooses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final, final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Label, Select, Static

from vafw_tui.widgets.tick import Tick

_SCRIPT: Final = re.compile(r"^kind:\s*traffic-script\b", re.MULTILINE)
_MOST_SCRIPT_BYTES: Final = 1 << 20
_MOST_FILES: Final = 50


def feeds(folder: Path) -> Iterator[tuple[str, Path]]:
    """Captures and traffic scripts in a topology's folder, each with the option that takes it."""
    captures = [*folder.glob("*.pcap*"), *folder.glob("*/*.pcap*")]
    yield from (("--pcap", each) for each in sorted(captures)[:_MOST_FILES] if each.is_file())
    for each in sorted(folder.glob("*.yaml"))[:_MOST_FILES]:
        if _is_script(each):
            yield "--script", each


def _is_script(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > _MOST_SCRIPT_BYTES:
        return False
    return _SCRIPT.search(path.read_text(encoding="utf-8", errors="replace")) is not None


@final
class Start(ModalScreen[list[str] | None]):
    """Ends with the options for `vafw up`, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "cancel"),
        Binding("ctrl+s", "start", "start", show=False),
    ]

    def __init__(self, given: Path, folder: Path) -> None:
        super().__init__()
        self._given = given
        self._feeds = {path.name: (option, path) for option, path in feeds(folder)}

    def compose(self) -> ComposeResult:
        """The choices, the command, the decision."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Bring it up on the model"
            with Horizontal(classes="row"):
                yield Label("traffic")
                names = [(name, name) for name in self._feeds]
                yield Select(names, prompt="none, it stays up", compact=True, id="feed")
            with Horizontal(classes="row"):
                yield Label("until idle")
                yield Tick("end when the traffic has ended", id="idle")
            with Horizontal(classes="row"):
                yield Label("tamper")
                yield Input(
                    placeholder="nothing; or vmm, appliance=firewall: see it refused", compact=True, id="tamper"
                )
            yield Static(id="preview")
            with Horizontal(classes="buttons"):
                yield Button("Start", id="yes", variant="primary", compact=True)
                yield Button("Cancel", id="no", compact=True)

    def on_mount(self) -> None:
        """Show the command."""
        self._changed()
        self.query_one("#yes").focus()

    def action_start(self) -> None:
        """Start as chosen."""
        self.dismiss(self._options())

    @on(Select.Changed)
    @on(Checkbox.Changed)
    @on(Input.Changed)
    def _changed(self) -> None:
        command = shlex.join(["vafw", "up", str(self._given), *self._options()])
        self.query_one("#preview", Static).update(f"$ {command}", layout=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(self._options() if event.button.id == "yes" else None)

    def _options(self) -> list[str]:
        chosen = self.query_one("#feed", Select).value
        options: list[str] = []
        if isinstance(chosen, str):
            option, path = self._feeds[chosen]
            options += [option, str(path)]
        if self.query_one("#idle", Checkbox).value:
            options.append("--until-idle")
        if tampered := self.query_one("#tamper", Input).value.strip():
            options += ["--tamper", tampered]
        return options
