"""The origin's answer on its way to the client: its head is read, and what is for one hop alone is taken out of it.

The client is told that the connection ends with this answer. Where the head says how long the body is, it ends there,
whatever the origin still says; else it ends with the connection. Interim answers (1xx) go on before the final one,
but none that would make the connection another protocol's (101).
"""

from __future__ import annotations

import re
from typing import Final, final

from vafw_appliances.proxy import head as heads
from vafw_appliances.proxy.body import Body, Counted, Unlimited
from vafw_appliances.proxy.head import MalformedHead

MOST_INTERIM: Final = 8
"""Interim answers before the final one: more would be a way to keep a connection busy with nothing."""
_STATUS: Final = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_BODILESS: Final = (204, 304)
"""Answers that have no body (RFC 9112, section 6.3)."""


class BadAnswer(ValueError):
    """What the origin says is no answer."""


@final
class Answer:
    """An answer to one request."""

    def __init__(self, method: str) -> None:
        self.begun = False
        """Whether any of it may have gone to the client."""
        self._method = method
        self._head = bytearray()
        self._body: Body | None = None
        self._interim = 0

    @property
    def is_over(self) -> bool:
        """Whether all of it has come, as its head says."""
        return self._body is not None and self._body.is_over

    @property
    def may_end(self) -> bool:
        """Whether the origin may close now without having promised more."""
        return self._body is not None and (self._body.is_over or isinstance(self._body, Unlimited))

    def take(self, data: bytes) -> bytes:
        """What goes on to the client; BadAnswer where it is no answer."""
        onward = bytearray()
        try:
            while data and self._body is None:
                data = self._take_head(data, onward)
        except ValueError as error:
            raise BadAnswer(str(error)) from error
        if self._body is not None:
            onward += self._body.take(data)
        return bytes(onward)

    def _take_head(self, data: bytes, onward: bytearray) -> bytes:
        """Read a head as far as it has come; what stands behind it."""
        known = len(self._head)
        self._head += data[: heads.LONGEST_HEAD + 1 - known]
        length = heads.head_length(self._head)
        if length is None:
            return b""
        onward += self._read(bytes(self._head[:length]))
        self.begun = True
        self._head.clear()
        return data[length - known :]

    def _read(self, head: bytes) -> bytes:
        line, fields = heads.lines_of(head)
        match = _STATUS.fullmatch(line)
        if match is None:
            raise MalformedHead("an answer must begin with HTTP/1.x and a status")
        status = int(match[1])
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > MOST_INTERIM:
                raise MalformedHead("an answer must not change the protocol, nor be put off for ever")
            return heads.head_text(line, heads.passed_on(fields))
        chunked, length = heads.is_chunked(fields), heads.content_length(fields)
        if self._method == "HEAD" or status in _BODILESS:
            self._body = Counted(0)
        elif chunked or length is None:
            self._body = Unlimited()
        else:
            self._body = Counted(length)
        return heads.head_text(line, (*heads.passed_on(fields), ("Connection", "close")))
