"""What leaves the command line: one result on standard output (text or JSON), errors on standard error."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO, final

from vafw import __version__
from vafw.errors import ExitCode, VafwError
from vafw.trace import Value

if TYPE_CHECKING:
    import click

API: Final = "vafw/v1"
UNLIMITED: Final = 10_000
"""Columns of a stream that nobody looks at line by line: a pipe or a file."""


@final
@dataclass(frozen=True, slots=True)
class Output:
    """Where results and errors go, and in what form."""

    json: bool
    kind: str
    """The kind of the JSON document: the verb, capitalised."""

    @classmethod
    def for_arguments(cls, arguments: list[str]) -> Output:
        """Decide from the raw arguments, so that a usage error is JSON too where JSON was asked for."""
        verb = next((each for each in arguments if not each.startswith("-")), "vafw")
        return cls("--json" in arguments, verb.capitalize())

    def result(self, data: Value, code: ExitCode = ExitCode.DONE, diagnostics: Iterable[Value] = ()) -> int:
        """Print the JSON envelope where it was asked for; return the exit code."""
        if self.json:
            import json  # deferred: text needs none of it

            print(json.dumps(self.envelope(data, code, diagnostics), indent=1, ensure_ascii=False))
        return int(code)

    def envelope(self, data: Value, code: ExitCode, diagnostics: Iterable[Value] = ()) -> dict[str, Value]:
        """The one JSON document of a run."""
        return {
            "vafw": __version__,
            "kind": self.kind,
            "apiVersion": API,
            "exit": {"code": int(code), "class": code.exit_class},
            "data": data,
            "diagnostics": list(diagnostics),
        }

    def failure(self, error: VafwError) -> int:
        """Print an error as its kind is printed; return its exit code."""
        diagnostics = tuple(getattr(error, "diagnostics", ()))
        if self.json:
            found: list[Value] = [each.to_json() for each in diagnostics] or [_plain(error.message, error.hint)]
            return self.result(getattr(error, "data", None), error.exit_code, found)
        if diagnostics:
            from vafw.cli.diagnostics import print_diagnostics  # deferred: only invalid documents need it

            print_diagnostics(diagnostics)
        else:
            _say(error.message, error.hint)
        return int(error.exit_code)

    def usage(self, error: click.ClickException) -> int:
        """Print a usage error, with the form of a right command line."""
        message = error.format_message().rstrip(".")
        message = message[:1].lower() + message[1:]
        context = getattr(error, "ctx", None)
        hint = f"{context.command_path} --help" if context else None
        if self.json:
            return self.result(None, ExitCode.USAGE, [_plain(message, hint)])
        if context:
            print(context.get_usage().replace("Usage:", "usage:"), file=sys.stderr)
        _say(message, hint)
        return int(ExitCode.USAGE)

    def fault(self, error: Exception) -> int:
        """Print a fault of vafw itself, with its traceback."""
        import traceback  # deferred: a program without faults needs none

        traceback.print_exception(error)
        message = f"this is a fault of vafw, please report it: {type(error).__name__}: {error}"
        return self.failure(VafwError(message))

    def interrupted(self) -> int:
        """Say that the run was interrupted."""
        if self.json:
            return self.result(None, ExitCode.INTERRUPTED, [_plain("interrupted", None)])
        _say("interrupted", None)
        return int(ExitCode.INTERRUPTED)

    def closed_pipe(self) -> int:
        """End quietly where the reader of standard output went away."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.FAILED)


def _plain(message: str, hint: str | None) -> Value:
    return {"severity": "error", "message": message, "hint": hint}


def _say(message: str, hint: str | None) -> None:
    print(f"{paint('error', 'bold red')}: {message}", file=sys.stderr)
    if hint:
        print(f"{paint('hint', 'bold cyan')}: {hint}", file=sys.stderr)


def wants_colour(stream_is_terminal: bool) -> bool:
    """Colour on a terminal only, and never against NO_COLOR (no-color.org)."""
    return stream_is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style such as ``bold red`` for `stream` (standard error); bare where it takes no colour."""
    if not style or not wants_colour((stream or sys.stderr).isatty()):
        return text
    return f"\x1b[{';'.join(_CODES[word] for word in style.split())}m{text}\x1b[0m"


def columns(stream: TextIO, elsewhere: int = UNLIMITED) -> int:
    """How wide a line of `stream` may be: the terminal's width or COLUMNS, or `elsewhere` where it is neither."""
    if os.environ.get("COLUMNS", "").isdecimal() or stream.isatty():
        return shutil.get_terminal_size().columns
    return elsewhere


def fitted(text: str, width: int) -> str:
    """`text` in at most `width` columns, an ellipsis in place of what does not fit."""
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
