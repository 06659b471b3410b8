"""Traffic through a Linux router under our rules, beside the same router without any (root, network namespaces).

    .venv/bin/python benchmarks/data_path.py [--rules N] [--rounds N]

    client ──veth── in0 :router: out0 ──veth── server

Three routers take turns: without rules, with our text of a hundred rules, with our text of `--rules`. The rule that
lets the traffic through is the last. Every figure is the median of interleaved rounds; quote the ratios.

    stream     one TCP stream, bytes a second                goal: 0.95 of our hundred rules
    connects   TCP connections opened and closed a second    goal: 0.85 of unfiltered

Connections are opened one after the other at a port that does nothing but accept: where a queue overflows, a lost SYN
waits a second, and the figure is one of waiting.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from policy_lists import flows, ours

from vafw.traffic.address_set import AddressSet
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.rule import TCP, Action, Rule, Ruleset, Selector, ServiceMatch

CLIENT, ROUTER, SERVER = (f"vafw-{name}-{os.getpid()}" for name in ("client", "router", "server"))
PORT = 7007
LINE = "{:<10} {:>16} {:>16} {:>16} {:>10}  {}"

SERVE = f"""
import contextlib, socket, threading
def take():
    buffer = bytearray(1 << 18)
    while True:
        with streams.accept()[0] as connection, contextlib.suppress(ConnectionResetError):
            while connection.recv_into(buffer):
                pass
streams = socket.create_server(("198.19.2.2", {PORT}))
openings = socket.create_server(("198.19.2.2", {PORT + 1}), backlog=4096)
threading.Thread(target=take, daemon=True).start()
print("ready", flush=True)
while True:
    openings.accept()[0].close()
"""
STREAM = f"""
import socket, sys, time
data = bytes(1 << 20)
with socket.create_connection(("198.19.2.2", {PORT})) as out:
    began = time.perf_counter()
    for _ in range(int(sys.argv[1])):
        out.sendall(data)
    out.shutdown(socket.SHUT_WR)
    out.recv(1)
print(int(sys.argv[1]) * len(data) / (time.perf_counter() - began))
"""
CONNECTS = f"""
import socket, struct, sys, time
reset = struct.pack("ii", 1, 0)  # closes by RST: ports are free again at once
began = time.perf_counter()
for _ in range(int(sys.argv[1])):
    with socket.create_connection(("198.19.2.2", {PORT + 1})) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
print(int(sys.argv[1]) / (time.perf_counter() - began))
"""


def run(*command: str, text: str | None = None) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout


def inside(name: str, *command: str, text: str | None = None) -> str:
    return run("ip", "netns", "exec", name, *command, text=text)


@contextmanager
def network() -> Iterator[None]:
    """Client, router and server, joined; the server takes whatever comes."""
    try:
        for name in (CLIENT, ROUTER, SERVER):
            run("ip", "netns", "add", name)
        for number, (name, port) in enumerate(((CLIENT, "in0"), (SERVER, "out0")), 1):
            run("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", ROUTER)
            for there, interface, host in ((name, "eth0", 2), (ROUTER, port, 1)):
                run("ip", "-n", there, "addr", "add", f"198.19.{number}.{host}/24", "dev", interface)
                run("ip", "-n", there, "link", "set", interface, "up")
            run("ip", "-n", name, "route", "add", "default", "via", f"198.19.{number}.1")
        inside(ROUTER, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        command = ["ip", "netns", "exec", SERVER, sys.executable, "-c", SERVE]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                server.stdout.readline()
                yield
            finally:
                server.kill()
    finally:
        for name in (CLIENT, ROUTER, SERVER):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def filtered(rules: int) -> str:
    """Our text of so many rules, the last of which lets the client reach the server."""
    everywhere = (Selector(None, AddressSet.everything()),)
    server = (Selector(None, AddressSet.from_texts(["198.19.2.2"])),)
    last = Rule("measured", everywhere, server, (ServiceMatch(TCP, ((PORT, PORT + 1),)),), Action.ACCEPT)
    return nftables_text(Ruleset((*ours(flows(rules)).rules, last), Action.DROP), inside="in0", outside="out0")


def measured(program: str, count: int, routers: list[str], rounds: int) -> list[float]:
    """The median for each router, which take turns."""
    found: list[list[float]] = [[] for _ in routers]
    for _ in range(rounds):
        for figures, text in zip(found, routers, strict=True):
            inside(ROUTER, "nft", "-f", "-", text=f"flush ruleset\n{text}")
            figures.append(float(inside(CLIENT, sys.executable, "-c", program, str(count))))
    return [statistics.median(figures) for figures in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--connects", type=int, default=3000)
    given = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("ip"):
        print("the data path needs root, nft and ip")
        return
    routers = ["", filtered(100), filtered(given.rules)]
    print(LINE.format("job", "unfiltered", "100 rules", f"{given.rules} rules", "ratio", "goal"))
    with network():
        free, few, many = measured(STREAM, given.megabytes, routers, given.rounds)
        rates = (f"{each / 1e6:.0f} MB/s" for each in (free, few, many))
        print(LINE.format("stream", *rates, f"{many / few:.2f}", "0.95 of 100 rules"), flush=True)
        free, few, many = measured(CONNECTS, given.connects, routers, given.rounds)
        rates = (f"{each:.0f}/s" for each in (free, few, many))
        print(LINE.format("connects", *rates, f"{many / free:.2f}", "0.85 of unfiltered"))


if __name__ == "__main__":
    main()
