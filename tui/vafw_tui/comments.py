"""The comments of a YAML text, with their lines: what an edit must not lose.

Not a parser: PyYAML's scanner says where scalars stand, and a number sign outside of them, after a space or at the
beginning of a line, begins a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

_NUMBER_SIGN = re.compile(r"(?:^|(?<=[ \t]))#.*", re.MULTILINE)


def comments(text: str) -> list[tuple[int, str]]:
    """Each comment with its line (from 1), in order; nothing for a text that cannot be scanned."""
    try:
        scalars = list(_scalars(text))
    except yaml.YAMLError:
        return []
    found: list[tuple[int, str]] = []
    for each in _NUMBER_SIGN.finditer(text):
        if not any(start <= each.start() < end for start, end in scalars):
            found.append((text.count("\n", 0, each.start()) + 1, each[0].rstrip()))
    return found


def _scalars(text: str) -> Iterator[tuple[int, int]]:
    """Where each scalar begins and ends; a block scalar ends before the comments that follow it."""
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken):
            yield token.start_mark.index, token.end_mark.index
