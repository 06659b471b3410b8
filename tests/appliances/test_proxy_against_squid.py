"""The proxy's decisions against Squid's, which runs on the text that `vafw policy compile` writes for the same section.

Squid has a network namespace of its own in which every name of the table stands for its own loopback, where nobody
serves: what it lets through ends with "connection refused" (503), what it does not with 403 or another 4xx.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.captures.namespaces import SEARCH_PATH
from vafw.document.sections import ProxySection
from vafw.plan.writers.squid import squid_text
from vafw_appliances.proxy.decision import Rules, Sites
from vafw_appliances.proxy.head import head_length
from vafw_appliances.proxy.page import Refusal
from vafw_appliances.proxy.request import read_request

pytestmark = pytest.mark.root

SQUID = shutil.which("squid", path=SEARCH_PATH)
PATIENCE_S = 20.0
NUMBERS = count()
CLIENT, OTHER_CLIENT = "127.0.0.1", "::1"
SECTIONS: dict[str, dict[str, list[str]]] = {
    "open": {},
    "allow": {"allow": ["*.example.com", "www.example.org", "deep.under.example.net"]},
    "block": {"block": ["*.ads.example.com", "news.example.org"]},
    "both": {
        "allow": ["*.example.com", "*.example.org"],
        "block": ["*.ads.example.com", "www.example.org", "*.example.net"],
    },
    "overlapping": {"allow": ["*.example.com", "www.example.com", "*.www.example.com", "example.com"]},
}
NAMES = (
    "example.com", "www.example.com", "deep.down.example.com", "ads.example.com", "x.ads.example.com",
    "badexample.com", "example.com.evil.net", "www.example.org", "x.www.example.org", "example.org",
    "news.example.org", "under.example.net", "deep.under.example.net", "com", "localhost",
)  # fmt: skip
REQUESTS = (
    *(f"GET http://{name}/" for name in NAMES),
    *(f"CONNECT {name}:443" for name in NAMES),
    "GET http://WWW.Example.COM/",
    "GET http://www.example.com:80/",
    "GET http://www.example.com:443/",
    "GET http://www.example.com:8080/",
    "GET http://www.example.com?query",
    "GET http://www.example.com/ads.example.com",
    "POST http://www.example.com/",
    "HEAD http://www.example.com/",
    "OPTIONS http://www.example.com/",
    "CONNECT www.example.com:80",
    "CONNECT www.example.com:22",
    "CONNECT WWW.EXAMPLE.COM:443",
    "GET http://203.0.113.5/",
    "CONNECT 203.0.113.5:443",
    "GET http://[2001:db8::5]/",
    "GET http://www.example.com./",
    "GET /",
    "GET www.example.com",
    "GET http:///",
    "GET http://www.example.com:0/",
    "GET http://www.example.com:99999/",
    "GET ftp://www.example.com/",
    "PURGE http://www.example.com/",
    "GET http://www_under.example.com/",
    "GET http://www.example.com:080/",
)
DIFFERENT = {
    "CONNECT www.example.com": "Squid takes 443 for granted; a tunnel must name its port (RFC 9110, section 9.3.6)",
    "CONNECT http://www.example.com/": "Squid takes any target apart; a tunnel's is a host and a port, nothing else",
    "GET http://user:word@www.example.com/": "Squid strips the user; what looks like a host before an @ is a trick",
    "GET http://www.example.com/#part": "Squid passes the fragment on, which is the browser's own affair",
    "GET http://www.example.com:+80/": "Squid's numbers may have a sign",
    "GET http://-www.example.com/": "Squid's labels may begin with a hyphen",
    "GET http://127.1/": "Squid reads addresses as inet_aton does; what ends in a number has four of them here",
    "GET http://2130706433/": "the same",
    "GET http://0x7f000001/": "the same",
    "GET https://www.example.com/": "Squid would speak TLS itself; it is for the browser to do, through a tunnel",
    "TRACE http://www.example.com/": "Squid lets every method through; TRACE shows what an origin sees",
}
"""Requests that Squid lets through where nothing is blocked, and the program never, and why."""


@contextmanager
def squid(section: ProxySection) -> Iterator[list[str]]:
    """A Squid with the section's text; the words that run a program beside it."""
    with TemporaryDirectory(prefix="vafw-squid-") as name:  # Squid's user may look into no folder of pytest's
        folder = Path(name)
        folder.chmod(0o777)
        with _running(folder, section) as inside:
            yield inside


