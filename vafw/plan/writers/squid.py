"""A `proxy:` section as the configuration of Squid: what is not allowed is denied, nothing is stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from vafw.document.sections import ProxySection


def squid_text(section: ProxySection, clients: Iterable[str]) -> str:
    """Text for ``squid.conf``; `clients` are the networks that may ask."""
    return "\n".join([*_lines(section, clients), ""])


def _lines(section: ProxySection, clients: Iterable[str]) -> Iterator[str]:
    yield f"http_port {section.port}"
    yield "acl web port 80 443"
    yield "acl tls port 443"
    yield "acl tunnel method CONNECT"
    yield from (f"acl clients src {client}" for client in sorted(clients))
    yield from (f"acl blocked dstdomain {_domain(name)}" for name in _needed(section.block))
    yield from (f"acl allowed dstdomain {_domain(name)}" for name in _needed(section.allow))
    yield "http_access deny !web"
    yield "http_access deny tunnel !tls"
    if section.block:
        yield "http_access deny blocked"
    yield f"http_access allow clients{' allowed' if section.allow else ''}"
    yield "http_access deny all"
    yield "cache deny all"
    yield "forwarded_for delete"
    yield "via off"


def _needed(names: Collection[str]) -> list[str]:
    """The names that no wider one of them covers: Squid does not start with a list in which one name means another."""
    return sorted(name for name in set(names) if not any(_is_below(name, wider) for wider in names if wider != name))


def _is_below(name: str, wider: str) -> bool:
    return wider.startswith("*.") and f".{name.removeprefix('*.')}".endswith(wider[1:])


def _domain(name: str) -> str:
    """As Squid writes it: a full stop in front stands for everything below, and the name itself."""
    return name.removeprefix("*")
