# SPDX-License-Identifier: MIT
"""Real TLS servers in threads, which remember what they saw."""
import itertools
import socket
import ssl
import struct
import threading

from clients import exchange
from harness import DEADLINE

# No two connections say the same.
tokens = (b"token-%d;" % n for n in itertools.count(1))


class Connection:
    """What a server saw of one client."""

    def __init__(self):
        self.sni = None
        self.peer = None  # the client's certificate, as getpeercert() tells it
        self.alpn = None
        self.cipher = None
        self.received = bytearray()
        self.error = None  # a handshake or a read that failed
        self.established = threading.Event()
        self.ended = threading.Event()
        self.tls = None

    def read(self, size=65536):
        data = self.tls.recv(size)
        self.received += data
        return data

    def read_exactly(self, size):
        while len(self.received) < size and self.read():
            pass
        return len(self.received) == size

    def abort(self):
        """A reset instead of a close."""
        self.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tls.close()


def echo(conn):
    while data := conn.read():
        conn.tls.sendall(data)


def swallow(conn):
    while conn.read():
        pass


def say(data):
    """Sends @data, then closes."""
    return lambda conn: conn.tls.sendall(data)


def say_and_hold(data):
    """Sends @data, then waits for the other side's end."""
    def handler(conn):
        conn.tls.sendall(data)
        swallow(conn)
    return handler


class TlsServer:
    """Serves each connection by @handler(Connection) in a thread of its own."""

    def __init__(self, pki, handler=echo, cert="server", key=None, client_ca=None, alpn=None,
                 port=0):
        self.handler = handler
        self.pki = pki
        self.client_ca = client_ca
        self.alpn = alpn
        self.connections = []
        self.changed = threading.Condition()
        self.use(cert, key)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def use(self, cert, key=None):
        """Another certificate, from the next connection on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if key is None:
            key = cert if (self.pki / f"{cert}.key").exists() else "server"
        context.load_cert_chain(self.pki / f"{cert}.pem", self.pki / f"{key}.key")
        if self.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.pki / f"{self.client_ca}.pem")
        if self.alpn:
            context.set_alpn_protocols(self.alpn)
        self.context = context

    def _accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            conn = Connection()
            with self.changed:
                self.connections.append(conn)
                self.changed.notify_all()
            args = conn, raw, self.context
            threading.Thread(target=self._serve, args=args, daemon=True).start()

    def _serve(self, conn, raw, context):
        def sni(sock, name, context):
            conn.sni = name

        context.sni_callback = sni
        try:
            raw.settimeout(DEADLINE)
            conn.tls = context.wrap_socket(raw, server_side=True)
            conn.peer = conn.tls.getpeercert()
            conn.alpn = conn.tls.selected_alpn_protocol()
            conn.cipher = conn.tls.cipher()[0]
            conn.tls.settimeout(None)
            conn.established.set()
            self.handler(conn)
        except (OSError, ssl.SSLError, ValueError) as error:
            conn.error = error
        finally:
            self._close(conn.tls or raw)
            conn.ended.set()

    @staticmethod
    def _close(sock):
        """With close_notify, and without a reset that would overtake what was sent."""
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.settimeout(DEADLINE)
                sock = sock.unwrap()
        except (OSError, ssl.SSLError, ValueError):
            pass
        sock.close()

    def handshakes(self):
        """The connections that TLS was spoken on: looking for a reason, the daemon tries TCP alone."""
        return [conn for conn in self.connections if conn.sni]

    def connection(self, number=0):
        """The connection of that number, when it is established."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.connections) > number, DEADLINE), \
                f"only {len(self.connections)} connections"
            conn = self.connections[number]
        assert conn.established.wait(DEADLINE), "no handshake"
        return conn

    def visit(self, daemon, tunnel):
        """A whole connection through that tunnel; what this server, if it is an echo, saw of it."""
        token = next(tokens)
        with daemon.connect(tunnel) as s:
            assert exchange(s, token) == token
        conn, = (conn for conn in self.connections if token in conn.received)
        return {"sni": conn.sni, "alpn": conn.alpn, "cipher": conn.cipher,
                "subject": conn.peer and conn.peer["subject"][0][0][1]}

    def mark(self):
        return len(self.connections)

    def await_refusal(self, mark):
        """The handshakes behind @mark have failed."""
        for conn in self.connections[mark:]:
            assert conn.ended.wait(DEADLINE)
            assert not conn.established.is_set()
        assert any(conn in self.handshakes() for conn in self.connections[mark:])

    def close(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)  # or accept() goes on
            self.listener.close()
        for conn in self.connections:
            if conn.tls is not None and conn.tls.fileno() >= 0:
                try:
                    conn.tls.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