@contextmanager
def _running(folder: Path, section: ProxySection) -> Iterator[list[str]]:
    name = f"vafw-sq{os.getpid()}x{next(NUMBERS)}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
    inside = ["ip", "netns", "exec", name]
    process = None
    try:
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        (folder / "hosts").write_text("".join(f"127.0.0.1 {each}\n" for each in NAMES))
        (folder / "squid.conf").write_text(squid_text(section, [f"{CLIENT}/32"]) + around(folder))
        process = subprocess.Popen([*inside, str(SQUID), "-N", "-f", str(folder / "squid.conf")])
        end_s = time.monotonic() + PATIENCE_S
        while "Accepting HTTP" not in log_of(folder):
            if process.poll() is not None or time.monotonic() > end_s:
                raise AssertionError(f"squid must come up: {log_of(folder)}")
            os.sched_yield()
        yield inside
    finally:
        if process is not None:
            process.kill()
            process.wait(10)
        subprocess.run(["ip", "netns", "del", name], check=False)


def around(folder: Path) -> str:
    """What Squid needs besides to run here."""
    return f"""
hosts_file {folder}/hosts
dns_nameservers 127.0.0.1
dns_timeout 1 second
dns_retransmit_interval 1 second
pid_filename none
access_log none
cache_log {folder}/cache.log
coredump_dir {folder}
cache_mem 8 MB
pinger_enable off
netdb_filename none
visible_hostname squid.example
cache_effective_user proxy
"""


def log_of(folder: Path) -> str:
    log = folder / "cache.log"
    return log.read_text(errors="replace") if log.exists() else ""


ASK = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def status(asked):
    host, head = asked
    with socket.create_connection((host, 3128), timeout=20) as connection:
        connection.sendall(head.encode("latin-1"))
        answer = b""
        while b"\\r\\n" not in answer and (data := connection.recv(4096)):
            answer += data
    return (answer.split(b" ") + [b"0", b"0"])[1].decode()

with ThreadPoolExecutor(32) as pool:
    print(*pool.map(status, json.loads(sys.stdin.read())))
"""
"""Run in Squid's namespace: says each head to it, and prints the status of what it answers."""


def heads(requests: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each request from a client that may ask; the first from one that may not as well."""
    asked = [(CLIENT, head_of(each)) for each in requests]
    return [*asked, (OTHER_CLIENT, head_of(requests[0]))]


def head_of(request: str) -> str:
    return f"{request} HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".replace(
        "Content-Length: 0\r\n", "" if request.startswith(("CONNECT", "GET", "HEAD")) else "Content-Length: 0\r\n"
    )


def squid_lets_through(inside: list[str], asked: list[tuple[str, str]]) -> list[bool]:
    done = subprocess.run([*inside, sys.executable, "-c", ASK], input=json.dumps(asked), check=True,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    return [int(each) >= 500 and int(each) != 501 for each in done.stdout.split()]


def we_let_through(section: ProxySection, client: str, head: str) -> bool:
    """What our program decides, up to where it would connect."""
    data = head.encode("latin-1")
    assert head_length(data) == len(data)
    request = read_request(data)
    if isinstance(request, Refusal):
        return False
    rules = Rules(Sites(section.allow), Sites(section.block), (ip_network(f"{CLIENT}/32"),))
    return rules.judge(request.site, ip_address(client)).allowed


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
@pytest.mark.skipif(SQUID is None, reason="squid is not installed here")
@pytest.mark.parametrize("name", SECTIONS)
def test_squid_on_our_text_lets_through_what_the_program_does(name: str) -> None:
    section = ProxySection.model_validate(SECTIONS[name])
    asked = heads(REQUESTS)
    with squid(section) as inside:
        theirs = squid_lets_through(inside, asked)
    ours = [we_let_through(section, client, head) for client, head in asked]
    assert len(theirs) == len(asked)
    assert [
        (client, head.splitlines()[0], their, our)
        for (client, head), their, our in zip(asked, theirs, ours, strict=True)
        if their != our
    ] == []
    assert True in theirs
    assert False in theirs


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
@pytest.mark.skipif(SQUID is None, reason="squid is not installed here")
def test_where_the_two_differ_it_is_the_program_that_refuses() -> None:
    section = ProxySection()
    asked = [(CLIENT, head_of(each)) for each in DIFFERENT]
    with squid(section) as inside:
        assert squid_lets_through(inside, asked) == [True] * len(asked)
    assert [we_let_through(section, client, head) for client, head in asked] == [False] * len(asked)
