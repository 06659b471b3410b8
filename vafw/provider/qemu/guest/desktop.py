"""The user's OS as a guest: Linux's own network stack, a script of what a person would do, and a screen.

The screen is the console of the VGA adapter, in text. Steps and outcomes are those of the model's desktop, so that the
same script gives the same answers on both. No trusted part: nothing here is relied on to keep the rest safe.
"""

from __future__ import annotations

import errno
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from pathlib import Path
from typing import Final, TypeAlias, final

from dnslib import QTYPE, DNSError, DNSRecord

from vafw.provider.qemu.guest import interfaces
from vafw.provider.qemu.guest.forged import forged_frames
from vafw.trace import Value

Address: TypeAlias = "IPv4Address | IPv6Address"
Answer: TypeAlias = "dict[str, Value]"

RESOLVE_TRIES_S: Final = (2.0, 4.0)
CONNECT_PATIENCE_S: Final = 7.0
PING_TRIES: Final = 3
_SCREEN: Final = Path("/dev/tty1")
_NEIGHBOURS: Final = Path("/proc/net/arp")
_COMPLETE: Final = 2
"""ATF_COM (arp(7))."""
_CLEAR: Final = "\x1b[2J\x1b[H\x1b[?25l"
_SIGNS: Final = {"ok": "\x1b[32m+\x1b[0m"}
_REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.ECONNRESET})


@final
class Desktop:
    """A host with one interface."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self.ports = (interface,)
        self._addresses: list[str] = []
        self._gateways: list[Address] = []
        self._resolvers: list[Address] = []
        self._script: Sequence[Value] = ()
        self._steps: list[Value] = []
        self._name = ""
        self._over = False

    def configure(self, config: Mapping[str, Value]) -> tuple[bool, str]:
        """Take the addresses, the gateways, the resolvers and the script, and begin anew."""
        self._steps, self._over = [], False
        self._name = str(config.get("name", "user-os"))
        self._script = _list(config.get("script"))
        gateways = self._gateways = [ip_address(str(each)) for each in _list(config.get("gateway"))]
        self._resolvers = [ip_address(str(each)) for each in _list(config.get("resolvers"))] or gateways
        self._addresses = [str(each) for each in _list(config.get("addresses"))]
        self._set_up(gateways)
        self._draw()
        return self.probe()

    def probe(self) -> tuple[bool, str]:
        """Whether it can speak to the network at all."""
        shown = ", ".join(self._addresses)
        return bool(shown), f"its addresses are {shown}" if shown else "it has no address"

    def report(self) -> Mapping[str, Value]:
        """What the script came to."""
        counted = Path("/sys/class/net", self._interface, "statistics")
        frames = {key: int((counted / name).read_text()) for key, name in (("in", "rx_packets"), ("out", "tx_packets"))}
        return {
            "mode": "stack",
            "frames-in": frames["in"],
            "frames-out": frames["out"],
            "script-over": self._over,
            "steps": self._steps[:],
        }

    def do_run(self, answer: Callable[[Answer], None]) -> None:
        """Do what the script says; the answer comes when it is over."""
        threading.Thread(target=self._run, args=(answer,), name="script", daemon=True).start()

    def do_step(self, answer: Callable[[Answer], None]) -> None:
        """Do the script's first step once more, and answer with what came of it."""
        threading.Thread(target=lambda: answer({"step": self._step(self._script[0])}), name="step", daemon=True).start()

    def do_look(self, answer: Callable[[Answer], None]) -> None:
        """Everything on the PCI bus of this VM, and every interface: what its user could reach."""
        functions = sorted(Path("/sys/bus/pci/devices").iterdir())
        macs = [(each / "address").read_text().strip() for each in sorted(Path("/sys/class/net").iterdir())]
        answer({"functions": [_function(each) for each in functions], "macs": [each for each in macs if each]})

    def do_shout(self, answer: Callable[[Answer], None]) -> None:
        """Send frames that no rule lets pass: a private ethertype, and an IPv4 packet from a forged source."""
        frames = forged_frames(*_met(self._gateways))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((self._interface, 0))
            for frame in frames:
                raw.send(frame)
        answer({"sent": len(frames)})

    def _set_up(self, gateways: Sequence[Address]) -> None:
        interfaces.write("/proc/sys/net/ipv6/conf/all/accept_dad", "0")
        interfaces.write(f"/proc/sys/net/ipv6/conf/{self._interface}/accept_dad", "0")
        interfaces.write(f"/proc/sys/net/ipv6/conf/{self._interface}/accept_ra", "0")
        interfaces.up("lo")
        interfaces.up(self._interface)
        for version in ("-4", "-6"):
            interfaces.run("ip", version, "addr", "flush", "dev", self._interface, "scope", "global")
        for each in map(ip_interface, self._addresses):
            interfaces.run("ip", f"-{each.version}", "addr", "add", str(each), "dev", self._interface)
        for gateway in gateways:
            interfaces.run("ip", f"-{gateway.version}", "route", "replace", "default", "via", str(gateway))

    def _run(self, answer: Callable[[Answer], None]) -> None:
        for step in self._script:
            self._steps.append(self._step(step))
            self._over = len(self._steps) == len(self._script)
            self._draw()
        answer({"steps": self._steps[:]})

    def _step(self, step: Value) -> Value:
        if not isinstance(step, dict):
            raise ValueError(f"a step must be an object, not {step!r}")
        began_s = time.monotonic()
        if "resolve" in step:
            result = self._resolve_step(str(step["resolve"]))
        elif "ping" in step:
            result = self._ping_step(str(step["ping"]))
        else:
            result = self._connect_step(step)
        return {**step, **result, "seconds": round(time.monotonic() - began_s, 6)}

    def _resolve_step(self, name: str) -> Answer:
        outcome, addresses = self._resolve(name)
        return {"outcome": outcome, "addresses": [str(each) for each in addresses]}

    def _ping_step(self, host: str) -> Answer:
        outcome, address = self._address_of(host)
        if address is None:
            return {"outcome": outcome}
        for _ in range(PING_TRIES):
            try:
                interfaces.run("ping", "-c", "1", "-W", "2", str(address))
            except Exception:  # no answer: try again
                continue
            return {"outcome": "ok", "address": str(address)}
        return {"outcome": "timed out", "address": str(address)}

    def _connect_step(self, step: Mapping[str, Value]) -> Answer:
        outcome, address = self._address_of(str(step["connect"]))
        if address is None:
            return {"outcome": outcome, "bytes": 0}
        expect = str(step.get("expect", "")).encode()
        outcome, received = _converse(str(address), int(str(step["port"])), str(step.get("send", "")).encode(), expect)
        if outcome == "ok" and expect not in received:
            outcome = "unexpected"
        return {"outcome": outcome, "address": str(address), "bytes": len(received)}

    def _address_of(self, host: str) -> tuple[str, Address | None]:
        try:
            return "ok", ip_address(host)
        except ValueError:
            outcome, addresses = self._resolve(host)
        return (outcome, addresses[0]) if addresses else ("nxdomain" if outcome == "ok" else outcome, None)

    def _resolve(self, name: str) -> tuple[str, list[Address]]:
        """IPv4 addresses first, then IPv6; the first answer that is no answer ends it."""
        found: list[Address] = []
        for kind in ("A", "AAAA"):
            outcome, addresses = _ask(self._resolvers[0], name, kind) if self._resolvers else ("no route", [])
            if outcome != "ok":
                return outcome, []
            found += addresses
        return "ok", found

    def _draw(self) -> None:
        head = f"  {self._name}  -  a real VM on the QEMU platform"
        lines = [head, "  " + ", ".join(self._addresses), "", *(_line(each) for each in self._steps)]
        if self._script and not self._over:
            lines.append(f"  ... {len(self._steps)} of {len(self._script)} steps done")
        _SCREEN.write_text(_CLEAR + "\r\n".join(["", *lines, ""]))


