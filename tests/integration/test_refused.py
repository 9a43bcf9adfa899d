# SPDX-License-Identifier: MIT
"""Servers that must not be talked to, or cannot: the client is closed, the reason told, and life goes on."""
import socket
import threading

import pytest

from bench import tunnel
from clients import exchange, read_all, refused, works
from fixtures import bench, pki, serve  # noqa: F401 (used by name)
from tlsserver import echo

TLS = "the TLS handshake failed"


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def failures(daemon, name="bad", count=1):
    """All that is told of the tunnel, when so much has been told; the first one is that it listens."""
    daemon.await_line(f"^{name}: ", count=count + 1)
    return daemon.matching(f"^{name}: ")[1:]


@pytest.mark.parametrize("cert", ["otherca", "selfsigned", "expired", "future", "wrongname"])
def test_untrusted_server(bench, serve, cert):
    server = serve(echo, cert=cert)
    daemon = bench.up(tunnel(server, "bad"), tunnel(serve(echo), "good"))
    assert refused(daemon, "bad")
    assert works(daemon, "good")
    line, = failures(daemon)
    assert f"connection failed: {TLS}" in line
    assert server.connections and not any(c.received for c in server.connections)
    # The server becomes a good one: the tunnel takes it, nothing is remembered against it.
    server.use("server")
    assert works(daemon, "bad")


@pytest.mark.parametrize("cert", ["ecserver", "sanonly", "cnonly", "wild"])
def test_trusted_server(bench, serve, cert):
    daemon = bench.up(tunnel(serve(echo, cert=cert)))
    assert works(daemon)


def test_nobody_listens(bench, serve):
    daemon = bench.up(tunnel(closed_port(), "bad"), tunnel(serve(echo), "good"))
    assert refused(daemon, "bad")
    assert works(daemon, "good")
    line, = failures(daemon)
    assert "connection failed: connection refused" in line


def test_no_such_host(bench, serve):
    server = serve(echo)
    daemon = bench.up(tunnel(server, "bad", host="nobody.test"), tunnel(server, "good"))
    assert refused(daemon, "bad")
    assert works(daemon, "good")
    line, = failures(daemon)
    assert "connection failed: no such host" in line


def test_server_that_never_answers(bench, serve):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        daemon = bench.up(tunnel(silent.getsockname()[1], "bad", connect_timeout=1),
                          tunnel(serve(echo), "good"), sim=["--connect-timeout-ms", "3000"])
        assert refused(daemon, "bad")
        assert works(daemon, "good")
        line, = failures(daemon)
        assert "connection failed: the server did not answer in time" in line


def test_nothing_reaches_a_client_before_the_server_is_trusted(bench, serve):
    """A server of plain text speaks first, while the reason is looked for, too: none of it comes out."""
    def talk():
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            with conn:
                conn.sendall(b"220 welcome, send me your password\r\n")
                heard.append(conn.recv(1000))

    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        daemon = bench.up(tunnel(listener.getsockname()[1], "bad"), tunnel(serve(echo), "good"))
        for _ in range(2):
            with daemon.connect("bad") as s:
                try:
                    s.sendall(b"the password")
                except BrokenPipeError:
                    pass
                assert read_all(s) == b""
        assert works(daemon, "good")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert heard and b"password" not in b"".join(heard)


def test_others_go_on_while_one_is_refused(bench, serve):
    daemon = bench.up(tunnel(serve(echo, cert="otherca"), "bad"), tunnel(serve(echo), "good"))
    with daemon.connect("good") as s:
        assert exchange(s, b"before") == b"before"
        for _ in range(3):
            assert refused(daemon, "bad")
        assert exchange(s, b"after") == b"after"
    assert len(failures(daemon, count=3)) == 3
    assert not daemon.matching("aborted")


def test_reset_by_the_server(bench, serve):
    """A connection that is cut is not a chip that is broken."""
    def cut(conn):
        conn.read_exactly(4)
        conn.abort()

    daemon = bench.up(tunnel(serve(cut), "bad"), tunnel(serve(echo), "good"))
    with daemon.connect("good") as s:
        with daemon.connect("bad") as t:
            t.sendall(b"oops")
            assert read_all(t) == b""
        assert exchange(s, b"after") == b"after"
    assert works(daemon, "good")
    assert not daemon.matching("lost step")
