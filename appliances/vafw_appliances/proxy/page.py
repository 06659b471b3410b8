"""What a client reads whose request is not carried out: an HTTP answer that says the rule, and nothing it had sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PHRASES: Final = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    504: "Gateway Timeout",
}
"""RFC 9110, section 15; RFC 6585, section 5."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not carried out."""

    status: int
    rule: str
    """The rule or the fault, in a few words of our own."""

    def page(self, *, with_body: bool = True) -> bytes:
        """The whole answer; without its body, as HEAD is answered."""
        body = f"{self.status} {PHRASES[self.status]}: {self.rule}\n".encode()
        head = (
            f"HTTP/1.1 {self.status} {PHRASES[self.status]}\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Cache-Control: no-store\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + (body if with_body else b"")
