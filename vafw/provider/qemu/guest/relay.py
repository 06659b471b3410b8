"""The guest's way to the broker: a listener on the guest's own loopback, relayed frame by frame over a serial port.

No network of the guest is touched. A thread of its own, which blocks where the platform does not take what it is given,
while the first process goes on. What it carries is TLS, between an agent and the broker.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from typing import Final, final

from vafw.provider.qemu.guest.frames import LONGEST_DATA, Frame, Frames, Kind

ADDRESS: Final = "127.0.0.1"
_CHUNK: Final = 1 << 16
_CONNECTIONS: Final = 1 << 16


@final
class Relay:
    """Connections of this guest's own processes, carried out by a port."""

    def __init__(self, port: int) -> None:
        """`port` is the descriptor of an open serial port that nobody else reads."""
        self._port = port
        self._frames = Frames()
        self._listener = socket.create_server((ADDRESS, 0))
        self._connections: dict[int, socket.socket] = {}
        self._next = 0
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self.carry, name="relay", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return ADDRESS, self._listener.getsockname()[1]

    def start(self) -> None:
        """Carry from now on; the guest's end is its end."""
        self._thread.start()

    def join(self) -> None:
        """Return when the platform has hung up and every connection is closed."""
        self._thread.join()

    def carry(self) -> None:
        """Carry until the platform hangs up or breaks off."""
        self._send(Frame(Kind.READY, 0))  # waits until the platform is there
        self._selector.register(self._port, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        try:
            self._carry_all()
        except OSError:
            return  # of the port: of a connection's it is dealt with there
        finally:
            self._selector.close()
            for each in (self._listener, *self._connections.values()):
                each.close()

    def _carry_all(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj == self._port:
                    data = os.read(self._port, _CHUNK)
                    if not data:
                        return
                    for frame in self._frames.feed(data):
                        self._take(frame)
                elif key.data in self._connections:
                    self._pass_out(key.data)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        while self._next in self._connections:
            self._next = (self._next + 1) % _CONNECTIONS
        number, self._next = self._next, (self._next + 1) % _CONNECTIONS
        self._connections[number] = connection
        self._selector.register(connection, selectors.EVENT_READ, number)
        self._send(Frame(Kind.OPEN, number))

    def _pass_out(self, number: int) -> None:
        try:
            data = self._connections[number].recv(LONGEST_DATA)
        except OSError:
            data = b""
        if data:
            self._send(Frame(Kind.DATA, number, data))
        else:
            self._close(number)

    def _take(self, frame: Frame) -> None:
        connection = self._connections.get(frame.connection)
        if connection is None:
            return
        if frame.kind is Kind.DATA:
            try:
                connection.sendall(frame.data)
                return
            except OSError:
                pass
        self._close(frame.connection)

    def _close(self, number: int) -> None:
        connection = self._connections.pop(number)
        self._selector.unregister(connection)
        connection.close()
        self._send(Frame(Kind.CLOSE, number))

    def _send(self, frame: Frame) -> None:
        data = memoryview(frame.encode())
        while data:
            data = data[os.write(self._port, data) :]
