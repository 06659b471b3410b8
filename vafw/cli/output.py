"""What leaves the command line: one result on standard output, text or the JSON envelope, and errors on standard error."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from vafw import __version__
from vafw.errors import ExitCode, VafwError
from vafw.trace import Value

if TYPE_CHECKING:
    import click

API: Final = "vafw/v1"


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
            found: list[Value] = [each.to_json() for each in diagnostics] or [_plain_diagnostic(error)]
            return self.result(getattr(error, "data", None), error.exit_code, found)
        if diagnostics:
            from vafw.cli.diagnostics import print_diagnostics  # deferred: only invalid documents need it

            print_diagnostics(diagnostics)
        else:
            print(f"{paint('error', 'bold red')}: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"{paint('hint', 'bold cyan')}: {error.hint}", file=sys.stderr)
        return int(error.exit_code)

    def usage(self, error: click.ClickException) -> int:
        """Print a usage error."""
        if self.json:
            return self.result(None, ExitCode.USAGE, [{"severity": "error", "message": error.format_message()}])
        error.show(sys.stderr)
        return int(ExitCode.USAGE)

    def fault(self, error: Exception) -> int:
        """Print a fault of vafw itself, with its traceback."""
        traceback.print_exception(error)
        message = f"this is a fault of vafw, please report it: {type(error).__name__}: {error}"
        return self.failure(VafwError(message))

    def interrupted(self) -> int:
        """Say that the run was interrupted."""
        if self.json:
            return self.result(None, ExitCode.INTERRUPTED)
        print("interrupted", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)

    def closed_pipe(self) -> int:
        """End quietly where the reader of standard output went away."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.FAILED)


def _plain_diagnostic(error: VafwError) -> Value:
    return {"severity": "error", "message": error.message, "hint": error.hint}


def wants_colour(stream_is_terminal: bool) -> bool:
    """Colour on a terminal only, and never against NO_COLOR (no-color.org)."""
    return stream_is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def paint(text: str, style: str) -> str:
    """`text` in a style such as ``bold red``, for standard error."""
    if not wants_colour(sys.stderr.isatty()):
        return text
    return f"\x1b[{';'.join(_CODES[word] for word in style.split())}m{text}\x1b[0m"
