"""Host names in list files, as block lists carry them: one a line, or the lines of a hosts file.

# a comment
ads.example
*.tracker.example            and everything below it
0.0.0.0 metrics.example      a hosts file's line: the address is left out
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from vafw.document.source import Source, Span

_LABEL: Final = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST_NAME: Final = re.compile(rf"(\*\.)?({_LABEL}\.)*{_LABEL}\.?", re.IGNORECASE)


class NotHostNames(ValueError):
    """A line of a list file that is no host name."""

    def __init__(self, text: str, span: Span) -> None:
        super().__init__(f"{span}: a line must hold one host name, not {text!r}")
        self.text = text
        self.span = span


def is_host_name(text: str) -> bool:
    """Whether `text` is a host name of at most 253 characters (RFC 1035, "Size limits"; ``*.`` may lead it)."""
    return len(text.rstrip(".")) <= 253 and _HOST_NAME.fullmatch(text) is not None


def host_names(source: Source) -> tuple[str, ...]:
    """The names in a list file, in lower case, each once and in order; NotHostNames for the first other line."""
    names: dict[str, None] = {}
    for number, line in enumerate(source.lines, start=1):
        words = line.partition("#")[0].split()
        if len(words) > 1 and _is_address(words[0]):
            words = words[1:]
        elif len(words) > 1 or (words and _is_address(words[0])):
            raise NotHostNames(line.strip(), _line(source, number, line))
        for word in words:
            if not is_host_name(word):
                raise NotHostNames(word, _line(source, number, line))
            names[word.lower().rstrip(".")] = None
    return tuple(names)


def _is_address(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


def _line(source: Source, number: int, line: str) -> Span:
    start = len(line) - len(line.lstrip()) + 1
    return Span(source, number, start, number, len(line.rstrip()) + 1)
