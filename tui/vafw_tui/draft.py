"""The document being edited: its text, its history, and how it goes back into its file.

The text is the one truth; forms, graph and editor all show it. The history is a row of texts and an index: undo and
redo move the index, an edit cuts off what lay ahead, saving leaves the row alone. One entry is one intent: keystrokes
into one field or one line grow the entry that they began.

The hard part is saving: nothing is written where nothing was changed, line ends stay those of the file, and a file that
somebody else has changed meanwhile is not overwritten.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from vafw.document.source import read_source
from vafw.errors import VafwError
from vafw_tui.edit import Operation
from vafw_tui.round_trip import rewrite

MOST_ENTRIES: Final = 1000
"""How many steps back there are; the oldest go first."""


class ChangedOnDisk(VafwError):
    """The file is no longer what was read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The text after one intent."""

    text: str
    sentence: str
    """What was done, such as ``insert ids``."""
    grows: str = ""
    """While this is the last entry: the next change with the same word continues it."""


@final
class Draft:
    """One document between its file and the person who edits it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._on_disk = text
        self._newline = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
        self._history = [Entry(_with_plain_ends(text), "open")]
        self._at = 0

    @classmethod
    def open(cls, path: Path) -> Draft:
        """The draft of a file; Unreadable where it cannot be had."""
        return cls(path, read_source(path).text)

    @property
    def text(self) -> str:
        """The text as it stands now, with plain line ends."""
        return self._history[self._at].text

    @property
    def is_saved(self) -> bool:
        """Whether the file says what the text says."""
        return self.text == _with_plain_ends(self._on_disk)

    @property
    def undoes(self) -> str:
        """What `undo` would take back; empty where there is nothing."""
        return self._history[self._at].sentence if self._at else ""

    @property
    def redoes(self) -> str:
        """What `redo` would do again; empty where there is nothing."""
        return self._history[self._at + 1].sentence if self._at + 1 < len(self._history) else ""

    def apply(self, operation: Operation, grows: str = "") -> bool:
        """Carry out an operation; EditRefused leaves everything as it was. False where it changes nothing."""
        return self.write(rewrite(self.text, operation.change, operation.dropped), operation.sentence, grows)

    def write(self, text: str, sentence: str, grows: str = "") -> bool:
        """Replace the text, as an editor does; False where it is the same."""
        text = _with_plain_ends(text)
        if text == self.text:
            return False
        entry = Entry(text, sentence, grows)
        del self._history[self._at + 1 :]
        if grows and self._history[-1].grows == grows and self._at:
            self._history[-1] = entry
        else:
            self._history.append(entry)
            del self._history[: len(self._history) - MOST_ENTRIES]
        self._at = len(self._history) - 1
        return True

    def settle(self) -> None:
        """End the entry that is growing: what comes next is another intent."""
        last = self._history[self._at]
        self._history[self._at] = Entry(last.text, last.sentence)

    def undo(self) -> bool:
        """One intent back; False where there is none."""
        self.settle()
        self._at -= (moved := self._at > 0)
        return moved

    def redo(self) -> bool:
        """One intent forward; False where there is none."""
        self._at += (moved := self._at + 1 < len(self._history))
        return moved

    def difference(self) -> str:
        """What saving would change, as a unified diff; empty where nothing."""
        name = self.path.name
        old, new = _with_plain_ends(self._on_disk).splitlines(), self.text.splitlines()
        return "\n".join(difflib.unified_diff(old, new, name, f"{name} (edited)", lineterm=""))

    def save(self) -> None:
        """Write the text into the file, in one step; ChangedOnDisk where somebody else wrote there meanwhile."""
        if self.is_saved:
            return
        if self.path.exists() and read_source(self.path).text != self._on_disk:
            raise ChangedOnDisk(
                f"{self.path} must be as it was read, and it was changed meanwhile",
                hint="copy your edit, then open the topology again",
            )
        text = self.text.replace("\n", self._newline)
        _replace(self.path.resolve(), text.encode())
        self._on_disk = text
        self.settle()


def _with_plain_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _replace(path: Path, data: bytes) -> None:
    """Put `data` in the place of a file, with the mode it had; whoever reads sees the old or the new one, whole."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if path.exists():
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
