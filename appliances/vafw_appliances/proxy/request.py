"""One request to a proxy: what is asked for, and the head that goes on to the origin (RFC 9112, section 3.2).

    CONNECT www.example.com:443 HTTP/1.1            a tunnel; nothing of the head goes on
    GET http://www.example.com/index HTTP/1.1       goes on as GET /index, with the Host of the target

There is one request on a connection: the head that goes on says so, and so does the answer's. The request keeps its
HTTP version, so that a client of HTTP/1.0 is never answered in chunks that it does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from vafw_appliances.proxy import head as heads
from vafw_appliances.proxy.body import Body, Chunked, Counted, Unlimited
from vafw_appliances.proxy.decision import Site
from vafw_appliances.proxy.head import Field, MalformedHead
from vafw_appliances.proxy.page import Refusal

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
"""Methods that go on. TRACE would show an origin's view of the request; nobody needs the others."""
CONNECT: Final = "CONNECT"
HTTP_PORT: Final = 80
ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

_VERSIONS: Final = ("HTTP/1.1", "HTTP/1.0")
_TARGET: Final = re.compile(r"http://([^/?#]*)((?:[/?][\x21-\x7e]*)?)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:@]+)(?::([0-9]{1,5}))?")
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes what looks like a name an address to some (WHATWG URL, "ends in a number")."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be understood in one way."""

    method: str
    site: Site
    body: Body
    onward: bytes = b""
    """The head that goes on; empty for a tunnel."""

    @property
    def is_tunnel(self) -> bool:
        """Whether the client speaks to the origin itself."""
        return self.site.is_tunnel


def read_request(head: bytes | bytearray) -> Request | Refusal:
    """The request of a whole head, its last empty line included."""
    try:
        line, fields = heads.lines_of(head)
        method, target, version = _words(line)
        _check_host(version, fields)
        if method == CONNECT:
            return _tunnel(target, fields)
        if heads.is_token(method) and method not in METHODS:
            return Refusal(405, f"the method must be one of {', '.join(sorted(METHODS))} and CONNECT")
        return _forwarded(method, target, version, fields)
    except heads.TooLarge as error:
        return Refusal(431, str(error))
    except heads.BodyTooLarge as error:
        return Refusal(413, str(error))
    except MalformedHead as error:
        return Refusal(400, str(error))


def read_host(text: str) -> str | IPv4Address | IPv6Address:
    """A host as it stands in a target; MalformedHead where it is neither a name nor an address."""
    if text.startswith("["):
        try:
            return IPv6Address(text[1:-1])
        except ValueError as error:
            raise MalformedHead("a host in brackets must be an IPv6 address") from error
    name = text.lower().removesuffix(".")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            return IPv4Address(text)
        except ValueError as error:
            raise MalformedHead("a host that ends in a number must be four numbers from 0 to 255") from error
    if _NAME.fullmatch(name) is None:
        raise MalformedHead("a host must be a name of letters, digits, hyphens and full stops, or an address")
    return name


def _words(line: str) -> tuple[str, str, str]:
    words = line.split(" ")
    if len(words) != 3 or not heads.is_token(words[0]) or words[2] not in _VERSIONS:
        raise MalformedHead("the first line must be a method, a target and HTTP/1.0 or HTTP/1.1")
    method, target, version = words
    if not target.isascii() or not target.isprintable() or "#" in target:
        raise MalformedHead("the target must be printable characters of ASCII, without a fragment")
    return method, target, version


def _check_host(version: str, fields: tuple[Field, ...]) -> None:
    """It must be there once in HTTP/1.1 (RFC 9112, section 3.2); what it says is replaced by what the target says."""
    count = len(heads.values(fields, "host"))
    if count > 1 or (count == 0 and version == "HTTP/1.1"):
        raise MalformedHead("Host must be there once")


def _tunnel(target: str, fields: tuple[Field, ...]) -> Request:
    host, port = _authority(target)
    if port is None:
        raise MalformedHead("CONNECT must name a host and a port")
    if heads.content_length(fields) is not None or heads.members(fields, "transfer-encoding"):
        raise MalformedHead("CONNECT must not come with a body")
    return Request(CONNECT, Site(host, port, is_tunnel=True), Unlimited())


def _forwarded(method: str, target: str, version: str, fields: tuple[Field, ...]) -> Request:
    match = _TARGET.fullmatch(target)
    if match is None:
        raise MalformedHead("the target must be http:// with a host and a path, as a proxy is asked")
    host, port = _authority(match[1])
    site = Site(host, HTTP_PORT if port is None else port)
    path = match[2] if match[2].startswith("/") else f"/{match[2]}"
    body = _body(version, fields)
    kept = heads.passed_on(fields, also=("host",))
    onward = (("Host", _host_field(match[1], site)), *kept, ("Connection", "close"))
    return Request(method, site, body, heads.head_text(f"{method} {path} {version}", onward))


def _host_field(authority: str, site: Site) -> str:
    """The target's host; its port where it is not the usual one."""
    host = authority.rpartition(":")[0] if re.search(r":[0-9]+$", authority) else authority
    return host.lower() if site.port == HTTP_PORT else f"{host.lower()}:{site.port}"


def _authority(text: str) -> tuple[str | IPv4Address | IPv6Address, int | None]:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise MalformedHead("the target must name a host, and a port if it has one, without a user")
    port = None if match[2] is None else int(match[2])
    if port is not None and not 0 < port <= 0xFFFF:
        raise MalformedHead("a port must be from 1 to 65535")
    return read_host(match[1]), port


def _body(version: str, fields: tuple[Field, ...]) -> Body:
    if heads.is_chunked(fields):
        if version != "HTTP/1.1":
            raise MalformedHead("HTTP/1.0 has no Transfer-Encoding")
        return Chunked()
    return Counted(heads.content_length(fields) or 0)
