"""The proxy's TCP against the kernel's, on both sides: curl in one namespace, web servers in another, two taps between.

user namespace ──tap──▶ the program ──tap──▶ router namespace with dnsmasq ──▶ servers, HTTP and TLS

A thread carries frames from tap to program to tap, and can be told to lose and delay some of them.
"""

from __future__ import annotations

import hashlib
import os
import random
import select
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pytest

from tests.appliances.proxy_street import CONFIG, PORT, PROXY, PROXY6
from tests.captures.namespaces import Site, address_router, address_user, adopt_tap, missing, site
from tests.captures.servers import LINE
from vafw.provider.model.tap import DEVICE, Tap
from vafw.trace import Value
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw_appliances.proxy.guest import Proxy, create

pytestmark = pytest.mark.root

USER_TAP, WIRE_TAP = f"vafw-pu{os.getpid()}", f"vafw-pw{os.getpid()}"
CURL = ("curl", "-sk", "--max-time", "30")
MEGABYTE = 1_000_000
THROUGH = f"http://{PROXY}:{PORT}"
THROUGH6 = f"http://[{PROXY6}]:{PORT}"


class Cable(threading.Thread):
    """Carries frames between two taps and the program, until it is told to stop."""

    def __init__(self, user: Tap, wire: Tap, config: dict[str, Value]) -> None:
        super().__init__(daemon=True)
        made = create({**CONFIG, **config}, token_bytes)
        assert isinstance(made, Proxy)
        self.program = made
        self.losing = 0.0
        """Share of frames that are lost, either way."""
        self.carried = 0
        self._taps = {INSIDE: user, OUTSIDE: wire}
        self._draw = random.Random(1)
        self._stopping = threading.Event()
        self._held: list[tuple[str, bytes]] = []

    def run(self) -> None:
        while not self._stopping.is_set():
            files = [tap._file for tap in self._taps.values()]
            ready, _, _ = select.select(files, [], [], 0.1)
            self._send(list(self.program.on_timer(time.monotonic())) if not ready else [])
            for port, tap in self._taps.items():
                while (frame := tap.receive_now()) is not None:
                    self.carried += 1
                    if self._draw.random() >= self.losing:
                        self._send(list(self.program.handle(port, frame, time.monotonic()).emit))
            held, self._held = self._held, []
            for port, frame in held:
                self._taps[port].send(frame)

    def stop(self) -> None:
        self._stopping.set()
        self.join(10)

    def _send(self, frames: list[tuple[str, bytes]]) -> None:
        """Some get lost on the way, some are held back until others have gone."""
        for port, frame in frames:
            fate = self._draw.random()
            if self.losing and fate < self.losing:
                continue
            if self.losing and fate < 2 * self.losing:
                self._held.append((port, frame))
            else:
                self._taps[port].send(frame)


class Street:
    """The site, with the program between user and router."""

    def __init__(self, made: Site, cable: Cable) -> None:
        self.site = made
        self.cable = cable

    def curl(self, *words: str) -> bytes:
        """What curl prints in the user's namespace."""
        return self.site.user.attempt(*CURL, *words).stdout.encode()

    def report(self) -> Any:
        return self.cable.program.report()


@contextmanager
def street(folder: Path, **config: Value) -> Iterator[Street]:
    with ExitStack() as stack:
        made = stack.enter_context(site(folder))
        user, wire = (stack.enter_context(Tap(each)) for each in (USER_TAP, WIRE_TAP))
        adopt_tap(made.user, USER_TAP)
        adopt_tap(made.router, WIRE_TAP)
        address_user(made.user, USER_TAP)
        address_router(made.router, WIRE_TAP)
        made.servers.ip("-6 route replace 2001:db8:a::/64 via 2001:db8:b::1")
        cable = Cable(user, wire, config)
        cable.start()
        stack.callback(cable.stop)
        yield Street(made, cable)


@pytest.fixture(scope="module")
def open_street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    if why := missing():
        pytest.skip(why)
    if not DEVICE.exists():
        pytest.skip(f"no {DEVICE} here")
    with street(tmp_path_factory.mktemp("street"), block=["news.example.org", "*.example.net"]) as made:
        yield made