def _converse(address: str, port: int, request: bytes, expect: bytes) -> tuple[str, bytes]:
    """Connect, send, and receive until `expect` has come or the peer closes."""
    received = b""
    try:
        with socket.create_connection((address, port), timeout=CONNECT_PATIENCE_S) as connection:
            if request:
                connection.sendall(request)
            while (request or expect) and not (expect and expect in received):
                data = connection.recv(65_536)
                if not data:
                    break
                received += data
    except TimeoutError:
        return ("ok" if received else "timed out"), received
    except OSError as error:
        return ("refused" if error.errno in _REFUSED else "no route"), received
    return "ok", received


def _ask(resolver: Address, name: str, kind: str) -> tuple[str, list[Address]]:
    family = socket.AF_INET if resolver.version == 4 else socket.AF_INET6
    query = DNSRecord.question(name, kind)
    for patience_s in RESOLVE_TRIES_S:
        with socket.socket(family, socket.SOCK_DGRAM) as asker:
            asker.settimeout(patience_s)
            try:
                asker.connect((str(resolver), 53))
                asker.send(query.pack())
                answer = DNSRecord.parse(asker.recv(4096))
            except (TimeoutError, DNSError):
                continue
            except OSError:
                return "refused", []
        if answer.header.id == query.header.id:
            outcome = {0: "ok", 3: "nxdomain"}.get(answer.header.rcode, "refused")
            wanted = [each for each in answer.rr if QTYPE[each.rtype] == kind]
            return outcome, [ip_address(str(each.rdata)) for each in wanted]
    return "timed out", []


def _met(hosts: Iterable[Address]) -> Iterator[bytes]:
    """The MAC addresses by which hosts of the link are reached, of those over IPv4 that answer."""
    for each in (str(host) for host in hosts if host.version == 4):
        with suppress(subprocess.SubprocessError):  # whether or not it answers an echo, it was asked after
            interfaces.run("ping", "-c", "1", "-W", "1", each)
        for line in _NEIGHBOURS.read_text().splitlines()[1:]:
            address, _, flags, mac, *_ = line.split()
            if address == each and int(flags, 16) & _COMPLETE:
                yield bytes.fromhex(mac.replace(":", ""))


def _function(folder: Path) -> str:
    kind, vendor, device = ((folder / each).read_text().strip() for each in ("class", "vendor", "device"))
    return f"{folder.name} {kind} {vendor}:{device}"


def _line(step: Value) -> str:
    if not isinstance(step, dict):
        return ""
    kind = next(key for key in ("resolve", "connect", "ping") if key in step)
    subject = str(step[kind]) + (f" port {step['port']}" if "port" in step else "")
    outcome = str(step["outcome"])
    more = str(step.get("address", "")) if not step.get("bytes") else f"{step['bytes']} bytes"
    if addresses := _list(step.get("addresses")):
        more = str(addresses[0]) + (f" and {len(addresses) - 1} more" if addresses[1:] else "")
    return f"  {_SIGNS.get(outcome, chr(27) + '[31mx' + chr(27) + '[0m')} {kind:8} {subject:34} {outcome} {more}"


def _list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []
