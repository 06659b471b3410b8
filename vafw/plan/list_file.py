"""A list file with the place of what is wrong in it. What may stand in a line, `traffic.blocklist` decides."""

from __future__ import annotations

from vafw.document.source import Source, Span
from vafw.traffic.blocklist import host_name, names_in_line


class WrongLine(ValueError):
    """A line of a list file that names no host; the message says what was expected."""

    def __init__(self, message: str, span: Span) -> None:
        super().__init__(message)
        self.message = message
        self.span = span


def listed_names(source: Source) -> tuple[str, ...]:
    """The names in a list file, in order and each once; WrongLine for the first line that holds something else."""
    names: dict[str, None] = {}
    for number, line in enumerate(source.lines, start=1):
        try:
            names |= dict.fromkeys(names_in_line(line))
        except ValueError as error:
            start = len(line) - len(line.lstrip()) + 1
            raise WrongLine(str(error), Span(source, number, start, number, len(line.rstrip()) + 1)) from error
    return tuple(names)


def is_host_name(text: str) -> bool:
    """Whether a text is the name of a host."""
    try:
        host_name(text)
    except ValueError:
        return False
    return True
