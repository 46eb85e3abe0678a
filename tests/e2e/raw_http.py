"""A client that says exactly what it is told, for tests of the gateway."""
import http.client
import io
import socket

import harness
from harness import E2E

HOST = b"Host: localhost\r\n"


class Raw:
    """A connection that sends bytes as given and reads whole answers."""

    def __init__(self, address, timeout=20, source=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout * harness.PATIENCE)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)
        return self

    def answer(self, method="GET"):
        """(status, headers, body) of the next answer; status None when the connection was closed instead."""
        outer = self

        class Source:  # HTTPResponse closes the file of its socket: the next answer needs it
            def makefile(self, _):
                return io.BufferedReader(Unclosed())

        class Unclosed(io.RawIOBase):
            def readable(self):
                return True

            def readinto(self, buffer):
                data = outer.file.read1(1)
                buffer[:len(data)] = data
                return len(data)

        response = http.client.HTTPResponse(Source(), method=method)
        try:
            response.begin()
        except (http.client.BadStatusLine, ConnectionError):
            return None, {}, b""
        return response.status, dict(response.getheaders()), response.read()

    def is_closed(self):
        try:
            return self.file.read1(1) == b""
        except ConnectionError:
            return True


class Http(E2E):
    def raw(self, daemon, data=b""):
        connection = Raw(daemon.socket)
        self.addCleanup(connection.close)
        return connection.send(data) if data else connection

    def alive(self, daemon):
        self.assertEqual(daemon.get("/health").status, 200)