def text(size: int) -> bytes:
    return (LINE * (size // len(LINE) + 1))[:size]


def test_a_page_comes_through(open_street: Street) -> None:
    assert open_street.curl("-x", THROUGH, "http://www.example.com/") == LINE


def test_a_page_comes_through_over_ipv6_on_both_sides(open_street: Street) -> None:
    assert open_street.curl("-x", THROUGH6, "http://six.example.com/") == LINE


def test_a_megabyte_arrives_intact(open_street: Street) -> None:
    assert open_street.curl("-x", THROUGH, f"http://www.example.com/big/{MEGABYTE}") == text(MEGABYTE)


def test_a_megabyte_arrives_intact_through_a_tunnel_with_tls(open_street: Street) -> None:
    assert open_street.curl("-x", THROUGH, f"https://www.example.com/big/{MEGABYTE}") == text(MEGABYTE)


@pytest.mark.parametrize("coding", ["Expect:", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_upload_arrives_intact(open_street: Street, tmp_path: Path, scheme: str, coding: str) -> None:
    body = text(400_000)
    (tmp_path / "body").write_bytes(body)
    said = open_street.curl("-x", THROUGH, "-H", coding, "--data-binary", f"@{tmp_path / 'body'}",
                            f"{scheme}://www.example.com/")  # fmt: skip
    assert said == f"{len(body)} {hashlib.sha256(body).hexdigest()}\n".encode()


def test_a_server_that_is_asked_for_permission_gives_it(open_street: Street) -> None:
    said = open_street.curl("-x", THROUGH, "-H", "Expect: 100-continue", "-d", "hello", "http://www.example.com/")
    assert said.startswith(b"5 2cf24dba")


def test_a_slow_reader_gets_everything(open_street: Street) -> None:
    page = open_street.curl("-x", THROUGH, "--limit-rate", "400k", "http://www.example.com/big/600000")
    assert page == text(600_000)


def test_what_gets_lost_and_held_back_on_the_way_comes_all_the_same(open_street: Street) -> None:
    open_street.cable.losing = 0.01
    try:
        page = open_street.curl("-x", THROUGH, "http://www.example.com/big/300000")
    finally:
        open_street.cable.losing = 0.0
    assert page == text(300_000)


def test_a_blocked_site_is_refused_with_the_rule(open_street: Street) -> None:
    assert b"block news.example.org" in open_street.curl("-x", THROUGH, "http://news.example.org/")
    said = open_street.site.user.attempt(*CURL, "-v", "-x", THROUGH, "https://ads.example.net/").stderr
    assert "HTTP/1.1 403 Forbidden" in said


def test_an_inside_address_behind_a_name_is_refused(open_street: Street) -> None:
    assert b"its address is private" in open_street.curl("-x", THROUGH, "http://printer.example.com/")


def test_a_name_that_does_not_exist_is_refused(open_street: Street) -> None:
    assert b"the name does not exist" in open_street.curl("-x", THROUGH, "http://no.example.com/")


def test_many_at_once_get_their_own_page(open_street: Street) -> None:
    urls = [f"http://www.example.com/big/{1000 + at}" for at in range(12)]
    done = open_street.site.user.attempt(*CURL, "-Z", "--parallel-max", "12", "-w", "%{size_download}\n", "-x", THROUGH,
                                         *[word for url in urls for word in ("-o", "/dev/null", url)])  # fmt: skip
    assert sorted(map(int, done.stdout.split())) == [1000 + at for at in range(12)]


def test_what_is_not_for_the_proxy_passes_it(open_street: Street) -> None:
    assert open_street.curl("--noproxy", "*", "http://www.example.com/") == LINE
    assert "1 received" in open_street.site.user.run("ping", "-c1", "-W5", "2001:db8:a::1")


@pytest.mark.parametrize("own", [PROXY, PROXY6])
def test_the_proxy_answers_a_ping_from_both_sides(open_street: Street, own: str) -> None:
    for namespace in (open_street.site.user, open_street.site.router):
        assert "1 received" in namespace.run("ping", "-c1", "-W5", own)


HALF_CLOSE = f"""
import socket, sys
with socket.create_connection(("{PROXY}", {PORT})) as asked:
    asked.sendall(b"GET http://www.example.com/big/200000 HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n")
    asked.shutdown(socket.SHUT_WR)
    said = b""
    while data := asked.recv(65536):
        said += data
print(len(said.partition(b"\\r\\n\\r\\n")[2]))
"""


def test_a_client_that_closes_its_side_early_still_gets_everything(open_street: Street) -> None:
    assert open_street.site.user.run("python3", "-c", HALF_CLOSE, timeout=30) == "200000\n"


def test_a_client_that_is_killed_leaves_nothing_behind(open_street: Street) -> None:
    open_street.site.user.attempt("timeout", "-s", "KILL", "0.5", *CURL, "--limit-rate", "20k", "-x", THROUGH,
                                  "http://www.example.com/big/5000000")  # fmt: skip
    end_s = time.monotonic() + 20
    while open_street.report()["open"] and time.monotonic() < end_s:
        os.sched_yield()
    assert open_street.report()["open"] == 0


def test_the_servers_see_the_proxy_and_no_word_of_the_user(open_street: Street) -> None:
    requests = open_street.report()["requests"]
    open_street.curl("-x", THROUGH, "http://www.example.com/")
    assert open_street.report()["requests"]["allowed"] == requests["allowed"] + 1
